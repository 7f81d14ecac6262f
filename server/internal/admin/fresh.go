package admin

import (
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// ErrFreshSignIn says that the act needs a sign-in of the last minutes, with every
// step of it.
var ErrFreshSignIn = errors.New("this needs a sign-in of the last 5 minutes: sign in again, then repeat it")

// freshFor is how long a sign-in counts as fresh. It is not prolonged by use: a
// session that was stolen is an old one.
const freshFor = 5 * time.Minute

// fresh holds an act on accounts and their factors to a fresh sign-in. Whoever
// owns the host's files, and the server itself, are past signing in.
func fresh(by authz.By, now time.Time) error {
	switch by.Kind {
	case audit.Host, audit.System:
		return nil
	case audit.Person:
		age := now.Sub(by.FullAt)
		if !by.FullAt.IsZero() && age >= 0 && age <= freshFor {
			return nil
		}
		return ErrFreshSignIn
	}
	return authz.ErrDenied // a machine has nothing to sign in with
}
