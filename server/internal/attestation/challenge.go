package attestation

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// ChallengeLife is how long a challenge waits for its evidence: a TPM that is slow, on a
// device that is busy, needs seconds.
const ChallengeLife = 10 * time.Minute

// Terms are what the operators chose.
type Terms struct {
	Makers *Makers       // nil: no evidence is taken
	PCRs   []int         // to be quoted, ascending
	Every  time.Duration // how often evidence is due
}

// Life is how long evidence counts: until two more were due, and a while beside.
func (t *Terms) Life() time.Duration { return 3 * t.Every }

// digestOf is how nonces and secrets are stored: who reads the database learns none.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// For judges whether a challenge is one for this evidence, at a time. Whether it was used
// before is asked where it is taken.
func (c *Challenge) For(deviceID, enrollmentID, fingerprint, epoch string, now time.Time) error {
	switch {
	case c.Epoch != epoch: // it is from before a restore
		return ErrUnknown
	case c.DeviceID != deviceID || c.EnrollmentID != enrollmentID || c.Fingerprint != fingerprint:
		return ErrForeign
	case !now.Before(c.ExpiresAt.Time()):
		return ErrExpired
	}
	return nil
}
