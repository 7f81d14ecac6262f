package status

import (
	"crypto"
	encoding "encoding/asn1"
	"errors"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// MaxQuestion is the longest request taken, in octets. One with an identifier
	// under SHA-512 and the longest nonce has under 400; room is left for a
	// requestor's name.
	MaxQuestion = 2 << 10
	// maxNonce is the longest nonce that is echoed (RFC 9654 section 2.1).
	maxNonce = 128
	// maxSerial is the longest serial number (RFC 5280 section 4.1.2.2).
	maxSerial = 20
)

// ErrQuestion says that a request cannot be answered: malformedRequest.
var ErrQuestion = errors.New("not an OCSP request for one certificate")

// Question is what an OCSP request asks.
type Question struct {
	CertID            []byte // DER, as it was sent: the answer repeats it
	Hash              crypto.Hash
	NameHash, KeyHash []byte // of the issuer
	Serial            *big.Int
	Nonce             []byte // value of the extension; nil without one
}

var hashes = []struct {
	id   encoding.ObjectIdentifier
	hash crypto.Hash
}{
	{encoding.ObjectIdentifier{1, 3, 14, 3, 2, 26}, crypto.SHA1}, // identifies, and protects nothing (RFC 5019 section 2.1.1)
	{encoding.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA256},
	{encoding.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA384},
	{encoding.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, crypto.SHA512},
}

// Hashes are those by which an issuer may be named.
func Hashes() []crypto.Hash {
	return []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}
}

var oidNonce = encoding.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}

// contextTag is [n] EXPLICIT.
func contextTag(n uint8) asn1.Tag { return asn1.Tag(n).Constructed().ContextSpecific() }

// ReadQuestion reads a request (RFC 6960 section 4.1.1) for exactly one certificate
// (RFC 5019 section 2.1.1). A signature of the requestor is passed over, since
// anybody may ask. Everything else that is not understood is ErrQuestion.
func ReadQuestion(der []byte) (*Question, error) {
	if len(der) > MaxQuestion {
		return nil, ErrQuestion
	}
	var request, tbs, ignored, list, one cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&request, asn1.SEQUENCE) || !in.Empty() || !request.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!request.SkipOptionalASN1(contextTag(0)) || !request.Empty() {
		return nil, ErrQuestion
	}
	if tbs.PeekASN1Tag(contextTag(0)) { // v1 is the default, which DER leaves out; some send it
		var explicit cryptobyte.String
		var version int
		if !tbs.ReadASN1(&explicit, contextTag(0)) || !explicit.ReadASN1Integer(&version) || !explicit.Empty() || version != 0 {
			return nil, ErrQuestion
		}
	}
	if !tbs.SkipOptionalASN1(contextTag(1)) || !tbs.ReadASN1(&list, asn1.SEQUENCE) ||
		!list.ReadASN1(&one, asn1.SEQUENCE) || !list.Empty() {
		return nil, ErrQuestion
	}
	q := new(Question)
	if !q.readCertID(&one) {
		return nil, ErrQuestion
	}
	// Extensions of the single request: none is understood, so none may be critical.
	if one.PeekASN1Tag(contextTag(0)) && (!one.ReadASN1(&ignored, contextTag(0)) || !q.readExtensions(ignored, false)) || !one.Empty() {
		return nil, ErrQuestion
	}
	if tbs.PeekASN1Tag(contextTag(2)) && (!tbs.ReadASN1(&ignored, contextTag(2)) || !q.readExtensions(ignored, true)) || !tbs.Empty() {
		return nil, ErrQuestion
	}
	return q, nil
}

func (q *Question) readCertID(one *cryptobyte.String) bool {
	var element, id, algorithm, null cryptobyte.String
	var oid encoding.ObjectIdentifier
	if !one.ReadASN1Element(&element, asn1.SEQUENCE) {
		return false
	}
	q.CertID = element
	if !element.ReadASN1(&id, asn1.SEQUENCE) || !id.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return false
	}
	if !algorithm.Empty() && (!algorithm.ReadASN1(&null, asn1.NULL) || !null.Empty() || !algorithm.Empty()) {
		return false
	}
	for _, h := range hashes {
		if h.id.Equal(oid) {
			q.Hash = h.hash
		}
	}
	var name, key cryptobyte.String
	q.Serial = new(big.Int)
	if q.Hash == 0 || !id.ReadASN1(&name, asn1.OCTET_STRING) || !id.ReadASN1(&key, asn1.OCTET_STRING) || !id.ReadASN1Integer(q.Serial) || !id.Empty() {
		return false
	}
	q.NameHash, q.KeyHash = name, key
	return len(name) == q.Hash.Size() && len(key) == q.Hash.Size() && q.Serial.Sign() > 0 && q.Serial.BitLen() < 8*maxSerial
}

// readExtensions reads extensions to their end. Of those of the whole request the
// nonce is understood, once; others may be there if they are not critical.
func (q *Question) readExtensions(explicit cryptobyte.String, whole bool) bool {
	var extensions cryptobyte.String
	if !explicit.ReadASN1(&extensions, asn1.SEQUENCE) || !explicit.Empty() || extensions.Empty() {
		return false
	}
	for !extensions.Empty() {
		var one, value cryptobyte.String
		var id encoding.ObjectIdentifier
		critical := false
		if !extensions.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) {
			return false
		}
		if one.PeekASN1Tag(asn1.BOOLEAN) && !one.ReadASN1Boolean(&critical) {
			return false
		}
		if !one.ReadASN1(&value, asn1.OCTET_STRING) || !one.Empty() {
			return false
		}
		switch {
		case whole && id.Equal(oidNonce):
			if q.Nonce != nil || !isNonce(value) {
				return false
			}
			q.Nonce = value
		case critical:
			return false
		}
	}
	return true
}

// isNonce wants an OCTET STRING of 1 to maxNonce octets: whoever may choose what is
// signed chooses little.
func isNonce(value cryptobyte.String) bool {
	var nonce cryptobyte.String
	return value.ReadASN1(&nonce, asn1.OCTET_STRING) && value.Empty() && len(nonce) >= 1 && len(nonce) <= maxNonce
}
