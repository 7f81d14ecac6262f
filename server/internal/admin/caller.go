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
	// Notices are what happened to the account since its sign-in before this one, the
	// newest first. They come with a sign-in, and with every request of the console.
	Notices []Notice
	// WaitsFor is the approval that the account's rights wait for, as Redeem asked for it;
	// "" is none.
	WaitsFor string

	idle time.Duration
}

// Authenticate finds the caller behind a token that came in via: ErrSignedOut when
// there is none, ErrHalf when the sign-in misses a step. It records that the session
// was used, at most about once a minute.
func (s *Service) Authenticate(ctx context.Context, token string, via Via) (Caller, error) {
	now := s.d.Now()
	if secret, ok := openSecret(machinePrefix, token); ok && via == ViaProgram {
		return s.machine(ctx, secret, now)
	}
	secret, err := s.keys.open(token, now)
	if err != nil {
		return Caller{}, ErrSignedOut
	}
	row, err := s.live(ctx, s.d.Read(), "secret_hash", hashSecret(secret), now)
	if err != nil {
		return Caller{}, err
	}
	switch {
	case row.Via != via:
		return Caller{}, ErrSignedOut
	case row.Stage != StageFull:
		return Caller{}, ErrHalf
	}
	if now.Sub(row.SeenAt.Time()) >= seenEvery(s.settings.Idle) {
		err := s.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error { return touchSession(ctx, tx, row.ID, row.SeenAt) })
		if err != nil {
			return Caller{}, err
		}
	}
	c := s.caller(row)
	if via == ViaConsole {
		c.Notices, err = s.Notices(ctx, c)
	}
	return c, err
}

// Notices is what c is told: see Caller.
func (s *Service) Notices(ctx context.Context, c Caller) ([]Notice, error) {
	return noticesSince(ctx, s.d.Read(), c.Account.ID, db.At(c.Session.toldFrom))
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
	if c.Session.Method == ByAPIToken {
		return c.byMachine(p, source, requestID)
	}
	who := audit.Actor{Kind: audit.Person, ID: c.Account.Name, Source: source, RequestID: requestID}
	id, idle := c.Session.ID, c.idle
	by := authz.NewBy(who, c.Account.ID, c.Account.Person, func(ctx context.Context, tx db.Tx) error {
		row, err := sessionBy(ctx, tx, "id", id)
		if errors.Is(err, ErrNotFound) {
			return authz.ErrDenied
		}
		if err != nil {
			return err
		}
		session, account := row.session(), row.Account.account()
		if session.ended(&account, row.EpochNow, tx.Now, idle) != "" || session.Stage != StageFull || !account.May(p) {
			return authz.ErrDenied
		}
		return nil
	})
	by.SessionID, by.FullAt = id, c.Session.FullAt
	return by
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
