package certs

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Kind is whom an issuing CA serves.
type Kind string

// The kinds of issuing CA.
const (
	KindDevice Kind = "device" // client certificates in the trust domain
	KindServer Kind = "server" // the server's own names
)

const (
	// Backdate is how far before its making a CA certificate begins, and a
	// reasonable value for others: a device whose clock is a little slow can use
	// what it was just given.
	Backdate = time.Hour

	// MaxCertificate is the longest certificate taken, in bytes of DER. Ours
	// have under 1 KiB; a limit keeps pathological ones from costing time.
	MaxCertificate = 4 << 10
)

// CA is a certificate that may issue, with the key that signs for it.
type CA struct {
	Certificate *x509.Certificate
	Signer      crypto.Signer
}

// Validity gives the bounds of a certificate that is valid for exactly life,
// in whole seconds, from the second of from. Both bounds are inclusive (RFC
// 5280 section 4.1.2.5), so the last one is a second less than life away.
func Validity(from time.Time, life time.Duration) (notBefore, notAfter time.Time) {
	notBefore = from.UTC().Truncate(time.Second)
	return notBefore, notBefore.Add(life.Truncate(time.Second) - time.Second)
}

// NewRootCA makes a self-signed root that may sign issuing CAs, and returns its
// DER. It begins Backdate before now and ends life after now.
func NewRootCA(name string, key crypto.Signer, now time.Time, life time.Duration) ([]byte, error) {
	template, err := caTemplate(name, key.Public(), now, life)
	if err != nil {
		return nil, err
	}
	template.MaxPathLen = 1
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make root CA: %w", err)
	}
	return der, nil
}

// NewIssuingCA makes a CA of one kind for the key pub, signed by the root, and
// returns its DER. It may sign leaves only, of its kind's usage. One for devices
// may name URIs of the trust domain only; one for servers may not name URIs. (No
// constraint forbids DNS names to the device kind: OpenSSL would take a
// device_id with a dot for one, and its usage keeps it from serving anyway.)
func NewIssuingCA(kind Kind, name, trustDomain string, root CA, pub crypto.PublicKey, now time.Time, life time.Duration) ([]byte, error) {
	if err := CheckTrustDomain(trustDomain); err != nil {
		return nil, err
	}
	if err := checkSigner(root); err != nil {
		return nil, err
	}
	if root.Certificate.MaxPathLen == 0 {
		return nil, fmt.Errorf("%w: it may not sign other CAs", ErrNotCA)
	}
	template, err := caTemplate(name, pub, now, life)
	if err != nil {
		return nil, err
	}
	if template.NotAfter.After(root.Certificate.NotAfter) {
		return nil, ErrBeyondIssuer
	}
	template.MaxPathLenZero = true
	template.PermittedDNSDomainsCritical = true // of all name constraints, whatever its name says
	switch kind {
	case KindDevice:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		template.PermittedURIDomains = []string{trustDomain}
	case KindServer:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.ExcludedURIDomains = []string{""} // every host
	default:
		return nil, fmt.Errorf("%w: no such kind of CA", ErrTemplate)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, root.Certificate, pub, root.Signer)
	if err != nil {
		return nil, fmt.Errorf("make issuing CA: %w", err)
	}
	return der, nil
}

func caTemplate(name string, pub crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	if err := CheckPublicKey(pub); err != nil {
		return nil, err
	}
	if name == "" || protocol.CheckText("name", name, 64) != nil { // 64: RFC 5280 appendix A, ub-common-name
		return nil, fmt.Errorf("%w: a CA's name must have 1 to 64 printable characters", ErrTemplate)
	}
	notBefore, notAfter := Validity(now, life)
	if notAfter.Before(notBefore) {
		return nil, fmt.Errorf("%w: a CA's life must be a second at least", ErrTemplate)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notBefore.Add(-Backdate),
		NotAfter:              notAfter,
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil
}

// newSerial draws 128 random bits; zero is drawn again (RFC 5280 section
// 4.1.2.2: positive, at most 20 octets).
func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	for {
		if _, err := rand.Read(b); err != nil {
			return nil, fmt.Errorf("draw a serial number: %w", err)
		}
		if !bytes.Equal(b, make([]byte, 16)) {
			return new(big.Int).SetBytes(b), nil
		}
	}
}

// ParseCA reads the certificate of a CA: within MaxCertificate, marked as a CA
// that signs certificates, its key one that is taken. Otherwise ErrNotCA. It
// says nothing of time, usage or trust.
func ParseCA(der []byte) (*x509.Certificate, error) {
	if len(der) > MaxCertificate {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrNotCA, MaxCertificate)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: not a certificate", ErrNotCA)
	}
	if !isCA(c) {
		return nil, ErrNotCA
	}
	return c, nil
}

// ParseCAs reads a list of CA certificates, as ParseCA each.
func ParseCAs(ders [][]byte) ([]*x509.Certificate, error) {
	list := make([]*x509.Certificate, 0, len(ders))
	for i, der := range ders {
		c, err := ParseCA(der)
		if err != nil {
			return nil, fmt.Errorf("CA certificate %d: %w", i+1, err)
		}
		list = append(list, c)
	}
	return list, nil
}

func isCA(c *x509.Certificate) bool {
	return c.Version == 3 && c.BasicConstraintsValid && c.IsCA &&
		c.KeyUsage&x509.KeyUsageCertSign != 0 && CheckPublicKey(c.PublicKey) == nil
}

func hasUsage(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return slices.Contains(c.ExtKeyUsage, usage)
}

// checkSigner makes sure that the CA may sign and that the key is its own.
func checkSigner(ca CA) error {
	if ca.Certificate == nil || ca.Signer == nil || !isCA(ca.Certificate) {
		return ErrNotCA
	}
	spki, err := x509.MarshalPKIXPublicKey(ca.Signer.Public())
	if err != nil || !bytes.Equal(spki, ca.Certificate.RawSubjectPublicKeyInfo) {
		return fmt.Errorf("%w: the signer holds another key", ErrNotCA)
	}
	return nil
}
