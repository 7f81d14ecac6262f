package admin

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// ErrBreakGlass is the one answer to codes that open nothing.
var ErrBreakGlass = errors.New("the two codes do not open anything; both are needed, once, for an account with the role admin")

// breakGlassSize is the random bytes of each code.
const breakGlassSize = 20

// CreateBreakGlass makes the two codes of the way in when every other is lost. Each
// goes to another person, sealed; neither is of use without the other. Codes made
// before die. It is for a command on the server's host, and every admin is told.
func (s *Service) CreateBreakGlass(ctx context.Context, by authz.By, firstKeeper, secondKeeper string) (first, second string, err error) {
	if by.Kind != audit.Host {
		return "", "", authz.ErrDenied
	}
	a, okA := normalName(firstKeeper)
	b, okB := normalName(secondKeeper)
	if !okA || !okB || a == b {
		return "", "", &InvalidError{"the keepers", "must be two names of two people"}
	}
	first, second = newCode(breakGlassSize), newCode(breakGlassSize)
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		if err := closeBreakGlass(ctx, tx, "newer codes"); err != nil {
			return err
		}
		row := &breakGlassRow{
			ID: tx.NewID(), FirstHash: codeHash(breakGlassUse, first, breakGlassSize), SecondHash: codeHash(breakGlassUse, second, breakGlassSize),
			FirstKeeper: a, SecondKeeper: b, CreatedAt: tx.At(),
		}
		var err error
		if row.Epoch, err = tx.Epoch(ctx); err != nil {
			return err
		}
		if err := insertBreakGlass(ctx, tx, row); err != nil {
			return err
		}
		if err := notifyAdmins(ctx, tx, "new codes were made on the host, kept by "+a+" and "+b, ""); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{
			Action: audit.BreakGlassCreate, ObjectKind: "break-glass", ObjectID: row.ID, Details: map[string]string{"first keeper": a, "second keeper": b},
		})
	})
	return first, second, err
}

// Breaking is the use of both codes.
type Breaking struct {
	Source, RequestID, Agent string
	Via                      Via    // "" is ViaProgram
	First, Second            string // in either order
	Name                     string // of the account to open
	NewPassword              string // to be set in the step after; "": it is not known yet
}

// BreakGlass opens an account with the role admin without its password or factors:
// those are void, its sessions end, and the session that comes back is good for
// setting a new password. It happens once, and every admin is told. A new password
// that could not be set is an *InvalidError, and leaves the codes as they were. It
// refuses with ErrBreakGlass or a *ThrottledError.
func (s *Service) BreakGlass(ctx context.Context, in Breaking) (string, Caller, error) {
	if err := s.checkNext(in.NewPassword, in.Name); err != nil {
		return "", Caller{}, err
	}
	from := (&Attempt{Source: in.Source, RequestID: in.RequestID, Agent: in.Agent, Via: in.Via}).from()
	if err := s.take(ctx, func(ctx context.Context, tx db.Tx) (time.Duration, error) {
		return takeAttempt(ctx, tx, byBreakGlass, sourceOf(in.Source))
	}); err != nil {
		return "", Caller{}, err
	}
	first, second := codeHash(breakGlassUse, in.First, breakGlassSize), codeHash(breakGlassUse, in.Second, breakGlassSize)
	name, _ := normalName(in.Name)
	token, c, err := s.openSession(ctx, func(ctx context.Context, tx db.Tx, o *opening) error {
		row, err := s.spendBreakGlass(ctx, tx, first, second)
		if err != nil {
			return err
		}
		account, err := accountBy(ctx, tx, "name", name)
		if errors.Is(err, ErrNotFound) || err == nil && (account.DisabledAt != 0 || account.Role != authz.Admin) {
			return ErrBreakGlass
		}
		if err != nil {
			return err
		}
		who := audit.Actor{Kind: audit.Anonymous, Source: in.Source, RequestID: in.RequestID}
		by := authz.NewBy(who, "", "", nil)
		if err := ResetFactors(ctx, tx, by, account.ID, "break-glass"); err != nil {
			return err
		}
		account.PasswordHash, account.PasswordOnce = s.hasher.dummyHash(), oneTimeUsed
		if err := updateAccount(ctx, tx, account); err != nil {
			return err
		}
		if err := notifyAdmins(ctx, tx, "the codes of "+row.FirstKeeper+" and "+row.SecondKeeper+" opened the account "+name, in.Source); err != nil {
			return err
		}
		o.origin, o.account, o.method, o.stage = from, account, ByBreakGlass, StageNewPassword
		return audit.Write(ctx, tx, who, audit.Entry{
			Action: audit.BreakGlassUse, ObjectKind: "account", ObjectID: name, Details: map[string]string{"first keeper": row.FirstKeeper, "second keeper": row.SecondKeeper},
		})
	})
	if errors.Is(err, ErrBreakGlass) {
		return "", Caller{}, errors.Join(ErrBreakGlass, s.refused(ctx, from, "", "break-glass"))
	}
	return token, c, err
}

const breakGlassUse = "break-glass code"

// spendBreakGlass closes the pair of codes, once. One code alone, even twice, is none.
func (s *Service) spendBreakGlass(ctx context.Context, tx db.Tx, first, second []byte) (*breakGlassRow, error) {
	if first == nil || second == nil {
		return nil, ErrBreakGlass
	}
	epoch, err := tx.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	row, err := breakGlassBy(ctx, tx, first, second, epoch)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrBreakGlass
	}
	if err != nil {
		return nil, err
	}
	return row, closeBreakGlass(ctx, tx, "used")
}

// notifyAdmins tells every active admin.
func notifyAdmins(ctx context.Context, tx db.Tx, what, source string) error {
	ids, err := activeAdmins(ctx, tx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := notify(ctx, tx, id, NoticeBreakGlass, what, source); err != nil {
			return err
		}
	}
	return nil
}
