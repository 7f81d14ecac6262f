package status

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	encoding "encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// LintList compares a finished CRL with what was asked for, and returns ErrLint
// naming the first thing that differs.
func LintList(der []byte, issuer *x509.Certificate, want List) error {
	fail := func(what string) error { return fmt.Errorf("%w: the list's %s", ErrLint, what) }
	var body, tbs, tbsElement, outerAlgorithm cryptobyte.String
	var signature encoding.BitString
	in := cryptobyte.String(der)
	if !in.ReadASN1(&body, asn1.SEQUENCE) || !in.Empty() ||
		!body.ReadASN1Element(&tbsElement, asn1.SEQUENCE) || !body.ReadASN1Element(&outerAlgorithm, asn1.SEQUENCE) ||
		!body.ReadASN1BitString(&signature) || !body.Empty() {
		return fail("form")
	}
	algorithm, name := signedBy(issuer)
	if algorithm == nil || issuer.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return fail("issuer's key") // RFC 5280 section 4.2.1.3, cRLSign
	}
	if issuer.CheckSignature(name, tbsElement, signature.RightAlign()) != nil {
		return fail("signature")
	}
	var version int
	var innerAlgorithm, issuerName cryptobyte.String
	if !tbsElement.ReadASN1(&tbs, asn1.SEQUENCE) || !tbs.ReadASN1Integer(&version) || version != 1 {
		return fail("version") // v2 is 1, section 5.1.2.1
	}
	if !tbs.ReadASN1Element(&innerAlgorithm, asn1.SEQUENCE) || !bytes.Equal(innerAlgorithm, algorithm) || !bytes.Equal(outerAlgorithm, algorithm) {
		return fail("algorithm")
	}
	if !tbs.ReadASN1Element(&issuerName, asn1.SEQUENCE) || !bytes.Equal(issuerName, issuer.RawSubject) {
		return fail("issuer")
	}
	if !readTime(&tbs, want.ThisUpdate) || !readTime(&tbs, want.NextUpdate) || !want.NextUpdate.After(want.ThisUpdate) {
		return fail("dates")
	}
	if what := lintEntries(&tbs, want); what != "" {
		return fail(what)
	}
	if what := lintListExtensions(&tbs, issuer, want.Number); what != "" {
		return fail(what)
	}
	return nil
}

// lintEntries takes the entries off. Without any the whole field must be absent
// (section 5.1.2.6).
func lintEntries(tbs *cryptobyte.String, want List) string {
	if len(want.Entries) == 0 {
		if tbs.PeekASN1Tag(asn1.SEQUENCE) {
			return "entries, which should be none"
		}
		return ""
	}
	var entries cryptobyte.String
	if !tbs.ReadASN1(&entries, asn1.SEQUENCE) {
		return "entries"
	}
	last := new(big.Int)
	for _, e := range want.Entries {
		var entry cryptobyte.String
		serial := new(big.Int)
		if !entries.ReadASN1(&entry, asn1.SEQUENCE) || !entry.ReadASN1Integer(serial) {
			return "entries"
		}
		// Positive, at most 20 octets (section 4.1.2.2), and each once.
		if serial.Cmp(e.Serial) != 0 || serial.Cmp(last) <= 0 || serial.BitLen() > 159 {
			return "serial numbers"
		}
		last = serial
		if !readTime(&entry, e.At) || e.At.After(want.ThisUpdate) {
			return "dates of revocation"
		}
		if !e.Reason.known() || !readReason(&entry, e.Reason) || !entry.Empty() {
			return "reasons"
		}
	}
	if !entries.Empty() {
		return "entries, of which there are too many"
	}
	return ""
}

var (
	oidReason    = encoding.ObjectIdentifier{2, 5, 29, 21}
	oidCRLNumber = encoding.ObjectIdentifier{2, 5, 29, 20}
	oidAKI       = encoding.ObjectIdentifier{2, 5, 29, 35}
)

// readReason takes an entry's reason off: an extension that is not critical, and
// absent rather than unspecified (section 5.3.1).
func readReason(entry *cryptobyte.String, want Reason) bool {
	if want == Unspecified {
		return entry.Empty()
	}
	var extensions, value cryptobyte.String
	var got int
	return entry.ReadASN1(&extensions, asn1.SEQUENCE) && readExtension(&extensions, oidReason, &value) && extensions.Empty() &&
		value.ReadASN1Enum(&got) && value.Empty() && got == int(want)
}

// lintListExtensions wants the two that every list must have (section 5.2), each
// with these very octets, and no other.
func lintListExtensions(tbs *cryptobyte.String, issuer *x509.Certificate, number int64) string {
	var explicit, extensions, value cryptobyte.String
	if !tbs.ReadASN1(&explicit, asn1.Tag(0).Constructed().ContextSpecific()) || !tbs.Empty() ||
		!explicit.ReadASN1(&extensions, asn1.SEQUENCE) || !explicit.Empty() {
		return "extensions"
	}
	aki := append([]byte{0x30, byte(2 + len(issuer.SubjectKeyId)), 0x80, byte(len(issuer.SubjectKeyId))}, issuer.SubjectKeyId...)
	if len(issuer.SubjectKeyId) == 0 || len(issuer.SubjectKeyId) > 64 || !readExtension(&extensions, oidAKI, &value) || !bytes.Equal(value, aki) {
		return "authority key identifier"
	}
	var got int64
	if number <= 0 || !readExtension(&extensions, oidCRLNumber, &value) || !value.ReadASN1Integer(&got) || !value.Empty() || got != number {
		return "number"
	}
	if !extensions.Empty() {
		return "extensions, of which there are too many"
	}
	return ""
}

// readExtension takes one extension off, which must be this one and not critical.
func readExtension(extensions *cryptobyte.String, want encoding.ObjectIdentifier, value *cryptobyte.String) bool {
	var one cryptobyte.String
	var id encoding.ObjectIdentifier
	return extensions.ReadASN1(&one, asn1.SEQUENCE) && one.ReadASN1ObjectIdentifier(&id) && id.Equal(want) &&
		one.ReadASN1(value, asn1.OCTET_STRING) && one.Empty()
}

// readTime takes a time off, which must be this one: UTCTime until 2049,
// GeneralizedTime from 2050 on (section 5.1.2.4).
func readTime(in *cryptobyte.String, want time.Time) bool {
	var got time.Time
	if want.UTC().Year() < 2050 {
		return in.ReadASN1UTCTime(&got) && got.Equal(want)
	}
	return in.ReadASN1GeneralizedTime(&got) && got.Equal(want)
}

// signedBy is how an authority with this certificate signs: the DER of the
// algorithm (RFC 5758 section 3.2, RFC 8410 section 3) and its name; nil for keys
// that no authority of ours has.
func signedBy(c *x509.Certificate) ([]byte, x509.SignatureAlgorithm) {
	ecdsaWith := func(hash byte) []byte {
		return []byte{0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, hash}
	}
	switch key := c.PublicKey.(type) {
	case ed25519.PublicKey:
		return []byte{0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70}, x509.PureEd25519
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return ecdsaWith(2), x509.ECDSAWithSHA256
		case 384:
			return ecdsaWith(3), x509.ECDSAWithSHA384
		}
	}
	return nil, 0
}
