package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"time"
)

// LintDevice compares a finished certificate with what was asked for, field by
// field, and returns ErrLint naming the first that differs. It shares nothing
// with IssueDevice: what it expects is written as bytes. Run it before a
// certificate leaves.
func LintDevice(der []byte, ca *x509.Certificate, t DeviceTemplate) error {
	c, err := lint(der, ca, deviceExpectation(t))
	if err != nil {
		return err
	}
	// And the other side's judgement: the signature, the CA's usage and constraints fit.
	id, err := VerifyDevice([]*x509.Certificate{c}, []*x509.Certificate{ca}, t.TrustDomain, t.NotAfter)
	if err != nil || id.DeviceID != t.DeviceID {
		return fmt.Errorf("%w: it would not be accepted from the device: %w", ErrLint, err)
	}
	return nil
}

func deviceExpectation(t DeviceTemplate) expectation {
	return expectation{
		subject:   func(raw []byte) bool { return namesOnly(raw, t.DeviceID) },
		san:       deviceSAN(DeviceURI(t.TrustDomain, t.DeviceID)),
		usage:     2,
		publicKey: t.PublicKey,
		notBefore: t.NotBefore,
		notAfter:  t.NotAfter,
	}
}

// LintServer is LintDevice for a server's certificate.
func LintServer(der []byte, ca *x509.Certificate, t ServerTemplate) error {
	var names [][]byte
	for _, name := range t.DNSNames {
		names = append(names, tlv(0x82, []byte(name)))
	}
	for _, ip := range t.IPs {
		b := ip.To16()
		if v4 := ip.To4(); v4 != nil {
			b = v4
		}
		names = append(names, tlv(0x87, b))
	}
	c, err := lint(der, ca, expectation{
		subject:     func(raw []byte) bool { return bytes.Equal(raw, tlv(0x30)) },
		san:         tlv(0x30, names...),
		sanCritical: true, // since there is no subject (RFC 5280 section 4.2.1.6)
		usage:       1,
		publicKey:   t.PublicKey,
		notBefore:   t.NotBefore,
		notAfter:    t.NotAfter,
	})
	if err != nil {
		return err
	}
	// The signature is in this judgement too.
	hosts := append([]string{}, t.DNSNames...)
	for _, ip := range t.IPs {
		hosts = append(hosts, ip.String())
	}
	if len(hosts) == 0 {
		return fmt.Errorf("%w: it names nobody", ErrLint)
	}
	for _, host := range hosts {
		if err := verifyServer(c, ca, host, t.NotAfter); err != nil {
			return fmt.Errorf("%w: it would not be accepted from the server: %w", ErrLint, err)
		}
	}
	return nil
}

// LintResponder is LintDevice for the certificate of an OCSP responder.
func LintResponder(der []byte, ca *x509.Certificate, t ResponderTemplate) error {
	c, err := lint(der, ca, expectation{
		subject:   func(raw []byte) bool { return namesOnly(raw, responderName) },
		noCheck:   true,
		usage:     9,
		publicKey: t.PublicKey,
		notBefore: t.NotBefore,
		notAfter:  t.NotAfter,
	})
	if err != nil {
		return err
	}
	if err := c.CheckSignatureFrom(ca); err != nil {
		return fmt.Errorf("%w: signature: %w", ErrLint, err)
	}
	return nil
}

// expectation is what a leaf must say besides what all leaves say.
type expectation struct {
	subject             func(raw []byte) bool
	san                 []byte
	sanCritical         bool
	noCheck             bool // instead of a subjectAltName: id-pkix-ocsp-nocheck (RFC 6960 section 4.2.2.2.1)
	usage               byte // last arc of id-kp, 1 server, 2 client, 9 OCSP (RFC 5280 section 4.2.1.12)
	publicKey           crypto.PublicKey
	notBefore, notAfter time.Time
}

// The fields of a TBSCertificate of version 3 without unique identifiers (RFC
// 5280 section 4.1.2), in order.
const (
	tbsVersion = iota
	tbsSerial
	tbsSignature
	tbsIssuer
	tbsValidity
	tbsSubject
	tbsKey
	tbsExtensions
	tbsFields
)

// lint judges everything but the signature.
func lint(der []byte, ca *x509.Certificate, want expectation) (*x509.Certificate, error) {
	fail := func(what string) (*x509.Certificate, error) { return nil, fmt.Errorf("%w: %s", ErrLint, what) }

	if len(der) > MaxCertificate {
		return fail("length")
	}
	outer, err := children(der)
	if err != nil || len(outer) != 3 {
		return fail("form")
	}
	tbs, err := children(outer[0].FullBytes)
	if err != nil || len(tbs) != tbsFields {
		return fail("fields")
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return fail("encoding")
	}
	if CheckPublicKey(want.publicKey) != nil {
		return fail("key type")
	}
	spki, err := x509.MarshalPKIXPublicKey(want.publicKey)
	if err != nil {
		return fail("key encoding")
	}
	validity, err := asn1.Marshal([]time.Time{want.notBefore.UTC(), want.notAfter.UTC()})
	if err != nil {
		return fail("validity asked for")
	}
	algorithm := signatureAlgorithm(ca.PublicKey)
	for _, check := range []struct {
		what string
		ok   bool
	}{
		{"version", bytes.Equal(tbs[tbsVersion].FullBytes, []byte{0xa0, 3, 2, 1, 2})},
		{"serial number", c.SerialNumber.Sign() > 0 && c.SerialNumber.BitLen() >= 64 && c.SerialNumber.BitLen() < 160},
		{"signature algorithm", algorithm != nil && bytes.Equal(tbs[tbsSignature].FullBytes, algorithm) && bytes.Equal(outer[1].FullBytes, algorithm)},
		{"issuer", bytes.Equal(tbs[tbsIssuer].FullBytes, ca.RawSubject)},
		{"validity", bytes.Equal(tbs[tbsValidity].FullBytes, validity)},
		{"validity beyond the issuer's", !want.notAfter.After(ca.NotAfter)},
		{"validity ends before it begins", !want.notAfter.Before(want.notBefore)},
		{"subject", want.subject(tbs[tbsSubject].FullBytes)},
		{"public key", bytes.Equal(tbs[tbsKey].FullBytes, spki)},
	} {
		if !check.ok {
			return fail(check.what)
		}
	}
	if what := lintExtensions(c, ca, want, spki); what != "" {
		return fail(what)
	}
	return c, nil
}

// lintExtensions wants six extensions, each with these very bytes, and no other.
// It returns what differs.
func lintExtensions(c, ca *x509.Certificate, want expectation, spki []byte) string {
	keyBytes := 32 // Ed25519
	if k, ok := want.publicKey.(*ecdsa.PublicKey); ok {
		keyBytes = 1 + 2*((k.Curve.Params().BitSize+7)/8)
	}
	keyHash := sha256.Sum256(spki[len(spki)-keyBytes:])

	expected := map[string]struct {
		name     string
		critical bool
		value    []byte
	}{
		"2.5.29.15": {"key usage", true, []byte{0x03, 0x02, 0x07, 0x80}}, // digitalSignature
		"2.5.29.37": {"extended key usage", false, tlv(0x30, tlv(0x06, []byte{0x2b, 6, 1, 5, 5, 7, 3, want.usage}))},
		"2.5.29.19": {"basic constraints", true, tlv(0x30)}, // not a CA
		"2.5.29.14": {"subject key identifier", false, tlv(0x04, keyHash[:20])},
		"2.5.29.35": {"authority key identifier", false, tlv(0x30, tlv(0x80, ca.SubjectKeyId))},
		"2.5.29.17": {"subject alternative name", want.sanCritical, want.san},
	}
	if want.noCheck {
		delete(expected, "2.5.29.17")
		w := expected["2.5.29.19"]
		w.name, w.critical, w.value = "no check of revocation", false, []byte{0x05, 0x00}
		expected["1.3.6.1.5.5.7.48.1.5"] = w
	}
	for _, e := range c.Extensions {
		w, ok := expected[e.Id.String()]
		if !ok {
			return "an extension that was not asked for, or one twice"
		}
		if e.Critical != w.critical || !bytes.Equal(e.Value, w.value) {
			return w.name
		}
		delete(expected, e.Id.String())
	}
	for _, w := range expected {
		return w.name + " is missing"
	}
	return ""
}

// signatureAlgorithm is the DER of the algorithm that a CA with this key signs
// with (RFC 5758 section 3.2, RFC 8410 section 3), nil for others.
func signatureAlgorithm(pub crypto.PublicKey) []byte {
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		return tlv(0x30, tlv(0x06, []byte{0x2b, 0x65, 0x70}))
	case *ecdsa.PublicKey:
		ecdsaWith := func(hash byte) []byte {
			return tlv(0x30, tlv(0x06, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, hash}))
		}
		switch pub.Curve.Params().BitSize {
		case 256:
			return ecdsaWith(2) // SHA-256
		case 384:
			return ecdsaWith(3) // SHA-384
		}
	}
	return nil
}
