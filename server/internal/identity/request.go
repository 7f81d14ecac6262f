package identity

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Kind says whether the device's certificate was still valid.
type Kind string

// The kinds.
const (
	Renewal  Kind = "renewal"
	Recovery Kind = "recovery"
	Outside  Kind = "outside" // a certificate that another authority issued
)

// State is where a request stands; see the package's documentation.
type State string

// The states. The first three are open.
const (
	Pending  State = "pending"
	Approved State = "approved"
	Issued   State = "issued"
	Used     State = "used"
	Rejected State = "rejected"
	Expired  State = "expired"
)

// Open reports whether the request may still lead to a certificate in use.
func (s State) Open() bool { return s == Pending || s == Approved || s == Issued }

const (
	// UnusedLife is how long a certificate waits for its first use. A device that
	// was given one uses it with its next heartbeat.
	UnusedLife = 24 * time.Hour

	// Window is how long after its end a certificate's key still speaks for the
	// device: a season in a cupboard, not a device that was sold.
	Window = 90 * 24 * time.Hour

	// MaxIssued is how many certificates a device is given in an hour, or in the
	// life of a certificate where that is shorter: a renewal, and some that got lost.
	MaxIssued = 6
)

// Refusals of a request.
var (
	ErrUnknown  = errors.New("there is no such request")
	ErrNone     = errors.New("the device asks for nothing")
	ErrConflict = errors.New("the request_id belongs to another request")
	ErrKeyUsed  = errors.New("the key was certified or asked for before")
	ErrState    = errors.New("the request is not where this is possible")
	ErrInDate   = errors.New("the certificate has not expired")
	ErrLate     = errors.New("the certificate expired too long ago")
	ErrTurn     = errors.New("another request of the device is decided about first")
)

// TooOftenError refuses a device that was given many certificates just now.
type TooOftenError struct{ After time.Duration }

func (e *TooOftenError) Error() string { return "the device was given too many certificates just now" }

// Action is what a reviewer agrees to: that this key stands for this device from
// now on. Its bytes are made once and stored.
type Action struct {
	Type      string `json:"type"` // "identity"
	Kind      Kind   `json:"kind"`
	RequestID string `json:"request_id"`
	DeviceID  string `json:"device_id"`
	SignedBy  string `json:"signed_by"` // fingerprint of the certificate whose key signed
	// Lost is the fingerprint of the certificate whose key signed in place of that one:
	// it is of an authority of ours, and the database came from a backup that does not
	// have it, or has it as ended: LostEnded is "superseded" or "unused". "" otherwise.
	Lost      string `json:"lost,omitempty"`
	LostEnded string `json:"lost_ended,omitempty"`
	CSRDigest string `json:"csr_digest"`          // SHA-256 of the request in DER, or of the certificate that was issued elsewhere
	KeyCode   string `json:"key_code"`            // of the new key
	Authority string `json:"authority,omitempty"` // fingerprint of who issued the certificate, when it was issued elsewhere
}

// Bytes are the action's canonical bytes: encoding/json writes members in the
// order above.
func (a Action) Bytes() ([]byte, error) {
	a.Type = "identity"
	return json.Marshal(a)
}

// Live is the request's state at a time: open ones end with their time.
func (r *Request) Live(now time.Time) State {
	if r.State.Open() && db.At(now) >= r.ExpiresAt {
		return Expired
	}
	return r.State
}

// FirstUseUntil is when a certificate that was given at an instant is no longer waited
// for: after UnusedLife, or once it has ended, for who did not take it by then never will.
func FirstUseUntil(given, notAfter db.Micros) db.Micros {
	return min(given.Add(UnusedLife), notAfter.Add(time.Second)) // its last second is part of it
}

// Same reports whether a request is the one that is stored, sent again.
func (r *Request) Same(other *Request) bool {
	return r.ID == other.ID && r.DeviceID == other.DeviceID && r.Kind == other.Kind && r.SignedBy == other.SignedBy && r.Lost == other.Lost && r.CSRDigest == other.CSRDigest
}

// NeedsReview says whether a person must decide: by setting, for a sensitive
// device, and whenever no connection proved the certificate.
func NeedsReview(k Kind, required, sensitive bool) bool {
	return k != Renewal || required || sensitive
}

// Recoverable says whether a certificate that ends at notAfter, its last second,
// may be recovered from.
func Recoverable(notAfter, now time.Time) error {
	switch {
	case !now.After(notAfter):
		return ErrInDate
	case now.After(notAfter.Add(Window)):
		return ErrLate
	}
	return nil
}

// Pace is the span in which MaxIssued certificates are given.
func Pace(life time.Duration) time.Duration { return min(time.Hour, life) }

// Often says whether a device was given enough in the span that ends now, from
// how many it was given in it and when the first of these was.
func Often(given int, first, now time.Time, span time.Duration) error {
	if given < MaxIssued {
		return nil
	}
	return &TooOftenError{After: max(first.Add(span).Sub(now), time.Second)}
}
