package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// MaxPresented is how many certificates a caller may show: its own, its issuer,
// and room for chains that some libraries send whole.
const MaxPresented = 4

// Identity is who a verified certificate says that its holder is.
type Identity struct {
	DeviceID    string
	Fingerprint string // see Fingerprint
	Serial      string // lower-case hex, no leading zeros
	SPKI        []byte // PKIX DER of the public key
	NotBefore   time.Time
	NotAfter    time.Time

	// Outside is there when another authority than ours issued the certificate.
	Outside *Outside
}

// Outside is a certificate of another authority, whose whole chain was verified.
type Outside struct {
	Certificate *x509.Certificate
	Issuer      *x509.Certificate   // whose signature it bears
	Chain       []*x509.Certificate // itself first, the anchor last
}

// VerifyDevice judges what a caller presented in the handshake that it proved
// the key of presented[0] in. Identity is read from that certificate alone; the
// others are neither believed nor used. issuers are the CAs that may issue to
// devices; one that is itself out of date at now counts for nothing.
//
// ErrExpired and ErrNotYetValid mean that everything else is right, and come
// with the identity. The other errors (ErrNoCertificate, ErrUnknownIssuer,
// ErrNotDevice) come with none. It says nothing of revocation.
func VerifyDevice(presented, issuers []*x509.Certificate, trustDomain string, now time.Time) (Identity, error) {
	if len(presented) == 0 || presented[0] == nil {
		return Identity{}, ErrNoCertificate
	}
	leaf := presented[0]
	switch {
	case len(presented) > MaxPresented:
		return Identity{}, notDevice("too many certificates")
	case len(leaf.Raw) > MaxCertificate:
		return Identity{}, notDevice("too long")
	case leaf.NotAfter.Before(leaf.NotBefore):
		return Identity{}, notDevice("validity ends before it begins")
	}
	if err := verifyChain(leaf, issuers, now); err != nil {
		return Identity{}, err
	}
	id, err := deviceOf(leaf, trustDomain)
	if err != nil {
		return Identity{}, err
	}
	switch {
	case now.After(leaf.NotAfter):
		return id, ErrExpired
	case now.Before(leaf.NotBefore):
		return id, ErrNotYetValid
	}
	return id, nil
}

// verifyChain checks signature, usage and name constraints at a moment when the
// leaf is valid, so that its dates can be judged last.
func verifyChain(leaf *x509.Certificate, issuers []*x509.Certificate, now time.Time) error {
	// The issuing CAs are the anchors and there are no intermediates: what the
	// caller presents beside its own certificate cannot lengthen the chain.
	roots := x509.NewCertPool()
	for _, c := range issuers {
		if isCA(c) && !now.Before(c.NotBefore) && !now.After(c.NotAfter) {
			roots.AddCert(c)
		}
	}
	at := now
	if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return ErrUnknownIssuer
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// At this moment the leaf is in date, so it is the issuer that was not.
		return ErrUnknownIssuer
	default:
		return notDevice("usage, constraints or a critical extension")
	}
}

// deviceOf reads the identity of a leaf whose chain is good. There is one
// spelling of it: everything is compared with the certificate that the CA would
// write for this device_id.
func deviceOf(leaf *x509.Certificate, trustDomain string) (Identity, error) {
	id := leaf.Subject.CommonName
	if protocol.CheckDeviceID(id) != nil || !namesOnly(leaf.RawSubject, id) {
		return Identity{}, notDevice("subject")
	}
	if CheckTrustDomain(trustDomain) != nil || !bytes.Equal(subjectAltName(leaf), deviceSAN(DeviceURI(trustDomain, id))) {
		return Identity{}, notDevice("subject alternative name")
	}
	if leaf.Version != 3 || !leaf.BasicConstraintsValid || leaf.IsCA {
		return Identity{}, notDevice("it is, or could be, a CA")
	}
	if leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		return Identity{}, notDevice("key usage")
	}
	if len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || len(leaf.UnknownExtKeyUsage) != 0 {
		return Identity{}, notDevice("extended key usage")
	}
	if CheckPublicKey(leaf.PublicKey) != nil {
		return Identity{}, notDevice("key type")
	}
	return Identity{
		DeviceID:    id,
		Fingerprint: Fingerprint(leaf.Raw),
		Serial:      leaf.SerialNumber.Text(16),
		SPKI:        bytes.Clone(leaf.RawSubjectPublicKeyInfo),
		NotBefore:   leaf.NotBefore,
		NotAfter:    leaf.NotAfter,
	}, nil
}

// subjectAltName is the raw extension, nil without one. x509 refuses two, and
// drops names of kinds that it does not know, which the raw bytes still show.
func subjectAltName(c *x509.Certificate) []byte {
	for _, e := range c.Extensions {
		if e.Id.String() == "2.5.29.17" {
			return e.Value
		}
	}
	return nil
}

func notDevice(what string) error { return fmt.Errorf("%w: %s", ErrNotDevice, what) }
