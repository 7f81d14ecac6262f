package identity

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

var (
	// ErrForeign means that a certificate is not this device's, or not from a CA that
	// may issue to devices. It is not kept.
	ErrForeign = errors.New("the certificate is not one for this device")
	// ErrWrongTime means that a certificate is not valid by this device's clock, while
	// everything else about it is right.
	ErrWrongTime = errors.New("the certificate is not valid now")
)

// Expected is what a certificate has to fit.
type Expected struct {
	DeviceID    string
	Key         crypto.Signer
	Issuers     []*x509.Certificate // that may issue to devices
	TrustDomain string
	Now         time.Time
}

// Judge makes sure that a chain that was issued, in DER, is for the expected device
// and key. ErrForeign; ErrWrongTime, which comes with the certificate.
func Judge(chain [][]byte, want Expected) (*x509.Certificate, error) {
	if len(chain) == 0 || len(chain) > certs.MaxPresented {
		return nil, fmt.Errorf("%w: 1 to %d certificates are expected", ErrForeign, certs.MaxPresented)
	}
	presented := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d cannot be read", ErrForeign, i+1)
		}
		presented[i] = c
	}
	leaf := presented[0]
	id, err := certs.VerifyDevice(presented, want.Issuers, want.TrustDomain, want.Now)
	wrongTime := errors.Is(err, certs.ErrNotYetValid) || errors.Is(err, certs.ErrExpired)
	switch {
	case err != nil && !wrongTime:
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	case id.DeviceID != want.DeviceID:
		return nil, fmt.Errorf("%w: it is of %s", ErrForeign, id.DeviceID)
	case !Matches(leaf, want.Key):
		return nil, fmt.Errorf("%w: it is of another key", ErrForeign)
	case wrongTime:
		return leaf, fmt.Errorf("%w: it is valid from %s to %s, and this device's time is %s", ErrWrongTime,
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), want.Now.UTC().Format(time.RFC3339))
	}
	return leaf, nil
}
