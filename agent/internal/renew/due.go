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

func newRequest(deviceID string, key crypto.Signer, recovery bool, now time.Time) (*journal.Renewal, error) {
	csr, err := certs.NewRequest(deviceID, key)
	if err != nil {
		return nil, err
	}
	return &journal.Renewal{RequestID: journal.NewID(now), At: now.UTC().Truncate(time.Second), CSR: csr, Recovery: recovery}, nil
}
