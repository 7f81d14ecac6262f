// Package seal derives keys from the server's secret key and uses them: to seal
// what must not stand in the database in plain text, and to authenticate what the
// server hands out and gets back (nonces, receipts).
//
// Every use has its own key, derived by HKDF-SHA256 (RFC 5869) with the use's name.
// A ring holds the secret in force and, during a rotation, the one before: new
// things are made under the first only, old things are still opened under both.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"sync"
)

// MinSecret is the shortest secret taken, in bytes.
const MinSecret = 32

var (
	// ErrUnknownKey says that something was sealed under a secret that is not in
	// the ring.
	ErrUnknownKey = errors.New("sealed under a secret key that is not configured (SENTINEL_SECRET_KEY or SENTINEL_SECRET_KEY_PREVIOUS)")
	// ErrTampered says that sealed bytes, or what they are bound to, were changed.
	ErrTampered = errors.New("sealed bytes do not open: they were changed or moved")
)

// Ring is the secrets in force, the current one first.
type Ring struct{ secrets []secret }

type secret struct {
	id    string
	bytes []byte
	macs  *sync.Map // purpose -> *sync.Pool of keyed MACs: purposes are a handful, a heartbeat takes four
}

// NewRing makes a ring. The first secret is the current one.
func NewRing(secrets ...[]byte) (*Ring, error) {
	r := &Ring{}
	for _, s := range secrets {
		if len(s) == 0 {
			continue
		}
		if len(s) < MinSecret {
			return nil, fmt.Errorf("a secret key must have at least %d bytes", MinSecret)
		}
		id := derive(s, "key id")
		r.secrets = append(r.secrets, secret{hex.EncodeToString(id[:8]), s, &sync.Map{}})
	}
	if len(r.secrets) == 0 {
		return nil, errors.New("no secret key")
	}
	return r, nil
}

// KeyID names the current secret without telling anything of it.
func (r *Ring) KeyID() string { return r.secrets[0].id }

// Seal encrypts plain with AES-256-GCM under the current secret. purpose and id
// are bound to it: it opens for these only.
func (r *Ring) Seal(purpose, id string, plain []byte) (keyID string, sealed []byte, err error) {
	s := r.secrets[0]
	aead, err := newAEAD(s.bytes, purpose)
	if err != nil {
		return "", nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce) // 96 random bits; far fewer than 2^32 seals are ever made under one key
	return s.id, aead.Seal(nonce, nonce, plain, binding(s.id, purpose, id)), nil
}

// Open decrypts what Seal made, with ErrUnknownKey or ErrTampered.
func (r *Ring) Open(keyID, purpose, id string, sealed []byte) ([]byte, error) {
	for _, s := range r.secrets {
		if s.id != keyID {
			continue
		}
		aead, err := newAEAD(s.bytes, purpose)
		if err != nil {
			return nil, err
		}
		if len(sealed) < aead.NonceSize() {
			return nil, ErrTampered
		}
		n := aead.NonceSize()
		plain, err := aead.Open(nil, sealed[:n], sealed[n:], binding(keyID, purpose, id))
		if err != nil {
			return nil, ErrTampered
		}
		return plain, nil
	}
	return nil, ErrUnknownKey
}

// MAC authenticates data for one purpose under the current secret
// (HMAC-SHA256).
func (r *Ring) MAC(purpose string, data []byte) []byte { return r.secrets[0].mac(purpose, data) }

// CheckMAC reports, in constant time, whether tag was made by MAC under a secret
// of the ring.
func (r *Ring) CheckMAC(purpose string, data, tag []byte) bool {
	ok := false
	for _, s := range r.secrets {
		ok = hmac.Equal(s.mac(purpose, data), tag) || ok
	}
	return ok
}

func (s *secret) mac(purpose string, data []byte) []byte {
	known, ok := s.macs.Load(purpose)
	if !ok {
		key := derive(s.bytes, "mac "+purpose)
		known, _ = s.macs.LoadOrStore(purpose, &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }})
	}
	keyed := known.(*sync.Pool)  //nolint:errcheck,forcetypeassert // nothing else is stored there
	h := keyed.Get().(hash.Hash) //nolint:errcheck,forcetypeassert // nor there
	defer keyed.Put(h)
	h.Reset()
	h.Write(data)
	return h.Sum(nil)
}

func newAEAD(s []byte, purpose string) (cipher.AEAD, error) {
	block, err := aes.NewCipher(derive(s, "seal "+purpose))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func binding(keyID, purpose, id string) []byte {
	return fmt.Appendf(nil, "%d:%s%d:%s%d:%s", len(keyID), keyID, len(purpose), purpose, len(id), id)
}

func derive(s []byte, use string) []byte {
	key, err := hkdf.Key(sha256.New, s, nil, "sentinel-secure-x "+use, 32)
	if err != nil {
		panic(err) //nolint:forbidigo // a mistake in this program, found when it starts
	}
	return key
}
