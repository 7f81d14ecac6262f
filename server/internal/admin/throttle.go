package admin

import (
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// ErrThrottled says that there were too many attempts. It comes as a
// *ThrottledError.
var ErrThrottled = errors.New("too many attempts to sign in")

// ThrottledError is ErrThrottled with the time after which to try again.
type ThrottledError struct{ After time.Duration }

func (e *ThrottledError) Error() string { return ErrThrottled.Error() }

// Is makes it ErrThrottled.
func (e *ThrottledError) Is(target error) bool { return target == ErrThrottled }

// Attempts that come at once, and the pace after that. Ten guesses and one each
// half minute is under 3,000 a day against one account, from however many sources.
const (
	accountBurst = 10
	accountEvery = 30 * time.Second
	sourceBurst  = 60
	sourceEvery  = time.Second

	// throttleSize bounds memory: about 3 MB of names and as much of sources. A
	// flood of made-up names can push a real one out only at the pace of a source.
	throttleSize = 16 << 10
)

// throttle counts attempts by account name and by source in memory.
type throttle struct {
	accounts, sources *lru.Cache[string, *rate.Limiter]
}

func newThrottle() (*throttle, error) {
	accounts, err := lru.New[string, *rate.Limiter](throttleSize)
	if err != nil {
		return nil, err
	}
	sources, err := lru.New[string, *rate.Limiter](throttleSize)
	return &throttle{accounts, sources}, err
}

// take counts an attempt, or refuses it with a *ThrottledError. The name is the
// normal one, so that no spelling gets a count of its own.
func (t *throttle) take(now time.Time, source, name string) error {
	if err := take(t.sources, source, sourceEvery, sourceBurst, now); err != nil {
		return err
	}
	return take(t.accounts, name, accountEvery, accountBurst, now)
}

// succeeded forgets the failures of an account.
func (t *throttle) succeeded(name string) { t.accounts.Remove(name) }

func take(m *lru.Cache[string, *rate.Limiter], key string, every time.Duration, burst int, now time.Time) error {
	l, ok := m.Get(key)
	if !ok {
		l = rate.NewLimiter(rate.Every(every), burst)
		if before, ok, _ := m.PeekOrAdd(key, l); ok {
			l = before
		}
	}
	if l.AllowN(now, 1) {
		return nil
	}
	r := l.ReserveN(now, 1)
	after := r.DelayFrom(now)
	r.CancelAt(now)
	return &ThrottledError{After: after}
}
