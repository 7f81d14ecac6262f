package enroll

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Refusals of an enrollment.
var (
	ErrUnknown  = errors.New("there is no such enrollment")
	ErrConflict = errors.New("the enrollment_id belongs to another request")
	ErrFull     = errors.New("too many enrollments wait for review")
	ErrState    = errors.New("the enrollment is not where this is possible")
)

// Action is what a reviewer agrees to: this key, under this name, with these
// properties. Its bytes are made once and stored.
type Action struct {
	Type         string            `json:"type"` // "enrollment"
	EnrollmentID string            `json:"enrollment_id"`
	DeviceID     string            `json:"device_id"`
	CSRDigest    string            `json:"csr_digest"` // SHA-256 of the request in DER, or of the certificate that was issued elsewhere
	KeyCode      string            `json:"key_code"`
	Name         string            `json:"name,omitempty"`
	Owner        string            `json:"owner,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Sensitive    bool              `json:"sensitive,omitempty"`
	Authority    string            `json:"authority,omitempty"` // fingerprint of who issued the certificate, when it was issued elsewhere
}

// Bytes are the action's canonical bytes: encoding/json writes members in the
// order above and map keys sorted.
func (a Action) Bytes() ([]byte, error) {
	a.Type = "enrollment"
	return json.Marshal(a)
}

// Live is the enrollment's state at a time: pending and approved ones end with
// their time.
func (e *Enrollment) Live(now time.Time) protocol.EnrollState {
	if (e.State == protocol.EnrollPending || e.State == protocol.EnrollApproved) && db.At(now) >= e.ExpiresAt {
		return protocol.EnrollExpired
	}
	return e.State
}

// Same reports whether a request is the one that made this enrollment, sent again
// after a lost answer. Its signature may be another one: a device that was killed
// before it heard the answer signs anew, and signatures are random. Name and key
// are all that a request says.
func (e *Enrollment) Same(tokenID, deviceID string, spki []byte) bool {
	own, err := certs.ParseRequest(e.CSR, e.DeviceID)
	return err == nil && e.TokenID == tokenID && e.DeviceID == deviceID && bytes.Equal(own.SPKI, spki)
}

// NeedsReview says whether a person must decide: by setting, unless a window is
// open, and for a sensitive token always.
func NeedsReview(required, windowOpen, sensitive bool) bool {
	return sensitive || required && !windowOpen
}
