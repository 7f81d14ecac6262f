package admin

import (
	"context"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// WaitsError says that a change of rights waits until others agree to it.
type WaitsError struct {
	ApprovalID string
	Account    Account // as it is until then
}

func (e *WaitsError) Error() string {
	return "rights that approve or widen rights are given once others agree: approval " + e.ApprovalID
}

// Rights is who is asked before rights are widened, and told of every change, each
// in the transaction that it is about.
type Rights interface {
	WidenRights(ctx context.Context, tx db.Tx, by authz.By, before, after Account, adds []authz.Permission, reason string) (approvalID string, err error)
	AccountChanged(ctx context.Context, tx db.Tx, before, after Account) error
}

// OnRights names who is asked. Until then nobody gives such rights but the server
// and its host.
func (s *Service) OnRights(r Rights) { s.rights = r }

// askFirst asks others for what one person may not give.
func (s *Service) askFirst(ctx context.Context, tx db.Tx, by authz.By, before, after Account, adds []authz.Permission, reason string) (approvalID string, err error) {
	if len(adds) == 0 || !asksFirst(by) {
		return "", nil
	}
	if s.rights == nil {
		return "", authz.ErrDenied
	}
	return s.rights.WidenRights(ctx, tx, by, before, after, adds, reason)
}

// asksFirst reports whether whoever acts may not widen rights alone. Whoever owns the
// host's files, and the server itself, are past asking.
func asksFirst(by authz.By) bool { return by.Kind != audit.Host && by.Kind != audit.System }

func waitsFor(approvalID string, a Account, err error) error {
	if err == nil && approvalID != "" {
		return &WaitsError{approvalID, a}
	}
	return err
}

// widened lists what an account would be able to do, after and not before, of what
// approves or widens rights. A disabled account can do nothing.
func widened(before, after *Account) []authz.Permission {
	if !after.Active() {
		return nil
	}
	return slices.DeleteFunc(after.Permissions(), func(p authz.Permission) bool {
		return !p.Widens() || before.Active() && before.May(p)
	})
}

// takesOver refuses a change by which a password that another chose would open an
// account that approves, or widens rights, where nothing but it stands before a vote:
// whoever chose it would be two people. The password may be set with the change, or
// have been set before.
func takesOver(ctx context.Context, tx db.Tx, a *Account, c Change) error {
	must := a.MustPasskey
	if c.MustPasskey != nil {
		must = *c.MustPasskey
	}
	opens := c.Password != nil || a.OneTime && a.MustPasskey && !must
	if !opens || !slices.ContainsFunc(a.Permissions(), authz.Permission.Widens) {
		return nil
	}
	factors, err := factorsOf(ctx, tx, a.ID)
	if err == nil && !factors.totp && (factors.passkeys == 0 || !must) {
		err = &InvalidError{"password", "that another person chose opens no account that approves and has no second factor: disable it and make another, which others agree to"}
	}
	return err
}

// alter is change, told to whom it concerns.
func (s *Service) alter(ctx context.Context, tx db.Tx, by authz.By, row *accountRow, c Change, hash string) (Account, error) {
	before := row.account()
	after, err := change(ctx, tx, by, row, c, hash)
	if err == nil && s.rights != nil {
		err = s.rights.AccountChanged(ctx, tx, before, after)
	}
	return after, err
}

// Apply changes role, grants or state of an account, in the transaction of those who
// agreed to it. It asks nobody.
func (s *Service) Apply(ctx context.Context, tx db.Tx, by authz.By, id string, c Change) (Account, error) {
	if c.Password != nil {
		return Account{}, &InvalidError{"password", "is not part of what others agree to"}
	}
	if err := c.check(); err != nil {
		return Account{}, err
	}
	row, err := accountBy(ctx, tx, "id", id)
	if err != nil {
		return Account{}, err
	}
	return s.alter(ctx, tx, by, row, c, "")
}

// Fresh holds an act on another's account to a sign-in of the last minutes, as acts
// of this package are: ErrFreshSignIn.
func Fresh(by authz.By, now time.Time) error { return fresh(by, now) }
