package evidence

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"math/big"
)

// MaxSignature is above any signature that is taken: 72 bytes.
const MaxSignature = 128

// Verify makes sure that a TPMT_SIGNATURE (TPM 2.0 Part 2, section 11.3.4) is the
// key's over the attested bytes: ECDSA with SHA-256, which the key itself fixes.
func (k *Key) Verify(attested, signature []byte) error {
	r := reader{rest: signature}
	scheme, hash := r.u16(), r.u16()
	a, b := r.sized(), r.sized()
	if scheme != algECDSA || hash != algSHA256 || !r.done() || len(a) > coordinate || len(b) > coordinate {
		return ErrSignature
	}
	sum := sha256.Sum256(attested)
	if !ecdsa.Verify(k.Public, sum[:], new(big.Int).SetBytes(a), new(big.Int).SetBytes(b)) {
		return ErrSignature
	}
	return nil
}
