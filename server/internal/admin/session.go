package admin

import (
	"time"
)

// Via is what a session's token travels in. A session of one is nothing to the
// other surface.
type Via string

// The two ways.
const (
	ViaConsole Via = "console" // a cookie of the console
	ViaProgram Via = "program" // a bearer token of the API
)

// Stage says what a sign-in still misses. What is not full reaches the step that is
// due, and nothing else.
type Stage string

// The stages.
const (
	StageFull         Stage = "full"
	StageSecondFactor Stage = "second-factor" // the password was right
	StageNewPassword  Stage = "new-password"  // it was a one-time password
)

// Method is how a person proved who they are.
type Method string

// The methods.
const (
	ByPassword   Method = "password"
	ByTOTP       Method = "password+totp"
	ByRecovery   Method = "password+recovery-code"
	ByPasskey    Method = "passkey"
	ByInvitation Method = "invitation"
	ByBreakGlass Method = "break-glass"
	ByAPIToken   Method = "api-token"
)

// due is the stage that a sign-in has reached: a second factor is asked for before
// a one-time password is exchanged, so that whoever saw the password alone cannot
// choose the next one.
func due(m Method, totp, oneTime bool) Stage {
	switch {
	case m == ByPassword && totp:
		return StageSecondFactor
	case m != ByPasskey && oneTime:
		return StageNewPassword
	}
	return StageFull
}

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
	Via         Via
	Stage       Stage
	Method      Method
	FullAt      time.Time // when the sign-in was complete; zero: it is not

	toldFrom time.Time // the sign-in before this one
	epoch    string
}

const (
	// maxSessions of an account are live at once; the oldest gives way.
	maxSessions = 10
	// maxHalf of them wait for a step. They never push out a session that is full:
	// a stolen password alone ends nobody's work.
	maxHalf = 3
	// halfLife is how long a sign-in waits for its next step.
	halfLife = 10 * time.Minute
	maxAgent = 200 // bytes kept of a client's name
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
