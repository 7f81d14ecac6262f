package device

import (
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Beat is a heartbeat as the counter sees it.
type Beat struct {
	DeviceID     string
	EnrollmentID string
	Fingerprint  string // of the certificate that the caller proved
	Counter      int64
	Epoch        string
	BootID       string
	NonceFor     int64  // the counter that the nonce was made after; -1 for no valid nonce
	Receipt      int64  // the counter that a valid receipt of Epoch says was accepted; 0 for none
	Said         string // digest of what the device says of itself
	At           db.Micros
}

// Counter is the row that heartbeats raise.
type Counter struct {
	bun.BaseModel `bun:"table:device_counters"`

	DeviceID     string    `bun:"device_id,pk"`
	EnrollmentID string    `bun:"enrollment_id"`
	Fingerprint  string    `bun:"fingerprint"`
	Gate         Gate      `bun:"gate"`
	Refused      int       `bun:"refused"`
	Pending      int       `bun:"pending"`
	Counter      int64     `bun:"counter"`
	SeenAt       db.Micros `bun:"seen_at"`
	Epoch        string    `bun:"epoch"` // see Heard
	BootID       string    `bun:"boot_id"`
	BootFirst    int64     `bun:"boot_first"` // the first counter accepted under BootID
	Said         string    `bun:"said"`

	// The certificate that the device was given last and did not use yet: valid
	// beside Fingerprint until its time is over or it becomes Fingerprint.
	NextFingerprint string    `bun:"next_fingerprint"`
	NextUntil       db.Micros `bun:"next_until"`
}

// Why a heartbeat was not accepted.
var (
	ErrSuspended   = errors.New("the device is suspended")
	ErrHeld        = errors.New("the device is held because its counter went back")
	ErrRevoked     = errors.New("the device is revoked")
	ErrCertificate = errors.New("the certificate is not the one on record for this device")
	ErrLost        = errors.New("the certificate was lost when the database was brought back from a backup")
	ErrEnrollment  = errors.New("the enrollment is not the one on record for this device")
	ErrEpoch       = errors.New("the epoch is not the present one")
	ErrNonce       = errors.New("the first heartbeat of an epoch needs the nonce of that epoch")
	ErrStale       = errors.New("the counter is not higher than the one accepted before")
	ErrClone       = errors.New("another boot counts in the same range")
	ErrJump        = errors.New("the counter is too far ahead")
	ErrBehind      = errors.New("the database is older than what it acknowledged")
	ErrRace        = errors.New("the heartbeat met a change under way")
)

// Judge says why the statement did not accept a beat, from the row as it stands
// (nil: there is none) and the instance. It follows the statement's conditions
// one by one; what passes all of them met a change under way.
func Judge(row *Counter, in db.Instance, b Beat) error {
	switch {
	case row == nil:
		return ErrUnknown
	case row.Gate == GateSuspended:
		return ErrSuspended
	case row.Gate == GateHeld:
		return ErrHeld
	case row.Gate != GateOpen:
		return ErrRevoked
	case row.EnrollmentID != b.EnrollmentID:
		return ErrEnrollment
	case row.Fingerprint != b.Fingerprint && (row.NextFingerprint != b.Fingerprint || b.At >= row.NextUntil):
		return ErrCertificate
	case in.BehindSince != 0:
		return ErrBehind
	case b.Epoch != in.Epoch:
		return ErrEpoch
	case b.Receipt > row.Counter:
		return ErrBehind
	case row.Epoch != in.Epoch && b.NonceFor != row.Counter:
		return ErrNonce
	case b.Counter <= row.Counter && row.BootID != "" && b.BootID != row.BootID && b.Counter >= row.BootFirst:
		// Both boots count in one range: two agents at a time. Below BootFirst it was
		// sent before this boot began, and came late.
		return ErrClone
	case b.Counter <= row.Counter:
		return ErrStale
	case b.Counter-row.Counter > protocol.MaxCounterJump:
		return ErrJump
	}
	return ErrRace
}

// Heard reports whether a device was heard in the present epoch, under the certificate
// on record, given its counter's epoch: that of what it sent last, or "" for the present
// one where its next heartbeat has to prove again that it is fresh.
func Heard(epoch, present string) bool { return epoch == "" || epoch == present }

// HoldAfter is how many refused counters in a row hold a device: one can be a
// message that came twice.
const HoldAfter = 2

// Holds says whether a refusal holds the device, given how many stale counters
// came in a row including this one.
func Holds(refusal error, inARow int) bool {
	return errors.Is(refusal, ErrClone) || errors.Is(refusal, ErrStale) && inARow >= HoldAfter
}
