package revocation

import (
	"bytes"
	"crypto"
	"crypto/x509"
	encoding "encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
)

const (
	// MaxAnswer is the longest answer that is taken, in octets.
	MaxAnswer = 64 << 10
	// nonceLength is that of our nonces (RFC 9654 section 2.1).
	nonceLength = 32
	// lastsWithout is how long an answer holds that does not say it (RFC 6960 section
	// 4.2.2.1: newer information is available all the time).
	lastsWithout = 10 * time.Minute
)

// ErrAnswer says that an answer cannot be relied on.
var ErrAnswer = errors.New("the answer cannot be relied on")

var (
	oidBasic   = encoding.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidNonce   = encoding.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidNoCheck = encoding.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidSHA1    = encoding.ObjectIdentifier{1, 3, 14, 3, 2, 26}
)

// algorithms are those by which answers may be signed.
var algorithms = []struct {
	oid       encoding.ObjectIdentifier
	algorithm x509.SignatureAlgorithm
}{
	{encoding.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, x509.ECDSAWithSHA256},
	{encoding.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, x509.ECDSAWithSHA384},
	{encoding.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, x509.ECDSAWithSHA512},
	{encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, x509.SHA256WithRSA},
	{encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, x509.SHA384WithRSA},
	{encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, x509.SHA512WithRSA},
	{encoding.ObjectIdentifier{1, 3, 101, 112}, x509.PureEd25519},
}

// Question asks about one certificate.
type Question struct {
	Leaf, Issuer *x509.Certificate
	Nonce        []byte // nonceLength of chance; nil asks for none

	nameHash, keyHash []byte
}

// NewQuestion makes a question. The issuer is named by SHA-1, as every responder
// understands it (RFC 5019 section 2.1.1): it names, and protects nothing.
func NewQuestion(leaf, issuer *x509.Certificate, nonce []byte) (*Question, error) {
	q := &Question{Leaf: leaf, Issuer: issuer, Nonce: nonce}
	var err error
	q.nameHash, q.keyHash, err = status.Names(crypto.SHA1, issuer)
	return q, err
}

// DER is the request (RFC 6960 section 4.1.1).
func (q *Question) DER() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // CertID
						b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
							b.AddASN1ObjectIdentifier(oidSHA1)
							b.AddASN1NULL()
						})
						b.AddASN1OctetString(q.nameHash)
						b.AddASN1OctetString(q.keyHash)
						b.AddASN1BigInt(q.Leaf.SerialNumber)
					})
				})
			})
			if q.Nonce == nil {
				return
			}
			b.AddASN1(contextTag(2), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(oidNonce)
						b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(q.Nonce) })
					})
				})
			})
		})
	})
	return b.Bytes()
}

// Answer is what a responder says of the certificate, verified.
type Answer struct {
	Standing               status.Standing
	Reason                 int
	ThisUpdate, NextUpdate time.Time
	// Responder is the certificate of who signed it, nil when the issuer itself did. One
	// that does not say so itself must be known not to be revoked.
	Responder *x509.Certificate
	NoCheck   bool // the issuer said that the responder need not be checked
}

// response is what stands in an answer.
type response struct {
	tbs       []byte // as it is signed
	algorithm x509.SignatureAlgorithm
	signature []byte
	certs     []*x509.Certificate

	byName, byKey []byte // the responder
	nonce         []byte
	hasNonce      bool
	singles       []single
}

type single struct {
	sha1              bool
	nameHash, keyHash []byte
	serial            *big.Int
	standing          status.Standing
	reason            int
	thisUpdate        time.Time
	nextUpdate        time.Time // zero: it does not say
}

// ReadAnswer verifies an answer to a question. With needNonce, one without the
// question's nonce is refused; one with another nonce is refused always.
func ReadAnswer(der []byte, q *Question, needNonce bool, now time.Time) (*Answer, error) {
	fail := func(what string) error { return fmt.Errorf("%w: %s", ErrAnswer, what) }
	if len(der) > MaxAnswer {
		return nil, fail("it is too long")
	}
	r, err := readResponse(der)
	if err != nil {
		return nil, err
	}
	var about *single
	for i := range r.singles {
		if s := &r.singles[i]; s.sha1 && bytes.Equal(s.nameHash, q.nameHash) && bytes.Equal(s.keyHash, q.keyHash) && s.serial.Cmp(q.Leaf.SerialNumber) == 0 {
			if about != nil {
				return nil, fail("it says two things of the certificate")
			}
			about = s
		}
	}
	if about == nil {
		return nil, fail("it is about another certificate")
	}
	switch {
	case r.hasNonce && !bytes.Equal(r.nonce, q.Nonce):
		return nil, fail("it is the answer to another question")
	case !r.hasNonce && needNonce:
		return nil, fail("it may be one of before: it repeats no nonce")
	}
	a := &Answer{Standing: about.standing, Reason: about.reason, ThisUpdate: about.thisUpdate, NextUpdate: about.nextUpdate}
	if a.NextUpdate.IsZero() {
		a.NextUpdate = a.ThisUpdate.Add(lastsWithout)
	}
	switch {
	case a.ThisUpdate.After(now.Add(skew)):
		return nil, fail("it begins in the future")
	case !now.Before(a.NextUpdate):
		return nil, fail("it does not hold any more")
	}
	if a.Responder, err = r.signer(q.Issuer, now); err != nil {
		return nil, err
	}
	if a.Responder != nil {
		a.NoCheck = noCheck(a.Responder)
	}
	return a, nil
}

// signer verifies the signature: of the issuer (nil), or of a responder that it
// certified for this (RFC 6960 section 4.2.2.2).
func (r *response) signer(issuer *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	if r.is(issuer) {
		if now.After(issuer.NotAfter) || now.Before(issuer.NotBefore) || issuer.CheckSignature(r.algorithm, r.tbs, r.signature) != nil {
			return nil, fmt.Errorf("%w: the issuer did not sign it", ErrAnswer)
		}
		return nil, nil
	}
	for _, c := range r.certs {
		if r.is(c) && mayAnswer(c, issuer, now) && c.CheckSignature(r.algorithm, r.tbs, r.signature) == nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: nobody whom the issuer certified for it signed it", ErrAnswer)
}

// is reports whether a certificate is the responder that the answer names.
func (r *response) is(c *x509.Certificate) bool {
	if r.byName != nil {
		return bytes.Equal(r.byName, c.RawSubject)
	}
	_, key, err := status.Names(crypto.SHA1, c)
	return err == nil && bytes.Equal(key, r.byKey)
}

// mayAnswer reports whether the issuer certified a responder directly for signing
// answers.
func mayAnswer(c, issuer *x509.Certificate, now time.Time) bool {
	signing := false
	for _, u := range c.ExtKeyUsage {
		signing = signing || u == x509.ExtKeyUsageOCSPSigning // anyExtendedKeyUsage is not it
	}
	return signing && !c.IsCA && bytes.Equal(c.RawIssuer, issuer.RawSubject) && c.CheckSignatureFrom(issuer) == nil &&
		!now.After(c.NotAfter) && !now.Before(c.NotBefore) && len(c.UnhandledCriticalExtensions) == 0 &&
		(c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageDigitalSignature != 0)
}

func noCheck(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidNoCheck) {
			return true
		}
	}
	return false
}

var errForm = fmt.Errorf("%w: it cannot be read", ErrAnswer)

// readResponse takes an OCSPResponse apart (RFC 6960 section 4.2.1).
func readResponse(der []byte) (*response, error) {
	var outer, explicit, inner, kind, body cryptobyte.String
	var result int
	in := cryptobyte.String(der)
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1Enum(&result) {
		return nil, errForm
	}
	if result != 0 {
		return nil, fmt.Errorf("%w: the responder does not answer (status %d)", ErrAnswer, result)
	}
	var oid encoding.ObjectIdentifier
	if !outer.ReadASN1(&explicit, contextTag(0)) || !outer.Empty() || !explicit.ReadASN1(&inner, asn1.SEQUENCE) || !explicit.Empty() ||
		!inner.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidBasic) || !inner.ReadASN1(&kind, asn1.OCTET_STRING) || !inner.Empty() ||
		!kind.ReadASN1(&body, asn1.SEQUENCE) || !kind.Empty() {
		return nil, errForm
	}
	r := new(response)
	var tbs, algorithm cryptobyte.String
	var signature encoding.BitString
	if !body.ReadASN1Element(&tbs, asn1.SEQUENCE) || !body.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) ||
		!body.ReadASN1BitString(&signature) || signature.BitLength%8 != 0 {
		return nil, errForm
	}
	for _, a := range algorithms {
		if a.oid.Equal(oid) {
			r.algorithm = a.algorithm
		}
	}
	if r.algorithm == x509.UnknownSignatureAlgorithm {
		return nil, fmt.Errorf("%w: it is signed by an algorithm that is not taken", ErrAnswer)
	}
	r.tbs, r.signature = tbs, signature.Bytes
	if !r.readCerts(&body) || !r.readData(tbs) {
		return nil, errForm
	}
	return r, nil
}

// maxCerts is how many certificates an answer may bring.
const maxCerts = 4

func (r *response) readCerts(body *cryptobyte.String) bool {
	if body.Empty() {
		return true
	}
	var explicit, list, one cryptobyte.String
	if !body.ReadASN1(&explicit, contextTag(0)) || !body.Empty() || !explicit.ReadASN1(&list, asn1.SEQUENCE) || !explicit.Empty() {
		return false
	}
	for !list.Empty() {
		if len(r.certs) == maxCerts || !list.ReadASN1Element(&one, asn1.SEQUENCE) {
			return false
		}
		c, err := x509.ParseCertificate(one)
		if err != nil {
			return false
		}
		r.certs = append(r.certs, c)
	}
	return true
}

// maxSingles is how many certificates an answer may be about.
const maxSingles = 16

func (r *response) readData(tbs cryptobyte.String) bool {
	var data, explicit, list cryptobyte.String
	if !tbs.ReadASN1(&data, asn1.SEQUENCE) || !tbs.Empty() {
		return false
	}
	if data.PeekASN1Tag(contextTag(0)) { // v1 is the default, which DER leaves out; some send it
		var version int
		if !data.ReadASN1(&explicit, contextTag(0)) || !explicit.ReadASN1Integer(&version) || !explicit.Empty() || version != 0 {
			return false
		}
	}
	var producedAt time.Time
	if !r.readResponder(&data) || !data.ReadASN1GeneralizedTime(&producedAt) || !data.ReadASN1(&list, asn1.SEQUENCE) {
		return false
	}
	for !list.Empty() {
		var s single
		if len(r.singles) == maxSingles || !s.read(&list) {
			return false
		}
		r.singles = append(r.singles, s)
	}
	if data.Empty() {
		return true
	}
	return data.ReadASN1(&explicit, contextTag(1)) && data.Empty() && eachExtension(explicit, func(id encoding.ObjectIdentifier, critical bool, value cryptobyte.String) bool {
		if !id.Equal(oidNonce) {
			return !critical
		}
		var nonce cryptobyte.String
		if r.hasNonce || !value.ReadASN1(&nonce, asn1.OCTET_STRING) || !value.Empty() {
			return false
		}
		r.hasNonce, r.nonce = true, nonce
		return true
	})
}

func (r *response) readResponder(data *cryptobyte.String) bool {
	var explicit, value cryptobyte.String
	switch {
	case data.PeekASN1Tag(contextTag(1)):
		if !data.ReadASN1(&explicit, contextTag(1)) || !explicit.ReadASN1Element(&value, asn1.SEQUENCE) || !explicit.Empty() {
			return false
		}
		r.byName = value
	case data.PeekASN1Tag(contextTag(2)):
		if !data.ReadASN1(&explicit, contextTag(2)) || !explicit.ReadASN1(&value, asn1.OCTET_STRING) || !explicit.Empty() || len(value) == 0 {
			return false
		}
		r.byKey = value
	default:
		return false
	}
	return true
}

func (s *single) read(list *cryptobyte.String) bool {
	var one, id, algorithm, name, key, value cryptobyte.String
	var oid encoding.ObjectIdentifier
	s.serial = new(big.Int)
	if !list.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1(&id, asn1.SEQUENCE) || !id.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&oid) || !id.ReadASN1(&name, asn1.OCTET_STRING) || !id.ReadASN1(&key, asn1.OCTET_STRING) ||
		!id.ReadASN1Integer(s.serial) || !id.Empty() {
		return false
	}
	s.sha1, s.nameHash, s.keyHash = oid.Equal(oidSHA1), name, key
	if !s.readStanding(&one) || !one.ReadASN1GeneralizedTime(&s.thisUpdate) {
		return false
	}
	if one.PeekASN1Tag(contextTag(0)) && (!one.ReadASN1(&value, contextTag(0)) || !value.ReadASN1GeneralizedTime(&s.nextUpdate) || !value.Empty()) {
		return false
	}
	if one.PeekASN1Tag(contextTag(1)) && (!one.ReadASN1(&value, contextTag(1)) ||
		!eachExtension(value, func(_ encoding.ObjectIdentifier, critical bool, _ cryptobyte.String) bool { return !critical })) {
		return false
	}
	return one.Empty()
}

func (s *single) readStanding(one *cryptobyte.String) bool {
	var value cryptobyte.String
	var tag asn1.Tag
	if !one.ReadAnyASN1(&value, &tag) {
		return false
	}
	switch tag {
	case asn1.Tag(0).ContextSpecific():
		s.standing = status.Good
		return value.Empty()
	case contextTag(1):
		s.standing = status.Gone
		var at time.Time
		var reason cryptobyte.String
		if !value.ReadASN1GeneralizedTime(&at) {
			return false
		}
		if value.PeekASN1Tag(contextTag(0)) && (!value.ReadASN1(&reason, contextTag(0)) || !reason.ReadASN1Enum(&s.reason) || !reason.Empty()) {
			return false
		}
		return value.Empty()
	case asn1.Tag(2).ContextSpecific():
		s.standing = status.Unknown
		return value.Empty()
	}
	return false
}

// eachExtension reads extensions to their end.
func eachExtension(explicit cryptobyte.String, f func(id encoding.ObjectIdentifier, critical bool, value cryptobyte.String) bool) bool {
	var list cryptobyte.String
	if !explicit.ReadASN1(&list, asn1.SEQUENCE) || !explicit.Empty() {
		return false
	}
	for !list.Empty() {
		var one, value cryptobyte.String
		var id encoding.ObjectIdentifier
		critical := false
		if !list.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) ||
			one.PeekASN1Tag(asn1.BOOLEAN) && !one.ReadASN1Boolean(&critical) ||
			!one.ReadASN1(&value, asn1.OCTET_STRING) || !one.Empty() || !f(id, critical, value) {
			return false
		}
	}
	return true
}
