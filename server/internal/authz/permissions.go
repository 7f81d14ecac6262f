package authz

import "slices"

// Permission is one right, noun:verb.
type Permission string

// The permissions. What only protects (revoke, suspend, close) is apart from what
// lets in or gives back (create, review, open, resume, resync), so that a role
// can have the one without the other.
const (
	// Self is what every signed-in account may do with what is its own: see
	// itself, its sessions, end them, change its password.
	Self Permission = "self"

	DeviceRead    Permission = "device:read"
	DeviceSuspend Permission = "device:suspend"
	DeviceRevoke  Permission = "device:revoke"
	DeviceResume  Permission = "device:resume"
	DeviceResync  Permission = "device:resync"
	DeviceReview  Permission = "device:review" // agree that a device is resumed or resynced

	EnrollmentRead   Permission = "enrollment:read"
	EnrollmentReview Permission = "enrollment:review"

	EnrollTokenRead   Permission = "enroll-token:read"
	EnrollTokenCreate Permission = "enroll-token:create"
	EnrollTokenRevoke Permission = "enroll-token:revoke"

	EnrollWindowOpen  Permission = "enroll-window:open"
	EnrollWindowClose Permission = "enroll-window:close"

	IdentityReview Permission = "identity:review" // a device's next key

	CommandRead   Permission = "command:read"
	CommandCreate Permission = "command:create"
	CommandCancel Permission = "command:cancel"
	CommandReview Permission = "command:review"

	// PolicyPublish is to hand the server what the fleet's owner signed. It says
	// nothing about the owner's keys, which are elsewhere.
	PolicyPublish Permission = "policy:publish"

	// Of issuing certificates: one person stops it, and two start it again.
	PKIStop   Permission = "pki:stop"
	PKIStart  Permission = "pki:start"
	PKIReview Permission = "pki:review"

	// Of baselines, which say what a healthy device's TPM proves.
	BaselinePropose Permission = "baseline:propose"
	BaselineReview  Permission = "baseline:review"
	BaselineRetire  Permission = "baseline:retire"

	FleetRead    Permission = "fleet:read"
	ApprovalRead Permission = "approval:read"
	AuditRead    Permission = "audit:read"

	AccountRead   Permission = "account:read"
	AccountManage Permission = "account:manage"
	AccountReview Permission = "account:review" // agree to wider rights of others
	SessionManage Permission = "session:manage" // the sessions of others

	APITokenRead   Permission = "api-token:read"
	APITokenCreate Permission = "api-token:create"
	APITokenRevoke Permission = "api-token:revoke"
)

var permissions = []Permission{
	Self,
	DeviceRead, DeviceSuspend, DeviceRevoke, DeviceResume, DeviceResync, DeviceReview,
	EnrollmentRead, EnrollmentReview,
	EnrollTokenRead, EnrollTokenCreate, EnrollTokenRevoke,
	EnrollWindowOpen, EnrollWindowClose,
	IdentityReview,
	CommandRead, CommandCreate, CommandCancel, CommandReview,
	PolicyPublish,
	PKIStop, PKIStart, PKIReview,
	BaselinePropose, BaselineReview, BaselineRetire,
	FleetRead, ApprovalRead, AuditRead,
	AccountRead, AccountManage, AccountReview, SessionManage,
	APITokenRead, APITokenCreate, APITokenRevoke,
}

// forMachines are the permissions that an API token may have. Whatever decides on
// another's wish, lets in, gives back, or manages people is a person's: what is not
// listed here is.
var forMachines = []Permission{
	DeviceRead, DeviceSuspend, DeviceRevoke,
	EnrollmentRead, EnrollTokenRead, EnrollTokenCreate, EnrollTokenRevoke, EnrollWindowClose,
	CommandRead, CommandCreate, CommandCancel,
	PolicyPublish, FleetRead, ApprovalRead, AuditRead,
}

// ForMachines reports whether an API token may have p.
func (p Permission) ForMachines() bool { return slices.Contains(forMachines, p) }

// Permissions lists every permission.
func Permissions() []Permission { return slices.Clone(permissions) }

// Known reports whether p is in the list.
func (p Permission) Known() bool { return slices.Contains(permissions, p) }

// Widens reports whether p agrees to what others ask for, lets in without being
// asked, or gives rights. Nobody is given such a right by one person alone.
func (p Permission) Widens() bool {
	switch p {
	case EnrollmentReview, IdentityReview, CommandReview, DeviceReview, AccountReview, AccountManage, EnrollWindowOpen, PKIReview, BaselineReview:
		return true
	}
	return false
}
