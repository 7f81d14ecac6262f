package admin

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// ErrSignedOut says that a token opens no session, for whatever reason.
var ErrSignedOut = errors.New("not signed in")

// Caller is a person with a live session, as of the moment it was read.
type Caller struct {
	Account Account
	Session Session

	idle time.Duration
}

// Authenticate finds the caller behind a token, or ErrSignedOut. It records that
// the session was used, at most about once a minute.
func (s *Service) Authenticate(ctx context.Context, token string) (Caller, error) {
	now := s.d.Now()
	secret, err := s.keys.open(token, now)
	if err != nil {
		return Caller{}, ErrSignedOut
	}
	row, err := s.live(ctx, s.d.Read(), "secret_hash", hashSecret(secret), now)
	if err != nil {
		return Caller{}, err
	}
	if now.Sub(row.SeenAt.Time()) >= seenEvery(s.settings.Idle) {
		err := s.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error { return touchSession(ctx, tx, row.ID, row.SeenAt) })
		if err != nil {
			return Caller{}, err
		}
	}
	return s.caller(row), nil
}

func (s *Service) live(ctx context.Context, q bun.IDB, column string, value any, now time.Time) (*sessionRow, error) {
	row, err := sessionBy(ctx, q, column, value)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrSignedOut
	}
	if err != nil {
		return nil, err
	}
	session, account := row.session(), row.Account.account()
	if session.ended(&account, row.EpochNow, now, s.settings.Idle) != "" {
		return nil, ErrSignedOut
	}
	return row, nil
}

func (s *Service) caller(row *sessionRow) Caller {
	return Caller{Account: row.Account.account(), Session: row.session(), idle: s.settings.Idle}
}

// May reports whether the caller's role or grants include p.
func (c Caller) May(p authz.Permission) bool { return c.Account.May(p) }

// By is the caller's authority for one act that needs p. Its check reads session
// and account again, inside the transaction that acts.
func (c Caller) By(p authz.Permission, source, requestID string) authz.By {
	who := audit.Actor{Kind: audit.Person, ID: c.Account.Name, Source: source, RequestID: requestID}
	id, idle := c.Session.ID, c.idle
	return authz.NewBy(who, c.Account.ID, c.Account.Person, func(ctx context.Context, tx db.Tx) error {
		row, err := sessionBy(ctx, tx, "id", id)
		if errors.Is(err, ErrNotFound) {
			return authz.ErrDenied
		}
		if err != nil {
			return err
		}
		session, account := row.session(), row.Account.account()
		if session.ended(&account, row.EpochNow, tx.Now, idle) != "" || !account.May(p) {
			return authz.ErrDenied
		}
		return nil
	})
}

// agentName is what is kept of a client's name for itself: one printable line.
func agentName(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxAgent)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}
