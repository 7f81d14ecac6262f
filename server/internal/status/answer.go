package status

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// Standing is what an answer says of a certificate.
type Standing int

// The standings, with the numbers of their tags (RFC 6960 section 4.2.1).
const (
	Good    Standing = 0
	Gone    Standing = 1 // revoked
	Unknown Standing = 2
)

// Answers without a signature (RFC 6960 section 4.2.1): whoever gets one has
// learned nothing of a certificate.
var (
	Malformed    = []byte{0x30, 0x03, 0x0a, 0x01, 0x01}
	Internal     = []byte{0x30, 0x03, 0x0a, 0x01, 0x02}
	TryLater     = []byte{0x30, 0x03, 0x0a, 0x01, 0x03}
	Unauthorized = []byte{0x30, 0x03, 0x0a, 0x01, 0x06} // RFC 5019 section 2.2.3: not ours to answer
)

// Answer is all that a signed answer says.
type Answer struct {
	CertID                 []byte // as the question has it
	Serial                 *big.Int
	Standing               Standing
	RevokedAt              time.Time // of one that is Gone
	Reason                 Reason
	ThisUpdate, NextUpdate time.Time // in whole seconds; it is produced at ThisUpdate
	Nonce                  []byte    // of the question; nil for none
}

var (
	oidBasic           = encoding.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidECDSAWithSHA256 = encoding.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// SignAnswer writes and signs an answer by a responder (ECDSA on P-256) whose
// certificate the issuer signed. It has passed LintAnswer.
func SignAnswer(responder certs.CA, issuer *x509.Certificate, a Answer) ([]byte, error) {
	keyHash, err := hashOfKey(crypto.SHA1, responder.Certificate) // RFC 6960 section 4.2.1 names it by SHA-1; nothing rests on it
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // ResponseData of version 1, which DER leaves out
		b.AddASN1(contextTag(2), func(b *cryptobyte.Builder) { b.AddASN1OctetString(keyHash) }) // byKey
		b.AddASN1GeneralizedTime(a.ThisUpdate.UTC())
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1(asn1.SEQUENCE, a.single) })
		if a.Nonce != nil {
			b.AddASN1(contextTag(1), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(oidNonce)
						b.AddASN1OctetString(a.Nonce)
					})
				})
			})
		}
	})
	data, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("write the answer: %w", err)
	}
	digest := sha256.Sum256(data)
	signature, err := responder.Signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign the answer: %w", err)
	}
	der, err := wrap(data, signature, responder.Certificate.Raw)
	if err != nil {
		return nil, err
	}
	return der, LintAnswer(der, responder.Certificate, issuer, a)
}

// single writes the inside of a SingleResponse.
func (a *Answer) single(b *cryptobyte.Builder) {
	b.AddBytes(a.CertID)
	switch a.Standing {
	case Gone:
		b.AddASN1(contextTag(1), func(b *cryptobyte.Builder) {
			b.AddASN1GeneralizedTime(a.RevokedAt.UTC())
			if a.Reason != Unspecified {
				b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(a.Reason)) })
			}
		})
	case Good:
		b.AddASN1(asn1.Tag(0).ContextSpecific(), func(*cryptobyte.Builder) {})
	default:
		b.AddASN1(asn1.Tag(2).ContextSpecific(), func(*cryptobyte.Builder) {})
	}
	b.AddASN1GeneralizedTime(a.ThisUpdate.UTC())
	b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(a.NextUpdate.UTC()) })
}

// wrap is the OCSPResponse around signed data.
func wrap(data, signature, certificate []byte) ([]byte, error) {
	var basic cryptobyte.Builder
	basic.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(data)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidECDSAWithSHA256) })
		b.AddASN1BitString(signature)
		b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(certificate) })
		})
	})
	inner, err := basic.Bytes()
	if err != nil {
		return nil, fmt.Errorf("write the answer: %w", err)
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0) // successful
		b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidBasic)
				b.AddASN1OctetString(inner)
			})
		})
	})
	return b.Bytes()
}

// Names are an issuer's name and key under a hash, as questions name it (RFC 6960
// section 4.1.1: the key's octets without tag, length and unused bits).
func Names(hash crypto.Hash, issuer *x509.Certificate) (name, key []byte, err error) {
	h := hash.New()
	h.Write(issuer.RawSubject)
	name = h.Sum(nil)
	key, err = hashOfKey(hash, issuer)
	return name, key, err
}

func hashOfKey(hash crypto.Hash, c *x509.Certificate) ([]byte, error) {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       encoding.BitString
	}
	if _, err := encoding.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, fmt.Errorf("read a public key: %w", err)
	}
	h := hash.New()
	h.Write(spki.Key.RightAlign())
	return h.Sum(nil), nil
}
