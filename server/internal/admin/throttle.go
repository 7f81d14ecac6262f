package admin

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// ErrThrottled says that there were too many attempts. It comes as a
// *ThrottledError.
var ErrThrottled = errors.New("too many attempts to sign in")

// ThrottledError is ErrThrottled with the time after which to try again.
type ThrottledError struct{ After time.Duration }

func (e *ThrottledError) Error() string { return ErrThrottled.Error() }

// Is makes it ErrThrottled.
func (e *ThrottledError) Is(target error) bool { return target == ErrThrottled }

// Attempts that come at once, and the pace after that. Ten guesses, one each half
// minute, and a quarter of an hour of rest after each twenty make fewer than 1,500 a
// day against one account, from however many sources.
const (
	accountBurst = 10
	accountEvery = 30 * time.Second
	lockAfter    = 20
	lockFor      = 15 * time.Minute
	sourceBurst  = 60
	sourceEvery  = time.Second

	// maxSecond wrong codes in a row and no code counts any more (NIST SP 800-63B
	// section 3.2.2), until a passkey, or another person, opens the way again.
	maxSecond = 100
)

// scope is what attempts are counted by.
type scope string

const (
	bySource  scope = "source"
	byAccount scope = "account"
	// byKnown is an account from where it signed in before: whoever attacks it from
	// elsewhere uses up the count of byAccount, and not its owner's.
	byKnown  scope = "account-source"
	bySecond scope = "second-step"
	// byPasskeySource bounds challenges: rows that anyone can have made.
	byPasskeySource scope = "passkey-source"
	byBreakGlass    scope = "break-glass-source"
)

// pace is how fast attempts of a scope may come.
type pace struct {
	burst int
	every time.Duration
	lock  time.Duration // rest after each lockAfter failures; 0: none
	limit int           // failures in a row, after which there is no more; 0: none
}

var paces = map[scope]pace{
	byPasskeySource: {burst: sourceBurst, every: sourceEvery},
	byBreakGlass:    {burst: accountBurst, every: accountEvery},

	bySource:  {burst: sourceBurst, every: sourceEvery},
	byAccount: {burst: accountBurst, every: accountEvery, lock: lockFor},
	byKnown:   {burst: accountBurst, every: accountEvery, lock: lockFor},
	bySecond:  {burst: accountBurst, every: accountEvery, lock: lockFor, limit: maxSecond},
}

// attempts is the count that a success empties.
type attempts struct {
	scope   scope
	subject string
}

// takeSignIn counts an attempt with a password, or refuses it with a
// *ThrottledError. The same statements run for a name that belongs to no account,
// which is counted by the MAC of its one spelling.
func (s *Service) takeSignIn(ctx context.Context, source, accountID, name string) (attempts, error) {
	subject := accountID
	if subject == "" {
		subject = hex.EncodeToString(s.settings.Ring.MAC("sign-in name", []byte(name))[:16])
	}
	from := sourceOf(source)
	var mine attempts
	err := s.take(ctx, func(ctx context.Context, tx db.Tx) (time.Duration, error) {
		if after, err := takeAttempt(ctx, tx, bySource, from); err != nil || after > 0 {
			return after, err
		}
		known, err := isKnownSource(ctx, tx, accountID, from)
		if err != nil {
			return 0, err
		}
		mine = attempts{byAccount, subject}
		if known {
			mine = attempts{byKnown, subject + " " + from}
		}
		return takeAttempt(ctx, tx, mine.scope, mine.subject)
	})
	return mine, err
}

// takeSecond counts an attempt with a code, by account alone: no session and no
// source has a count of its own.
func (s *Service) takeSecond(ctx context.Context, accountID string) error {
	return s.take(ctx, func(ctx context.Context, tx db.Tx) (time.Duration, error) {
		return takeAttempt(ctx, tx, bySecond, accountID)
	})
}

// take counts in a transaction of its own, before anything is tried: attempts made
// at the same instant, on whatever nodes, each find the ones before them.
func (s *Service) take(ctx context.Context, count func(ctx context.Context, tx db.Tx) (time.Duration, error)) error {
	var after time.Duration
	err := s.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
		var err error
		after, err = count(ctx, tx)
		return err
	})
	if err == nil && after > 0 {
		return &ThrottledError{After: after}
	}
	return err
}

// sourceOf is what a source is counted by: whoever has an IPv6 address has a whole
// /64 to choose from.
func sourceOf(source string) string {
	a, err := netip.ParseAddr(source)
	if err != nil {
		return source
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
