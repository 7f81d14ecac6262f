package admin

import (
	"context"
	"errors"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Refusals of a step.
var (
	// ErrHalf says that a token opens a session that misses a step.
	ErrHalf = errors.New("the sign-in is not complete: take the step that is due")
	// ErrCode says that a code is wrong, or was used.
	ErrCode = errors.New("the code is wrong, or was used before; wait for the next one, or use a recovery code")
)

// errSamePassword says that a one-time password was to be exchanged for itself.
var errSamePassword = &InvalidError{"password", "must be another than the one-time password"}

// SecondStep is the second step of a sign-in.
type SecondStep struct {
	Source, RequestID, Agent string
	Via                      Via    // of the first step; "" is any
	Code                     string // of the generator, or a recovery code
}

// SecondStep completes a sign-in whose password was right. The half session ends,
// and the new one has a token of its own. It refuses with ErrSignedOut, ErrCode or a
// *ThrottledError.
func (s *Service) SecondStep(ctx context.Context, token string, in SecondStep) (string, Caller, error) {
	half, err := s.half(ctx, token, in.Via, StageSecondFactor)
	if err != nil {
		return "", Caller{}, err
	}
	from := origin{in.Source, in.RequestID, in.Agent, half.Via}
	if err := s.takeSecond(ctx, half.AccountID); err != nil {
		if errors.Is(err, ErrThrottled) {
			err = errors.Join(err, s.refused(ctx, from, half.Account.Name, "second-step-throttled"))
		}
		return "", Caller{}, err
	}
	newToken, c, err := s.openSession(ctx, func(ctx context.Context, tx db.Tx, o *opening) error {
		row, err := s.spendHalf(ctx, tx, half.ID, StageSecondFactor)
		if err != nil {
			return err
		}
		o.origin, o.account = from, row.Account
		if o.method, err = s.spendCode(ctx, tx, row.AccountID, in.Code, in.Source); err != nil {
			return err
		}
		o.stage = due(o.method, true, row.Account.PasswordOnce != ownPassword)
		failures, err := forgetAttempts(ctx, tx, attempts{bySecond, row.AccountID})
		if err != nil || failures <= 1 {
			return err
		}
		return notify(ctx, tx, row.AccountID, NoticeFailedCodes, howMany(failures-1, "wrong code")+" after a right password", "")
	})
	if errors.Is(err, ErrCode) {
		err = errors.Join(ErrCode, s.refused(ctx, from, half.Account.Name, "second-step"))
	}
	return newToken, c, err
}

// spendCode takes a code of the generator or a recovery code, once.
func (s *Service) spendCode(ctx context.Context, tx db.Tx, accountID, code, source string) (Method, error) {
	if digits, ok := totpDigits(code); ok {
		return ByTOTP, s.spendTOTP(ctx, tx, accountID, digits)
	}
	left, err := spendRecovery(ctx, tx, accountID, code)
	if err != nil {
		return "", err
	}
	return ByRecovery, notify(ctx, tx, accountID, NoticeRecoveryUsed, howMany(left, "recovery code")+" left", source)
}

// NewPassword exchanges a one-time password.
type NewPassword struct {
	Source, RequestID, Agent string
	Via                      Via // of the step before; "" is any
	Password                 string
}

// SetNewPassword completes a sign-in with a one-time password. All other sessions
// of the account end. It refuses with ErrSignedOut, *InvalidError or a
// *ThrottledError.
func (s *Service) SetNewPassword(ctx context.Context, token string, in NewPassword) (string, Caller, error) {
	half, err := s.half(ctx, token, in.Via, StageNewPassword)
	if err != nil {
		return "", Caller{}, err
	}
	hash, err := s.newHash(ctx, in.Password, half.Account.Name)
	if err != nil {
		return "", Caller{}, err
	}
	same, err := s.hasher.matches(ctx, half.Account.PasswordHash, in.Password)
	switch {
	case errors.Is(err, errBusy):
		return "", Caller{}, &ThrottledError{After: maxHashWait}
	case err != nil:
		return "", Caller{}, err
	case same:
		return "", Caller{}, errSamePassword
	}
	return s.openSession(ctx, func(ctx context.Context, tx db.Tx, o *opening) error {
		row, err := s.spendHalf(ctx, tx, half.ID, StageNewPassword)
		if err != nil {
			return err
		}
		a := row.Account
		a.PasswordHash, a.PasswordOnce, a.PasswordAt = hash, ownPassword, tx.At()
		if err := updateAccount(ctx, tx, a); err != nil {
			return err
		}
		if err := revokeAll(ctx, tx, a.ID, string(audit.Person)+":"+a.Name); err != nil {
			return err
		}
		o.origin = origin{in.Source, in.RequestID, in.Agent, row.Via}
		o.account, o.method, o.stage = a, row.Method, StageFull
		who := audit.Actor{Kind: audit.Person, ID: a.Name, Source: in.Source, RequestID: in.RequestID}
		return audit.Write(ctx, tx, who, audit.Entry{
			Action: audit.AccountUpdate, ObjectKind: "account", ObjectID: a.Name, Details: map[string]string{"password": "one-time password exchanged"},
		})
	})
}

// half finds the live session of a token that waits for this very step.
func (s *Service) half(ctx context.Context, token string, via Via, want Stage) (*sessionRow, error) {
	now := s.d.Now()
	secret, err := s.keys.open(token, now)
	if err != nil {
		return nil, ErrSignedOut
	}
	row, err := s.live(ctx, s.d.Read(), "secret_hash", hashSecret(secret), now)
	if err != nil {
		return nil, err
	}
	if !row.waitsFor(want) || via != "" && row.Via != via {
		return nil, ErrSignedOut
	}
	return row, nil
}

// waitsFor reports whether this very step of a sign-in is due.
func (r *sessionRow) waitsFor(step Stage) bool { return r.Stage == step && step != StageFull }

// spendHalf ends a half session inside the transaction that goes on from it:
// twice at once is ErrSignedOut for one of them. So is one that began with a password
// where a passkey is needed by now.
func (s *Service) spendHalf(ctx context.Context, tx db.Tx, id string, want Stage) (*sessionRow, error) {
	row, err := s.live(ctx, tx, "id", id, tx.Now)
	if err != nil {
		return nil, err
	}
	if !row.waitsFor(want) {
		return nil, ErrSignedOut
	}
	has, err := factorsOf(ctx, tx, row.AccountID)
	if err != nil {
		return nil, err
	}
	if s.passkeyOnly(row.Account, has) {
		return nil, ErrSignedOut
	}
	err = revokeSession(ctx, tx, id, "next step")
	if errors.Is(err, db.ErrConflict) {
		return nil, ErrSignedOut
	}
	return row, err
}
