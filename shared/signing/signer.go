package signing

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
)

// Signer makes signatures with one key for one purpose. The key may be in
// memory, in a device or behind a command: callers verify what it returns, and
// Seal does.
type Signer interface {
	Key() Key
	Sign(ctx context.Context, pae []byte) ([]byte, error)
}

type memorySigner struct {
	key    Key
	signer crypto.Signer
}

// NewSigner signs for the purpose with a key that this process can use.
func NewSigner(p Purpose, s crypto.Signer) (Signer, error) {
	key, err := NewKey(p, s.Public())
	if err != nil {
		return nil, err
	}
	return &memorySigner{key: key, signer: s}, nil
}

// GenerateEd25519 makes a key for the purpose and a signer of it. The private key
// is the caller's to keep.
func GenerateEd25519(p Purpose) (Signer, ed25519.PrivateKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make an Ed25519 key: %w", err)
	}
	s, err := NewSigner(p, private)
	return s, private, err
}

func (s *memorySigner) Key() Key { return s.key }

func (s *memorySigner) Sign(ctx context.Context, pae []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	digest, hash := s.key.Algorithm.digest(pae)
	sig, err := s.signer.Sign(rand.Reader, digest, hash)
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", s.key.ID, err)
	}
	return sig, nil
}

// Seal puts the payload into an envelope signed by every signer, all of which
// must be of the purpose and distinct. What comes back verifies and is within
// the limits of ParseEnvelope.
func Seal(ctx context.Context, p Purpose, payload []byte, signers ...Signer) (*Envelope, error) {
	e := &Envelope{PayloadType: p.PayloadType(), Payload: slices.Clone(payload)}
	pae := PAE(e.PayloadType, e.Payload)
	keys := make([]Key, 0, len(signers))
	for _, s := range signers {
		key := s.Key()
		if key.Purpose != p {
			return nil, fmt.Errorf("%w: key %s is not for %s", ErrPurpose, key.ID, p)
		}
		sig, err := s.Sign(ctx, pae)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
		e.Signatures = append(e.Signatures, Signature{KeyID: key.ID, Sig: sig})
	}
	if _, _, err := e.Verify(p, keys, len(signers)); err != nil {
		return nil, fmt.Errorf("seal %s: %w", p, err)
	}
	if _, err := e.Marshal(); err != nil {
		return nil, err
	}
	return e, nil
}
