package admin

import (
	"time"
)

// Session is one sign-in.
type Session struct {
	ID          string
	AccountID   string
	AccountName string
	CreatedAt   time.Time
	SeenAt      time.Time // to about a minute
	ExpiresAt   time.Time
	Source      string
	Agent       string // what the client calls itself
	RevokedAt   time.Time

	epoch string
}

const (
	// maxSessions of an account are live at once; the oldest gives way.
	maxSessions = 10
	maxAgent    = 200 // bytes kept of a client's name
	// keepEnded is how long ended sessions can still be looked at.
	keepEnded = 30 * 24 * time.Hour
)

// ended says why a session does not count any more, "" while it does.
func (s *Session) ended(a *Account, epoch string, now time.Time, idle time.Duration) string {
	switch {
	case !s.RevokedAt.IsZero():
		return "session-revoked"
	case !now.Before(s.ExpiresAt):
		return "session-expired"
	case now.Sub(s.SeenAt) >= idle:
		return "session-idle"
	case s.epoch != epoch:
		return "restored"
	case !a.Active():
		return "account-disabled"
	}
	return ""
}

// seenEvery is how often use is recorded: once a minute, oftener when the idle
// time is so short that a minute would matter.
func seenEvery(idle time.Duration) time.Duration { return min(time.Minute, idle/10) }
