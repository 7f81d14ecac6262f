package status

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// LintAnswer compares a finished answer with what was asked for, as whoever asked
// would read it, and returns ErrLint naming the first thing that differs.
func LintAnswer(der []byte, responder, issuer *x509.Certificate, want Answer) error {
	fail := func(what string) error { return fmt.Errorf("%w: the answer's %s", ErrLint, what) }
	// ParseResponse checks the signature by the certificate that comes with it, and
	// that one's signature by the issuer.
	r, err := ocsp.ParseResponse(der, issuer)
	if err != nil {
		return fmt.Errorf("%w: the answer's form or signature: %w", ErrLint, err)
	}
	reason, revokedAt := int(want.Reason), want.RevokedAt
	if want.Standing != Gone {
		reason, revokedAt = 0, time.Time{}
	}
	for _, check := range []struct {
		what string
		ok   bool
	}{
		{"responder", r.Certificate != nil && bytes.Equal(r.Certificate.Raw, responder.Raw) && mayAnswer(r.Certificate, want)},
		{"serial number", r.SerialNumber.Cmp(want.Serial) == 0},
		{"standing", r.Status == int(want.Standing)},
		{"date of revocation", r.RevokedAt.Equal(revokedAt) && !r.RevokedAt.After(want.ThisUpdate)},
		{"reason", r.RevocationReason == reason && want.Reason.known()},
		{"dates", r.ProducedAt.Equal(want.ThisUpdate) && r.ThisUpdate.Equal(want.ThisUpdate) && r.NextUpdate.Equal(want.NextUpdate) && r.NextUpdate.After(r.ThisUpdate)},
		{"algorithm", r.SignatureAlgorithm == x509.ECDSAWithSHA256},
	} {
		if !check.ok {
			return fail(check.what)
		}
	}
	certID, nonce, err := rest(der)
	switch {
	case err != nil || !strict(der):
		return fail("form")
	case !bytes.Equal(certID, want.CertID):
		return fail("certificate identifier")
	case !bytes.Equal(nonce, want.Nonce):
		return fail("nonce")
	}
	return nil
}

// mayAnswer reports whether a certificate is that of a delegated responder (RFC 6960
// section 4.2.2.2), for as long as the answer holds.
func mayAnswer(c *x509.Certificate, a Answer) bool {
	noCheck := false
	for _, e := range c.Extensions {
		noCheck = noCheck || e.Id.String() == "1.3.6.1.5.5.7.48.1.5"
	}
	return noCheck && !c.IsCA && c.KeyUsage == x509.KeyUsageDigitalSignature &&
		len(c.ExtKeyUsage) == 1 && c.ExtKeyUsage[0] == x509.ExtKeyUsageOCSPSigning && len(c.UnknownExtKeyUsage) == 0 &&
		!a.ThisUpdate.Before(c.NotBefore) && !a.NextUpdate.After(c.NotAfter)
}

// strict reads the frame around what is signed octet by octet: encoding/asn1 passes
// over lengths that do not fit.
func strict(der []byte) bool {
	var response, explicit, bytes, body, basic, algorithm, certificates cryptobyte.String
	var code int
	in := cryptobyte.String(der)
	return in.ReadASN1(&response, tag.SEQUENCE) && in.Empty() &&
		response.ReadASN1Enum(&code) && code == 0 && response.ReadASN1(&explicit, contextTag(0)) && response.Empty() &&
		explicit.ReadASN1(&bytes, tag.SEQUENCE) && explicit.Empty() &&
		bytes.SkipASN1(tag.OBJECT_IDENTIFIER) && bytes.ReadASN1(&body, tag.OCTET_STRING) && bytes.Empty() &&
		body.ReadASN1(&basic, tag.SEQUENCE) && body.Empty() &&
		basic.SkipASN1(tag.SEQUENCE) && basic.ReadASN1(&algorithm, tag.SEQUENCE) && basic.SkipASN1(tag.BIT_STRING) &&
		basic.ReadASN1(&certificates, contextTag(0)) && basic.Empty() &&
		algorithm.SkipASN1(tag.OBJECT_IDENTIFIER) && algorithm.Empty() &&
		certificates.ReadASN1(&certificates, tag.SEQUENCE) && certificates.SkipASN1(tag.SEQUENCE) && certificates.Empty()
}

// rest reads what ParseResponse does not tell: the identifier's octets, and the
// nonce, the only extension that there may be.
func rest(der []byte) (certID, nonce []byte, err error) {
	var response struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type asn1.ObjectIdentifier
			Body []byte
		} `asn1:"explicit,tag:0"`
	}
	var basic struct {
		Data struct {
			Responder  asn1.RawValue
			ProducedAt time.Time `asn1:"generalized"`
			Responses  []struct {
				CertID                    asn1.RawValue
				Standing, ThisUpdate, End asn1.RawValue
			}
			Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
		}
		Algorithm    pkix.AlgorithmIdentifier
		Signature    asn1.BitString
		Certificates []asn1.RawValue `asn1:"explicit,tag:0"`
	}
	left, err := asn1.Unmarshal(der, &response)
	if err == nil && len(left) == 0 {
		left, err = asn1.Unmarshal(response.Bytes.Body, &basic)
	}
	if err != nil || len(left) > 0 || len(basic.Data.Responses) != 1 || len(basic.Certificates) != 1 || len(basic.Data.Extensions) > 1 {
		return nil, nil, ErrLint
	}
	for _, e := range basic.Data.Extensions {
		if e.Critical || !e.Id.Equal(oidNonce) {
			return nil, nil, ErrLint
		}
		nonce = e.Value
	}
	return basic.Data.Responses[0].CertID.FullBytes, nonce, nil
}
