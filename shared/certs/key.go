package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"fmt"
)

// CheckPublicKey accepts ECDSA on P-256 and P-384, and Ed25519; anything else is
// ErrWeakKey. Ed25519 keys of small order, or in an encoding that is not the
// canonical one, are refused too: under the first, one signature fits many
// messages (RFC 8032 section 5.1.7 leaves both to the verifier).
func CheckPublicKey(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() && pub.Curve != elliptic.P384() {
			return ErrWeakKey
		}
		if _, err := pub.ECDH(); err != nil { // not a point of the curve
			return ErrWeakKey
		}
		return nil
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize || weakEd25519(pub) {
			return ErrWeakKey
		}
		return nil
	default:
		return ErrWeakKey
	}
}

// smallOrder are the y coordinates of the eight points whose order divides 8:
// 0, 1, -1 and the two of order 8, little-endian. The sign of x is masked out.
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
}

func weakEd25519(pub ed25519.PublicKey) bool {
	y := bytes.Clone(pub)
	y[31] &= 0x7f
	// Not canonical: y is 2^255-19 or above, that is 0xed to 0xff, then ones.
	if y[0] >= 0xed && y[31] == 0x7f && bytes.Count(y[1:31], []byte{0xff}) == 30 {
		return true
	}
	for _, s := range smallOrder {
		if hex.EncodeToString(y) == s {
			return true
		}
	}
	return false
}

// SPKIDigest is the SHA-256 of the key's PKIX DER (SubjectPublicKeyInfo).
func SPKIDigest(pub crypto.PublicKey) ([]byte, error) {
	if err := CheckPublicKey(pub); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}

// crockford leaves out I, L, O and U, which people misread.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// KeyCode is a key's digest for a person to compare, such as
// 7QX4-0ZK2-MB9T-E1RW: 80 bits, so that finding another key with the same code is
// out of reach, in 16 characters.
func KeyCode(pub crypto.PublicKey) (string, error) {
	sum, err := SPKIDigest(pub)
	if err != nil {
		return "", err
	}
	s := crockford.EncodeToString(sum[:10])
	return s[0:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:16], nil
}

// Fingerprint is the SHA-256 of a certificate's DER in lower-case hex.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}
