package certs

import (
	"bytes"
	"crypto"
	"crypto/dsa"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"math/big"
	"regexp"
	"slices"
	"testing"
)

func TestOnlyThreeTypesOfKeyAreTaken(t *testing.T) {
	t.Parallel()
	for name, pub := range map[string]crypto.PublicKey{
		"P-256":   p256Key().Public(),
		"P-384":   must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).Public(),
		"Ed25519": ed25519Key().Public(),
	} {
		if err := CheckPublicKey(pub); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	off := p256Key().PublicKey
	off.X = new(big.Int).Add(off.X, big.NewInt(1))
	for name, pub := range map[string]crypto.PublicKey{
		"nothing":               nil,
		"RSA":                   must(rsa.GenerateKey(rand.Reader, 2048)).Public(),
		"P-224":                 must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).Public(),
		"P-521":                 must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).Public(),
		"X25519":                must(ecdh.X25519().GenerateKey(rand.Reader)).Public(),
		"DSA":                   &dsa.PublicKey{},
		"a point off the curve": &off,
		"ECDSA without a point": &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int), Y: new(big.Int)},
		"a short Ed25519 key":   ed25519.PublicKey(make([]byte, 31)),
		"a private key":         ed25519Key(),
		"text":                  "key",
	} {
		if err := CheckPublicKey(pub); !errors.Is(err, ErrWeakKey) {
			t.Errorf("%s: got %v, want ErrWeakKey", name, err)
		}
	}
}

// The list of small-order points is derived here from the curve: 2y² = 1 - dy⁴
// gives those of order 8, since doubling them gives y = 0, that is x² = -y².
func TestEd25519KeysThatFitManySignaturesAreRefused(t *testing.T) {
	t.Parallel()
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	mod := func(x *big.Int) *big.Int { return x.Mod(x, p) }
	d := mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p)))
	le := func(y *big.Int) []byte {
		b := y.FillBytes(make([]byte, 32))
		slices.Reverse(b)
		return b
	}
	for _, s := range smallOrder {
		b := must(hex.DecodeString(s))
		slices.Reverse(b)
		y := new(big.Int).SetBytes(b)
		y2 := mod(new(big.Int).Mul(y, y))
		left := mod(new(big.Int).Lsh(y2, 1))
		right := mod(new(big.Int).Sub(big.NewInt(1), new(big.Int).Mul(d, mod(new(big.Int).Mul(y2, y2)))))
		order8 := left.Cmp(right) == 0
		order4 := y.Sign() == 0 || y.Cmp(big.NewInt(1)) == 0 || y.Cmp(new(big.Int).Sub(p, big.NewInt(1))) == 0
		if !order8 && !order4 {
			t.Errorf("%s is not of small order", s)
		}
		for _, sign := range []byte{0, 0x80} {
			key := le(y)
			key[31] |= sign
			if CheckPublicKey(ed25519.PublicKey(key)) == nil {
				t.Errorf("%x accepted", key)
			}
		}
	}
	for i := range int64(19) { // p to 2^255-1: the same points in another spelling
		key := le(new(big.Int).Add(p, big.NewInt(i)))
		if CheckPublicKey(ed25519.PublicKey(key)) == nil {
			t.Errorf("%x accepted", key)
		}
	}
	if key := le(new(big.Int).Sub(p, big.NewInt(2))); CheckPublicKey(ed25519.PublicKey(key)) != nil {
		t.Errorf("%x refused, and is canonical", key)
	}
}

func TestAKeyCodeIsShortAndNamesTheKey(t *testing.T) {
	t.Parallel()
	fixed := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)).Public()
	code, sum := must(KeyCode(fixed)), must(SPKIDigest(fixed))
	if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(code) {
		t.Fatal(code)
	}
	// Five bits a character, by hand.
	bits, want := new(big.Int).SetBytes(sum[:10]), ""
	for i := range 16 {
		n := new(big.Int).And(new(big.Int).Rsh(bits, uint(75-5*i)), big.NewInt(31)).Int64()
		want += string("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[n])
		if i%4 == 3 && i < 15 {
			want += "-"
		}
	}
	if code != want {
		t.Fatalf("got %s, want %s", code, want)
	}
	if other := must(KeyCode(ed25519Key().Public())); other == code {
		t.Fatal("two keys, one code")
	}
	if _, err := KeyCode("key"); !errors.Is(err, ErrWeakKey) {
		t.Fatal(err)
	}
}

func TestATrustDomainIsAHostName(t *testing.T) {
	t.Parallel()
	for _, d := range []string{"a", "fleet.example.org", "x-1.y", "sentinel.local"} {
		if err := CheckTrustDomain(d); err != nil {
			t.Errorf("%q: %v", d, err)
		}
	}
	for _, d := range []string{"", ".", "a.", ".a", "a..b", "A", "a_b", "-a", "a-", "a b", "a/b", "a:1", "10.0.0.1", "::1", "*.a", "é", "a\x00",
		string(bytes.Repeat([]byte("a"), 64)), string(bytes.Repeat([]byte("a."), 127)) + "a"} {
		if CheckTrustDomain(d) == nil {
			t.Errorf("%q accepted", d)
		}
	}
}
