package admin

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// Account is one account as others may see it.
type Account struct {
	ID         string
	Name       string
	Person     string
	Role       authz.Role
	Grants     []authz.Permission // beside the role's, sorted
	CreatedAt  time.Time
	CreatedBy  string
	PasswordAt time.Time // of the last change
	SignedInAt time.Time // zero: never
	DisabledAt time.Time // zero: active

	MustPasskey bool // once a passkey is enrolled, nothing else opens a session
	OneTime     bool // the password was chosen by another and is good for one sign-in
}

// Active reports whether the account may sign in at all.
func (a *Account) Active() bool { return a.DisabledAt.IsZero() }

// May reports whether role or grants include p.
func (a *Account) May(p authz.Permission) bool {
	return a.Role.Has(p) || slices.Contains(a.Grants, p)
}

// Permissions lists all that the account may do, sorted.
func (a *Account) Permissions() []authz.Permission {
	all := append(a.Role.Permissions(), a.Grants...)
	slices.Sort(all)
	return slices.Compact(all)
}

// NewAccount is an account to be made.
type NewAccount struct {
	Name     string
	Person   string // "" takes the name
	Role     authz.Role
	Grants   []authz.Permission
	Password string
	OneTime  bool // the password is good for one sign-in, which sets another

	MustPasskey bool
}

// Change says what to change of an account. Nil members stay as they are.
type Change struct {
	Role     *authz.Role
	Grants   *[]authz.Permission
	Disabled *bool

	MustPasskey *bool
	Password    *string
	Reason      string // the words of whoever changes it, may be empty
}

// Refusals of the account rules.
var (
	ErrNotFound  = errors.New("there is no such account or session")
	ErrNameTaken = errors.New("the account name is taken")
	ErrLastAdmin = errors.New("this is the last active account with the role admin")
)

// InvalidError says which rule an input breaks. It never repeats the input.
type InvalidError struct{ Field, Rule string }

func (e *InvalidError) Error() string { return e.Field + " " + e.Rule }

const (
	maxName   = 64
	maxReason = 400
	maxGrants = 64
)

// normalName brings a name to its one spelling: ASCII in lower case. It reports
// false for what is no name in any spelling.
func normalName(s string) (string, bool) {
	if len(s) == 0 || len(s) > maxName {
		return "", false
	}
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("._-@", c) >= 0:
		default:
			return "", false
		}
	}
	return string(b), true
}

const nameRule = "must be 1 to 64 characters of a-z, 0-9, '.', '_', '-' and '@'"

// normal checks the account and brings names and grants to their one spelling.
func (n NewAccount) normal() (NewAccount, error) {
	if n.Person == "" {
		n.Person = n.Name
	}
	var ok bool
	if n.Name, ok = normalName(n.Name); !ok {
		return n, &InvalidError{"name", nameRule}
	}
	if n.Person, ok = normalName(n.Person); !ok {
		return n, &InvalidError{"person", nameRule}
	}
	if !n.Role.Known() {
		return n, &InvalidError{"role", "is not one of viewer, operator, approver, security, admin"}
	}
	var err error
	n.Grants, err = normalGrants(n.Grants)
	return n, err
}

func normalGrants(grants []authz.Permission) ([]authz.Permission, error) {
	if len(grants) > maxGrants {
		return nil, &InvalidError{"grants", "are too many"}
	}
	out := append([]authz.Permission{}, grants...)
	slices.Sort(out)
	out = slices.Compact(out)
	for _, p := range out {
		if !p.Known() {
			return nil, &InvalidError{"grants", "name a permission that does not exist"}
		}
	}
	return out, nil
}

// check holds the change to form.
func (c *Change) check() error {
	if c.Role == nil && c.Grants == nil && c.Disabled == nil && c.Password == nil && c.MustPasskey == nil {
		return &InvalidError{"the change", "is empty"}
	}
	if c.Role != nil && !c.Role.Known() {
		return &InvalidError{"role", "is not one of viewer, operator, approver, security, admin"}
	}
	if len(c.Reason) > maxReason {
		return &InvalidError{"reason", "is longer than 400 bytes"}
	}
	return nil
}

// closesOnly reports whether all that the change does is to disable.
func (c *Change) closesOnly() bool {
	return c.Disabled != nil && *c.Disabled && c.Role == nil && c.Grants == nil && c.Password == nil && c.MustPasskey == nil
}

// apply makes the change and reports whether the account's sessions must end, and
// whether it stops being an active admin.
func (a *Account) apply(c Change, now time.Time) (endSessions, losesAdmin bool) {
	before := *a
	if c.Role != nil {
		a.Role = *c.Role
	}
	if c.Grants != nil {
		a.Grants = *c.Grants
	}
	if c.MustPasskey != nil {
		a.MustPasskey = *c.MustPasskey
	}
	switch {
	case c.Disabled == nil:
	case *c.Disabled && a.Active():
		a.DisabledAt = now
	case !*c.Disabled:
		a.DisabledAt = time.Time{}
	}
	if c.Password != nil {
		a.PasswordAt = now
	}
	endSessions = a.Role != before.Role || !slices.Equal(a.Grants, before.Grants) || c.Password != nil || a.MustPasskey != before.MustPasskey || !a.Active()
	admin := func(x *Account) bool { return x.Active() && x.Role == authz.Admin }
	return endSessions, admin(&before) && !admin(a)
}
