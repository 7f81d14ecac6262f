package adminapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// routes is every route of the API with who may call it.
func (a *API) routes() {
	self := httpkit.Need(authz.Self)

	add(a, httpkit.Anonymous, post("/api/admin/login", "login", "Sign in with a password"), a.login)
	add(a, httpkit.HalfSignedIn, post("/api/admin/login/second-step", "login-second-step", "Complete a sign-in with a code"), a.secondStep)
	add(a, httpkit.HalfSignedIn, post("/api/admin/login/new-password", "login-new-password", "Complete a sign-in by exchanging a one-time password"), a.newPassword)
	add(a, self, with(http.StatusNoContent, post("/api/admin/logout", "logout", "End this session")), a.logout)
	add(a, self, get("/api/admin/me", "me", "Who is signed in, and what they may do"), a.me)
	add(a, self, with(http.StatusNoContent, post("/api/admin/me/password", "change-password", "Change one's own password; ends all own sessions")), a.changePassword)

	add(a, self, get("/api/admin/factors", "list-factors", "One's own factors"), a.factors)
	add(a, self, post("/api/admin/totp/start", "start-totp", "Make the secret of a code generator; it is shown once, and counts when confirmed"), a.startTOTP)
	add(a, self, post("/api/admin/totp/confirm", "confirm-totp", "Put the code generator into use; the recovery codes are shown once"), a.confirmTOTP)
	add(a, self, with(http.StatusNoContent, post("/api/admin/totp/remove", "remove-totp", "Take the code generator and the recovery codes away")), a.removeTOTP)
	add(a, self, post("/api/admin/recovery-codes", "new-recovery-codes", "Replace the recovery codes; they are shown once"), a.newRecoveryCodes)

	add(a, self, post("/api/admin/passkeys/register/options", "passkey-register-options", "Begin to enroll a passkey"), a.passkeyRegisterOptions)
	add(a, self, with(http.StatusCreated, passkeyAnswer(post("/api/admin/passkeys/register/verify", "passkey-register-verify", "Enroll the passkey that the browser made"))), a.passkeyRegister)
	add(a, self, with(http.StatusNoContent, post("/api/admin/passkeys/{id}/remove", "remove-passkey", "Take a passkey of one's own away")), a.removePasskey)
	add(a, httpkit.Anonymous, post("/api/admin/passkeys/authenticate/options", "passkey-authenticate-options", "Begin to sign in with a passkey"), a.passkeyOptions)
	add(a, httpkit.Anonymous, passkeyAnswer(post("/api/admin/passkeys/authenticate/verify", "passkey-authenticate-verify", "Sign in with the answer of a passkey")), a.passkeySignIn)

	add(a, self, get("/api/admin/sessions", "list-sessions", "Running sessions: one's own, or all with session:manage"), a.listSessions)
	add(a, self, with(http.StatusNoContent, post("/api/admin/sessions/{id}/revoke", "revoke-session", "End a session: one's own, or any with session:manage")), a.revokeSession)

	add(a, httpkit.Need(authz.AccountRead), get("/api/admin/accounts", "list-accounts", "Accounts by name"), a.listAccounts)
	add(a, httpkit.Need(authz.AccountManage), with(http.StatusCreated, post("/api/admin/accounts", "create-account", "Make an account")), a.createAccount)
	add(a, httpkit.Need(authz.AccountManage), post("/api/admin/accounts/{id}/update", "update-account", "Change role, grants or password, disable or enable"), a.updateAccount)

	add(a, httpkit.Need(authz.AccountManage), get("/api/admin/invitations", "list-invitations", "Invitations that can still be redeemed, the newest first"), a.listInvitations)
	add(a, httpkit.Need(authz.AccountManage), with(http.StatusCreated, post("/api/admin/invitations", "create-invitation", "Invite a person to make one account; its secret is shown once")), a.createInvitation)
	add(a, httpkit.Need(authz.AccountManage), with(http.StatusNoContent, post("/api/admin/invitations/{id}/revoke", "revoke-invitation", "Take an invitation back")), a.revokeInvitation)
	add(a, httpkit.Anonymous, post("/api/admin/invitations/redeem", "redeem-invitation", "Make the account that an invitation is for, and sign in"), a.redeem)
	add(a, httpkit.Anonymous, post("/api/admin/break-glass", "break-glass", "Open an account with the two sealed codes; a new password is due then"), a.breakGlass)

	add(a, httpkit.Need(authz.APITokenRead), get("/api/admin/api-tokens", "list-api-tokens", "API tokens of machines, the newest first"), a.listAPITokens)
	add(a, httpkit.Need(authz.APITokenCreate), with(http.StatusCreated, post("/api/admin/api-tokens", "create-api-token", "Make an API token for a machine; its secret is shown once")), a.createAPIToken)
	add(a, httpkit.Need(authz.APITokenRevoke), with(http.StatusNoContent, post("/api/admin/api-tokens/{id}/revoke", "revoke-api-token", "End an API token at once")), a.revokeAPIToken)

	add(a, httpkit.Need(authz.AuditRead), get("/api/audit", "list-audit", "Audit entries, newest first"), a.listAudit)
	add(a, httpkit.Need(authz.AuditRead), get("/api/audit/actions", "list-audit-actions", "The actions that entries name"), a.listAuditActions)

	noContent := func(path, id, summary string) huma.Operation {
		return with(http.StatusNoContent, post(path, id, summary))
	}
	asks := func(path, id, summary string) huma.Operation {
		return with(http.StatusAccepted, post(path, id, summary))
	}
	d := a.deps.Devices
	add(a, httpkit.Need(authz.DeviceRead), get("/api/devices", "list-devices", "Devices by device_id"), a.listDevices)
	add(a, httpkit.Need(authz.DeviceRead), get("/api/devices/{device_id}", "get-device", "All about a device: why it is or is not trusted, and what to do"), a.device)
	add(a, httpkit.Need(authz.DeviceRevoke), noContent("/api/devices/{device_id}/certificate/revoke", "revoke-device", "End a device and its certificates for good, at once"), deviceAct(d.Revoke))
	add(a, httpkit.Need(authz.DeviceSuspend), noContent("/api/devices/{device_id}/suspend", "suspend-device", "Stop a device until it is resumed"), deviceAct(d.Suspend))
	add(a, httpkit.Need(authz.DeviceResume), asks("/api/devices/{device_id}/resume", "resume-device", "Ask that a suspension ends; others decide"), deviceAsk(d.Resume))
	add(a, httpkit.Need(authz.DeviceResync), asks("/api/devices/{device_id}/resync", "resync-device", "Ask that a hold after a counter went back ends; others decide"), deviceAsk(d.Resync))

	add(a, httpkit.Need(authz.DeviceRead), get("/api/identity-requests", "list-identity-requests", "What devices ask for, another key: those that wait, the oldest first"), a.listIdentities)
	add(a, httpkit.Need(authz.IdentityReview), post("/api/devices/{device_id}/identity-review", "review-identity", "Let a device go by another key, or refuse it"), a.reviewIdentity)

	add(a, httpkit.Need(authz.EnrollmentRead), get("/api/enrollments", "list-enrollments", "Enrollments, the oldest first"), a.listEnrollments)
	add(a, httpkit.Need(authz.EnrollmentRead), get("/api/enrollments/{id}", "get-enrollment", "An enrollment with what a decision is about"), a.enrollment)
	add(a, httpkit.Need(authz.EnrollmentReview), post("/api/enrollments/{id}/review", "review-enrollment", "Let a device in, or refuse it"), a.reviewEnrollment)

	add(a, httpkit.Need(authz.EnrollTokenRead), get("/api/enroll-tokens", "list-enroll-tokens", "The newest enrollment tokens"), a.listTokens)
	add(a, httpkit.Need(authz.EnrollTokenCreate), with(http.StatusCreated, post("/api/enroll-tokens", "create-enroll-token", "Make an enrollment token; its secret is shown once")), a.createToken)
	add(a, httpkit.Need(authz.EnrollTokenRevoke), noContent("/api/enroll-tokens/{id}/revoke", "revoke-enroll-token", "End an enrollment token"), a.revokeToken)

	add(a, httpkit.Need(authz.EnrollmentRead), get("/api/enroll-window", "get-enroll-window", "Whether devices are let in without a review"), a.window)
	add(a, httpkit.Need(authz.EnrollWindowOpen), post("/api/enroll-window/open", "open-enroll-window", "Let devices in without a review for a while"), a.openWindow)
	add(a, httpkit.Need(authz.EnrollWindowClose), noContent("/api/enroll-window/close", "close-enroll-window", "Review every new device again"), a.closeWindow)

	add(a, httpkit.Need(authz.FleetRead), get("/api/fleet", "get-fleet", "What devices are told out of band"), a.fleet)

	add(a, httpkit.Need(authz.CommandCreate), with(http.StatusCreated, post("/api/command", "send-command", "Have devices do something; 200 for a dry run")), a.sendCommand)
	add(a, httpkit.Need(authz.CommandRead), get("/api/commands", "list-commands", "Commands, the newest first"), a.listCommands)
	add(a, httpkit.Need(authz.CommandRead), get("/api/commands/{id}", "get-command", "All about a command, with the first of its targets"), a.command)
	add(a, httpkit.Need(authz.CommandRead), get("/api/commands/{id}/targets", "list-command-targets", "What became of a command with each device"), a.commandTargets)
	add(a, httpkit.Need(authz.CommandCancel), post("/api/commands/{id}/cancel", "cancel-command", "Take a command back, where it does not run yet"), a.cancelCommand)
	add(a, httpkit.Need(authz.CommandReview), post("/api/commands/{id}/review", "review-command", "Agree to a command, or refuse it"), a.reviewCommand)

	// A vote takes the permission of the request's kind as well, which the
	// transaction that counts it asks for.
	add(a, httpkit.Need(authz.ApprovalRead), get("/api/approvals", "list-approvals", "What waits, or waited, for people, the oldest first"), a.listApprovals)
	add(a, httpkit.Need(authz.ApprovalRead), get("/api/approvals/{id}", "get-approval", "A request with exactly what is approved"), a.approval)
	add(a, httpkit.Need(authz.ApprovalRead), post("/api/approvals/{id}/review", "review-approval", "Agree to a request of any kind, or refuse it"), a.reviewApproval)
	add(a, httpkit.Need(authz.AccountManage), with(http.StatusNoContent, post("/api/admin/accounts/{id}/reset-factors", "reset-factors", "Take the second factors of an account away; 202 where others decide first")), a.resetFactors)

	add(a, httpkit.Need(authz.PolicyPublish), with(http.StatusCreated, signedDocument(post("/api/policy/bundles", "publish-policy-bundle", "Install a policy bundle that the fleet's owner signed"))), a.publishBundle)
	add(a, httpkit.Need(authz.FleetRead), get("/api/policy/bundles", "list-policy-bundles", "Policy bundles, the newest first"), a.listBundles)
	add(a, httpkit.Need(authz.FleetRead), get("/api/policy/bundles/{version}", "get-policy-bundle", "A policy bundle with its signed bytes; version 0 is the one in force"), a.bundle)

	a.caRoutes()
	a.attestationRoutes()

	a.endpoints = append(a.endpoints, endpoint{
		httpkit.Route{Method: http.MethodGet, Pattern: "/api/openapi.json", Policy: httpkit.Anonymous}, http.HandlerFunc(a.serveOpenAPI),
	})
}

func get(path, id, summary string) huma.Operation {
	return huma.Operation{Method: http.MethodGet, Path: path, OperationID: id, Summary: summary}
}

func post(path, id, summary string) huma.Operation {
	return huma.Operation{Method: http.MethodPost, Path: path, OperationID: id, Summary: summary, DefaultStatus: http.StatusOK}
}

// signedDocument lets a body be as long as a signed document may.
func signedDocument(op huma.Operation) huma.Operation {
	op.MaxBodyBytes = signing.MaxEnvelope
	return op
}

// with sets the status of success.
func with(status int, op huma.Operation) huma.Operation {
	op.DefaultStatus = status
	return op
}
