package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// DeviceTemplate is all that a device's certificate says.
type DeviceTemplate struct {
	DeviceID    string
	TrustDomain string
	PublicKey   crypto.PublicKey
	// Whole seconds, both inclusive, see Validity.
	NotBefore, NotAfter time.Time
}

// ServerTemplate is all that a server's certificate says. It needs one name or
// address at least.
type ServerTemplate struct {
	DNSNames  []string // lower-case host names, no wildcards
	IPs       []net.IP
	PublicKey crypto.PublicKey
	// Whole seconds, both inclusive, see Validity.
	NotBefore, NotAfter time.Time
}

// maxNames bounds a server certificate, so that it stays below MaxCertificate in
// every use that we know.
const maxNames = 16

// IssueDevice makes a device's certificate and returns its DER: a random serial
// of 128 bits, CN and URI naming the device, digital signature, client
// authentication, nothing else. It has passed LintDevice. Errors: ErrTemplate,
// ErrWeakKey, ErrNotCA, ErrBeyondIssuer, ErrLint.
func IssueDevice(ca CA, t DeviceTemplate) ([]byte, error) {
	if err := protocol.CheckDeviceID(t.DeviceID); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	if err := CheckTrustDomain(t.TrustDomain); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	uri, err := url.Parse(DeviceURI(t.TrustDomain, t.DeviceID))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	der, err := issue(ca, &x509.Certificate{
		Subject:     pkix.Name{CommonName: t.DeviceID},
		URIs:        []*url.URL{uri},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore:   t.NotBefore,
		NotAfter:    t.NotAfter,
	}, t.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := LintDevice(der, ca.Certificate, t); err != nil {
		return nil, err
	}
	return der, nil
}

// IssueServer makes a server's certificate and returns its DER: its names as
// subjectAltName (RFC 9525 section 2.1) and no subject. It has passed LintServer.
// Errors as of IssueDevice.
func IssueServer(ca CA, t ServerTemplate) ([]byte, error) {
	if n := len(t.DNSNames) + len(t.IPs); n == 0 || n > maxNames {
		return nil, fmt.Errorf("%w: a server has 1 to %d names and addresses", ErrTemplate, maxNames)
	}
	for _, name := range t.DNSNames {
		if CheckTrustDomain(name) != nil { // the same form: a host name that is no address
			return nil, fmt.Errorf("%w: a DNS name must be a host name in lower case, without wildcard", ErrTemplate)
		}
	}
	for _, ip := range t.IPs {
		if ip.To16() == nil || ip.IsUnspecified() || ip.IsMulticast() {
			return nil, fmt.Errorf("%w: an IP address is not one of a host", ErrTemplate)
		}
	}
	der, err := issue(ca, &x509.Certificate{
		DNSNames:    t.DNSNames,
		IPAddresses: t.IPs,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore:   t.NotBefore,
		NotAfter:    t.NotAfter,
	}, t.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := LintServer(der, ca.Certificate, t); err != nil {
		return nil, err
	}
	return der, nil
}

// ResponderTemplate is all that the certificate of an OCSP responder says.
type ResponderTemplate struct {
	PublicKey crypto.PublicKey
	// Whole seconds, both inclusive, see Validity.
	NotBefore, NotAfter time.Time
}

// responderName is the subject of every responder's certificate.
const responderName = "OCSP responder"

// IssueResponder makes the certificate of a delegated OCSP responder (RFC 6960
// section 4.2.2.2), which an authority of either kind may sign, and returns its DER.
// It is not checked for revocation in its turn, so that it should live shortly. It
// has passed LintResponder. Errors as of IssueDevice.
func IssueResponder(ca CA, t ResponderTemplate) ([]byte, error) {
	der, err := issue(ca, &x509.Certificate{
		Subject:         pkix.Name{CommonName: responderName},
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: asn1.NullBytes}}, // id-pkix-ocsp-nocheck
		NotBefore:       t.NotBefore,
		NotAfter:        t.NotAfter,
	}, t.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := LintResponder(der, ca.Certificate, t); err != nil {
		return nil, err
	}
	return der, nil
}

// issue adds to the template what all leaves share, and signs.
func issue(ca CA, template *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	if err := checkSigner(ca); err != nil {
		return nil, err
	}
	if usage := template.ExtKeyUsage[0]; usage != x509.ExtKeyUsageOCSPSigning && !hasUsage(ca.Certificate, usage) {
		return nil, fmt.Errorf("%w: it serves another kind of certificate", ErrNotCA)
	}
	if err := CheckPublicKey(pub); err != nil {
		return nil, err
	}
	for _, t := range []time.Time{template.NotBefore, template.NotAfter} {
		if t.IsZero() || !t.Equal(t.Truncate(time.Second)) {
			return nil, fmt.Errorf("%w: validity must be in whole seconds, see Validity", ErrTemplate)
		}
	}
	if template.NotAfter.Before(template.NotBefore) {
		return nil, fmt.Errorf("%w: validity ends before it begins", ErrTemplate)
	}
	if template.NotAfter.After(ca.Certificate.NotAfter) {
		return nil, ErrBeyondIssuer
	}
	var err error
	if template.SerialNumber, err = newSerial(); err != nil {
		return nil, err
	}
	if template.SubjectKeyId, err = keyID(pub); err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Certificate, pub, ca.Signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return der, nil
}

// keyID is method 1 of RFC 7093 section 2: the first 160 bits of SHA-256 over the
// key's bit string.
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	sum := sha256.Sum256(spki.Key.Bytes)
	return sum[:20], nil
}
