package signing

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// Algorithm is how a key signs the pre-authentication encoding.
type Algorithm string

// The algorithms taken. ECDSA signatures are ASN.1 DER (RFC 3279 section 2.2.3),
// Ed25519 is pure (RFC 8032 section 5.1).
const (
	Ed25519   Algorithm = "ed25519"
	ECDSAP256 Algorithm = "ecdsa-p256-sha256"
	ECDSAP384 Algorithm = "ecdsa-p384-sha384"
)

// Key is the record of a public key. It fixes what the key is for and how it
// signs; an envelope has no say in either.
type Key struct {
	ID        string    `json:"id"` // see NewKey
	Purpose   Purpose   `json:"purpose"`
	Algorithm Algorithm `json:"algorithm"`
	Public    []byte    `json:"public"` // PKIX DER (RFC 5280 section 4.1, SubjectPublicKeyInfo)
}

// NewKey makes the record of pub for one purpose. Its id is the lower-case hex of
// the first 16 bytes of SHA-256 over purpose, 0x00 and the PKIX DER. Keys that
// certs.CheckPublicKey refuses are ErrKey.
func NewKey(p Purpose, pub crypto.PublicKey) (Key, error) {
	if !p.known() {
		return Key{}, fmt.Errorf("%w: it is for no purpose known here", ErrKey)
	}
	if err := certs.CheckPublicKey(pub); err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	k := Key{Purpose: p}
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		k.Algorithm = Ed25519
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			k.Algorithm = ECDSAP256
		case elliptic.P384():
			k.Algorithm = ECDSAP384
		}
	}
	if k.Algorithm == "" {
		return Key{}, fmt.Errorf("%w: no algorithm is known for it", ErrKey)
	}
	var err error
	if k.Public, err = x509.MarshalPKIXPublicKey(pub); err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	sum := sha256.Sum256(append([]byte(string(p)+"\x00"), k.Public...))
	k.ID = hex.EncodeToString(sum[:16])
	return k, nil
}

// Check says whether the record agrees with itself: purpose known, key of a type
// taken in its one encoding, algorithm and id those of the key. Otherwise ErrKey.
func (k Key) Check() error {
	_, err := k.public()
	return err
}

// public parses the key and makes the record anew: whatever differs was not
// written by NewKey.
func (k Key) public() (crypto.PublicKey, error) {
	if len(k.Public) > 256 { // the longest taken, P-384, has 120 bytes
		return nil, fmt.Errorf("%w: too long", ErrKey)
	}
	pub, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: not a public key", ErrKey)
	}
	again, err := NewKey(k.Purpose, pub)
	if err != nil {
		return nil, err
	}
	if again.ID != k.ID || again.Algorithm != k.Algorithm || !bytes.Equal(again.Public, k.Public) {
		return nil, fmt.Errorf("%w: id, purpose, algorithm and key do not belong together", ErrKey)
	}
	return pub, nil
}

// Verify checks one signature over a pre-authentication encoding (PAE). It
// returns ErrKey when the record is not consistent, ErrSignature when the
// signature is not the key's.
func (k Key) Verify(pae, sig []byte) error {
	pub, err := k.public()
	if err != nil {
		return err
	}
	return k.verify(pub, pae, sig)
}

// verify is Verify with the key that public returns.
func (k Key) verify(pub crypto.PublicKey, pae, sig []byte) error {
	var ok bool
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		// Refuses S not below the group order (RFC 8032 section 5.1.7).
		ok = len(sig) == ed25519.SignatureSize && ed25519.Verify(pub, pae, sig)
	case *ecdsa.PublicKey:
		digest, _ := k.Algorithm.digest(pae)
		ok = ecdsa.VerifyASN1(pub, digest, sig) // refuses BER and trailing bytes
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// digest is what crypto.Signer signs, and the hash to name to it. Ed25519 signs
// the message itself.
func (a Algorithm) digest(pae []byte) ([]byte, crypto.Hash) {
	switch a {
	case ECDSAP256:
		sum := sha256.Sum256(pae)
		return sum[:], crypto.SHA256
	case ECDSAP384:
		sum := sha512.Sum384(pae)
		return sum[:], crypto.SHA384
	default:
		return pae, crypto.Hash(0)
	}
}
