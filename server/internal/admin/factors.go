package admin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Refusals about factors.
var (
	ErrFactorExists = errors.New("the account has a code generator; remove it first")
	ErrNoFactor     = errors.New("there is no such factor")
)

// Factors are what an account proves itself with beside its password.
type Factors struct {
	TOTP         bool
	TOTPSince    time.Time // when it was first shown a code of; zero without one
	TOTPUsed     time.Time // the time of the last code that was taken, to its step of 30 s
	Passkeys     []Passkey
	RecoveryLeft int
	MustPasskey  bool // a password opens nothing once there is a passkey
}

// Passkey is a passkey as its owner sees it.
type Passkey struct {
	ID        string
	Name      string
	CreatedAt time.Time
	UsedAt    time.Time // zero: never
}

// mustPasskey reports whether the account has to use its passkey.
func (s *Service) mustPasskey(row *accountRow) bool {
	return row.MustPasskey || slices.Contains(s.settings.PasskeyRoles, row.Role)
}

// passkeyOnly reports whether nothing but its passkey opens the account.
func (s *Service) passkeyOnly(row *accountRow, has owned) bool {
	return s.mustPasskey(row) && has.passkeys > 0
}

// Factors lists the factors of the account behind by.
func (s *Service) Factors(ctx context.Context, by authz.By) (Factors, error) {
	row, err := accountBy(ctx, s.d.Read(), "id", by.AccountID)
	if err != nil {
		return Factors{}, err
	}
	has, err := factorsOf(ctx, s.d.Read(), row.ID)
	if err != nil {
		return Factors{}, err
	}
	keys, err := passkeysOf(ctx, s.d.Read(), row.ID)
	if err != nil {
		return Factors{}, err
	}
	f := Factors{TOTP: has.totp, RecoveryLeft: has.recovery, MustPasskey: s.mustPasskey(row), Passkeys: []Passkey{}}
	for i := range keys {
		f.Passkeys = append(f.Passkeys, keys[i].passkey())
	}
	if has.totp {
		t, err := totpOf(ctx, s.d.Read(), row.ID)
		if errors.Is(err, ErrNoFactor) { // taken away meanwhile
			f.TOTP = false
			return f, nil
		}
		if err != nil {
			return Factors{}, err
		}
		f.TOTPSince, f.TOTPUsed = t.ConfirmedAt.Time(), time.Unix(t.LastStep*totpPeriod, 0).UTC()
	}
	return f, nil
}

// StartTOTP makes the secret of a code generator. It counts for nothing until a code
// of it was shown. It needs a fresh sign-in.
func (s *Service) StartTOTP(ctx context.Context, by authz.By) (TOTPSetup, error) {
	if err := fresh(by, s.d.Now()); err != nil {
		return TOTPSetup{}, err
	}
	secret := newTOTPSecret()
	kek, sealed, err := s.settings.Ring.Seal(totpPurpose, by.AccountID, secret)
	if err != nil {
		return TOTPSetup{}, err
	}
	var name string
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		row, err := s.own(ctx, tx, by)
		if err != nil {
			return err
		}
		name = row.Name
		before, err := totpOf(ctx, tx, row.ID)
		if err == nil && before.ConfirmedAt != 0 {
			return ErrFactorExists
		}
		if err != nil && !errors.Is(err, ErrNoFactor) {
			return err
		}
		return putTOTP(ctx, tx, &totpRow{AccountID: row.ID, KEKID: kek, Sealed: sealed, CreatedAt: tx.At()})
	})
	return setupOf(secret, s.issuer(), name), err
}

// ConfirmTOTP puts the code generator into use, shown a code of it, and returns
// recovery codes, the only time that they are known. It refuses with ErrCode,
// ErrNoFactor when none was started, or a *ThrottledError.
func (s *Service) ConfirmTOTP(ctx context.Context, by authz.By, code string) ([]string, error) {
	if err := fresh(by, s.d.Now()); err != nil {
		return nil, err
	}
	if err := s.takeSecond(ctx, by.AccountID); err != nil {
		return nil, err
	}
	digits, ok := totpDigits(code)
	if !ok {
		return nil, ErrCode
	}
	codes := newRecoveryCodes()
	err := s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		row, err := s.own(ctx, tx, by)
		if err != nil {
			return err
		}
		t, err := totpOf(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if t.ConfirmedAt != 0 {
			return ErrFactorExists
		}
		if err := s.raiseStep(ctx, tx, t, digits); err != nil {
			return err
		}
		if err := confirmTOTP(ctx, tx, row.ID); err != nil {
			return err
		}
		if err := replaceRecovery(ctx, tx, row.ID, codes); err != nil {
			return err
		}
		if _, err := forgetAttempts(ctx, tx, attempts{bySecond, row.ID}); err != nil {
			return err
		}
		return tell(ctx, tx, by, row, audit.FactorAdd, NoticeFactorAdded, "code generator")
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// RemoveTOTP takes the code generator and the recovery codes away.
func (s *Service) RemoveTOTP(ctx context.Context, by authz.By) error {
	if err := fresh(by, s.d.Now()); err != nil {
		return err
	}
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		row, err := s.own(ctx, tx, by)
		if err != nil {
			return err
		}
		t, err := totpOf(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if err := removeTOTP(ctx, tx, row.ID); err != nil {
			return err
		}
		if t.ConfirmedAt == 0 {
			return nil // it was never in use
		}
		return tell(ctx, tx, by, row, audit.FactorRemove, NoticeFactorRemoved, "code generator")
	})
}

// NewRecoveryCodes replaces the recovery codes; no older one counts any more.
func (s *Service) NewRecoveryCodes(ctx context.Context, by authz.By) ([]string, error) {
	if err := fresh(by, s.d.Now()); err != nil {
		return nil, err
	}
	codes := newRecoveryCodes()
	err := s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		row, err := s.own(ctx, tx, by)
		if err != nil {
			return err
		}
		t, err := totpOf(ctx, tx, row.ID)
		if err == nil && t.ConfirmedAt == 0 {
			err = ErrNoFactor
		}
		if err != nil {
			return err
		}
		if err := replaceRecovery(ctx, tx, row.ID, codes); err != nil {
			return err
		}
		return tell(ctx, tx, by, row, audit.FactorAdd, NoticeRecoveryMade, "recovery codes")
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// ResetFactors takes every factor of an account away and ends its sessions, in
// the transaction of whoever decided it: resetting another's factors is a matter for
// two people. The password stays what it was.
func ResetFactors(ctx context.Context, tx db.Tx, by authz.By, accountID, reason string) error {
	row, err := accountBy(ctx, tx, "id", accountID)
	if err != nil {
		return err
	}
	if err := removeTOTP(ctx, tx, row.ID); err != nil && !errors.Is(err, ErrNoFactor) {
		return err
	}
	if err := removePasskeys(ctx, tx, row.ID); err != nil {
		return err
	}
	if _, err := forgetAttempts(ctx, tx, attempts{bySecond, row.ID}); err != nil {
		return err
	}
	if err := revokeAll(ctx, tx, row.ID, string(by.Kind)+":"+by.ID); err != nil {
		return err
	}
	what := "all factors"
	if by.ID != "" {
		what += ", by " + by.ID
	}
	if err := notify(ctx, tx, row.ID, NoticeFactorsReset, what, by.Source); err != nil {
		return err
	}
	return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.FactorsReset, ObjectKind: "account", ObjectID: row.Name, Reason: reason})
}

// own is the account behind by, whose authority is checked first.
func (s *Service) own(ctx context.Context, tx db.Tx, by authz.By) (*accountRow, error) {
	if err := by.Still(ctx, tx); err != nil {
		return nil, err
	}
	return accountBy(ctx, tx, "id", by.AccountID)
}

// tell records a change of an account's factors and keeps it for its owner.
func tell(ctx context.Context, tx db.Tx, by authz.By, row *accountRow, action string, kind NoticeKind, what string) error {
	if err := notify(ctx, tx, row.ID, kind, what, by.Source); err != nil {
		return err
	}
	return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: action, ObjectKind: "account", ObjectID: row.Name, Details: map[string]string{"factor": what}})
}

const totpPurpose = "totp"

// spendTOTP takes a code of the account's generator, once for all endpoints and
// nodes.
func (s *Service) spendTOTP(ctx context.Context, tx db.Tx, accountID, digits string) error {
	t, err := totpOf(ctx, tx, accountID)
	if errors.Is(err, ErrNoFactor) || err == nil && t.ConfirmedAt == 0 {
		return ErrCode
	}
	if err != nil {
		return err
	}
	return s.raiseStep(ctx, tx, t, digits)
}

// raiseStep finds the step of a code and moves the generator past it; a step that
// is not above the last one is ErrCode.
func (s *Service) raiseStep(ctx context.Context, tx db.Tx, t *totpRow, digits string) error {
	secret, err := s.settings.Ring.Open(t.KEKID, totpPurpose, t.AccountID, t.Sealed)
	if err != nil {
		return err
	}
	step, err := totpStep(secret, digits, tx.Now)
	if err != nil {
		return err
	}
	err = raiseTOTP(ctx, tx, t.AccountID, step)
	if errors.Is(err, db.ErrConflict) {
		return ErrCode
	}
	return err
}

// spendRecovery takes a recovery code, once, and says how many are left.
func spendRecovery(ctx context.Context, tx db.Tx, accountID, code string) (int, error) {
	hash := codeHash("recovery code of "+accountID, code, recoverySize)
	if hash == nil {
		return 0, ErrCode
	}
	err := useRecovery(ctx, tx, accountID, hash)
	if errors.Is(err, db.ErrConflict) {
		return 0, ErrCode
	}
	if err != nil {
		return 0, err
	}
	has, err := factorsOf(ctx, tx, accountID)
	return has.recovery, err
}

// notify keeps something for the owner of an account.
func notify(ctx context.Context, tx db.Tx, accountID string, kind NoticeKind, detail, source string) error {
	return insertNotice(ctx, tx, &noticeRow{ID: tx.NewID(), AccountID: accountID, At: tx.At(), Kind: kind, Detail: detail, Source: source})
}
