package audit

// The actions. A filter offers them; an act that is not here cannot be recorded
// and so cannot happen.
const (
	AccountCreate     = "account.create"
	AccountUpdate     = "account.update"
	AccountDisable    = "account.disable"
	SignIn            = "session.sign-in"
	SignInStep        = "session.sign-in-step" // a step is still due
	SignOut           = "session.sign-out"
	FactorAdd         = "factor.add"
	FactorRemove      = "factor.remove"
	FactorsReset      = "factor.reset"
	PasskeyCloned     = "passkey.cloned"
	InvitationCreate  = "invitation.create"
	InvitationRevoke  = "invitation.revoke"
	APITokenCreate    = "api-token.create"
	APITokenRevoke    = "api-token.revoke"
	BreakGlassCreate  = "break-glass.create"
	BreakGlassUse     = "break-glass.use"
	SecretKeyReseal   = "secret-key.reseal"
	SessionRevoke     = "session.revoke"
	TokenCreate       = "enroll-token.create"
	TokenRevoke       = "enroll-token.revoke"
	WindowOpen        = "enroll-window.open"
	WindowClose       = "enroll-window.close"
	EnrollRequest     = "enrollment.request"
	EnrollApprove     = "enrollment.approve"
	EnrollReject      = "enrollment.reject"
	EnrollExpire      = "enrollment.expire"
	CertIssue         = "certificate.issue"
	CertRevoke        = "certificate.revoke"
	CertPin           = "certificate.pin" // one of another authority, after its review
	DeviceSuspend     = "device.suspend"
	DeviceResume      = "device.resume"
	DeviceHold        = "device.hold"
	DeviceResync      = "device.resync"
	Heartbeat         = "device.heartbeat" // refusals only
	DeviceIdentity    = "device.identity"  // refusals at the door
	AuthorityCreate   = "authority.create"
	FleetInstall      = "fleet.install"
	CertRenew         = "certificate.renew"
	CertSupersede     = "certificate.supersede" // the next one was used for the first time
	IdentityRequest   = "identity.request"      // a renewal or recovery that is reviewed
	IdentityApprove   = "identity.approve"
	IdentityReject    = "identity.reject"
	IdentityExpire    = "identity.expire"
	CommandRequest    = "command.request"
	CommandApprove    = "command.approve"
	CommandReject     = "command.reject"
	CommandCancel     = "command.cancel"
	CommandSign       = "command.sign"
	CommandResult     = "command.result"
	CommandExpire     = "command.expire"
	PolicyPublish     = "policy.publish"
	RootPublish       = "fleet-root.publish"
	AuthorityActivate = "authority.activate"
	AuthorityRetire   = "authority.retire"
	KeyPublish        = "key.publish"
	KeyRetire         = "key.retire"
	IssuingStop       = "issuing.stop"
	IssuingAsk        = "issuing.ask" // to start again
	IssuingStart      = "issuing.start"
	IssuingKeep       = "issuing.keep"       // stopped: a second person did not agree
	AttestationResult = "attestation.result" // evidence led to another result than before
	BaselinePropose   = "baseline.propose"
	BaselineActivate  = "baseline.activate"
	BaselineRefuse    = "baseline.refuse"
	BaselineRetire    = "baseline.retire"
	TPMForget         = "tpm.forget"
	ApprovalRequest   = "approval.request" // a person, or a setting, asks for what needs others
	ApprovalVote      = "approval.vote"
	ApprovalVoid      = "approval.void" // what it rested on is gone
	ApprovalExpire    = "approval.expire"
	ApprovalExecute   = "approval.execute"
	ApprovalRefuse    = "approval.refuse"
	QuorumRaise       = "quorum.raise"
	QuorumLower       = "quorum.lower"

	Access  = "access" // refusals by permission
	Restore = "database.restore"
	Behind  = "database.behind"
)

// Actions lists every action.
func Actions() []string {
	return []string{
		AccountCreate, AccountUpdate, AccountDisable, SignIn, SignInStep, SignOut, SessionRevoke,
		FactorAdd, FactorRemove, FactorsReset, PasskeyCloned,
		InvitationCreate, InvitationRevoke, APITokenCreate, APITokenRevoke, BreakGlassCreate, BreakGlassUse, SecretKeyReseal,
		TokenCreate, TokenRevoke, WindowOpen, WindowClose,
		EnrollRequest, EnrollApprove, EnrollReject, EnrollExpire,
		CertIssue, CertRevoke, CertPin, DeviceSuspend, DeviceResume, DeviceHold, DeviceResync, Heartbeat, DeviceIdentity,
		AuthorityCreate, FleetInstall,
		CertRenew, CertSupersede, IdentityRequest, IdentityApprove, IdentityReject, IdentityExpire,
		CommandRequest, CommandApprove, CommandReject, CommandCancel, CommandSign, CommandResult, CommandExpire,
		PolicyPublish, RootPublish, AuthorityActivate, AuthorityRetire,
		KeyPublish, KeyRetire,
		IssuingStop, IssuingAsk, IssuingStart, IssuingKeep,
		AttestationResult, BaselinePropose, BaselineActivate, BaselineRefuse, BaselineRetire, TPMForget,
		ApprovalRequest, ApprovalVote, ApprovalVoid, ApprovalExpire,
		ApprovalExecute, ApprovalRefuse, QuorumRaise, QuorumLower,
		Access, Restore, Behind,
	}
}

var known = func() map[string]bool {
	m := map[string]bool{}
	for _, a := range Actions() {
		m[a] = true
	}
	return m
}()
