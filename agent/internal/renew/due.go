package renew

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// Due is when a certificate is renewed: at two thirds of its life, earlier or later
// by a tenth of its life at most. The draw is the certificate's own, so that it is
// the same after every start, and spreads certificates that were issued together.
func Due(c *x509.Certificate) time.Time {
	sum := sha256.Sum256(append([]byte("sentinel-renewal-v1\x00"), c.Raw...))
	drawn := float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53) // in [0, 1)
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotBefore.Add(life*2/3 + time.Duration((drawn-0.5)/5*float64(life)))
}

// dates are what waiting is measured by. The zero value sets it no limit.
type dates struct {
	end  time.Time // the last second
	life time.Duration
}

func datesOf(c *x509.Certificate) dates { return dates{c.NotAfter, c.NotAfter.Sub(c.NotBefore)} }

// noLimit is longer than anything that is waited for.
const noLimit = 1 << 62

// left is how long until the certificate has ended. One that has ended, or that is
// not known, sets no limit: there is nothing to be late for.
func (d dates) left(now time.Time) time.Duration {
	if d.end.IsZero() || now.After(d.end) {
		return noLimit
	}
	return d.end.Sub(now) + time.Second // the last second is part of it
}

// share is a quarter of what is left, so that a long life is waited for as ever and
// the end of one sees several tries. They come no closer than a twentieth of the
// life, or failFirst.
func (d dates) share(now time.Time) time.Duration {
	left := d.left(now)
	if left == noLimit {
		return left
	}
	return max(left/4, min(d.life/20, failFirst))
}

func newRequest(deviceID string, key crypto.Signer, recovery bool, now time.Time) (*journal.Renewal, error) {
	csr, err := certs.NewRequest(deviceID, key)
	if err != nil {
		return nil, err
	}
	return &journal.Renewal{RequestID: journal.NewID(now), At: now.UTC().Truncate(time.Second), CSR: csr, Recovery: recovery}, nil
}
