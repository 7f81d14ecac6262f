package authz

import "slices"

// Role is a named set of permissions. An account has exactly one, and may have
// single permissions granted beside it.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Approver Role = "approver"
	Security Role = "security"
	Admin    Role = "admin"
)

// roles is the whole of what a role means. No role both brings a device to the
// door (enroll-token:create) and lets it in (enrollment:review, or an open
// window), and none both asks for a command and reviews it: that takes two people,
// or a grant that the audit log shows.
var roles = map[Role][]Permission{
	// Looks at the fleet.
	Viewer: {Self, DeviceRead, EnrollmentRead, FleetRead, CommandRead},

	// Runs the fleet from day to day: brings devices to the door, takes them out.
	Operator: {
		Self, DeviceRead, EnrollmentRead, FleetRead, ApprovalRead,
		EnrollTokenRead, EnrollTokenCreate, EnrollTokenRevoke,
		DeviceSuspend, DeviceRevoke, EnrollWindowClose,
		CommandRead, CommandCreate, CommandCancel, PolicyPublish,
		PKIStop,
		BaselinePropose, BaselineRetire,
	},

	// Lets devices in.
	Approver: {
		Self, DeviceRead, EnrollmentRead, FleetRead, ApprovalRead,
		EnrollmentReview, EnrollWindowOpen, EnrollWindowClose,
		IdentityReview, DeviceReview, CommandRead, CommandReview,
		PKIReview,
		BaselineReview,
	},

	// Protects, investigates, and gives back what was taken away.
	Security: {
		Self, DeviceRead, EnrollmentRead, FleetRead, ApprovalRead, AuditRead, AccountRead,
		EnrollTokenRead, EnrollTokenRevoke, EnrollWindowOpen, EnrollWindowClose,
		DeviceSuspend, DeviceRevoke, DeviceResume, DeviceResync, DeviceReview, AccountReview, SessionManage, APITokenRead, APITokenRevoke,
		CommandRead, CommandCancel,
		PKIStop, PKIStart,
		BaselineRetire,
	},

	// Manages people, and does everything that an operator does. Lets no device
	// in unless granted.
	Admin: {
		Self, DeviceRead, EnrollmentRead, FleetRead, ApprovalRead, AuditRead,
		EnrollTokenRead, EnrollTokenCreate, EnrollTokenRevoke,
		DeviceSuspend, DeviceRevoke, EnrollWindowClose,
		AccountRead, AccountManage, AccountReview, SessionManage, APITokenRead, APITokenCreate, APITokenRevoke,
		CommandRead, CommandCreate, CommandCancel, PolicyPublish,
		PKIStop, PKIStart,
		BaselinePropose, BaselineRetire,
	},
}

// Roles lists every role.
func Roles() []Role { return []Role{Viewer, Operator, Approver, Security, Admin} }

// Known reports whether r is a role.
func (r Role) Known() bool { return roles[r] != nil }

// Has reports whether the role includes p. What is not a role includes nothing.
func (r Role) Has(p Permission) bool { return slices.Contains(roles[r], p) }

// Permissions lists what the role includes.
func (r Role) Permissions() []Permission { return slices.Clone(roles[r]) }
