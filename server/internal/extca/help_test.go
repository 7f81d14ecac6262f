package extca_test

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
)

// rsaKey makes a key of any size fast: of large ones only the public half is needed, and
// whether its number is a product of primes nobody asks.
func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	low, err := rand.Int(rand.Reader, n)
	if err != nil {
		t.Fatal(err)
	}
	n.Add(n, low).SetBit(n, 0, 1)
	return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}}
}
