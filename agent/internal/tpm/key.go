package tpm

import (
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path/filepath"

	"github.com/google/go-tpm/tpm2"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
)

// Key is a device's key that a TPM holds. It is a crypto.Signer of SHA-256 digests.
type Key struct {
	tpm             *TPM
	public, private []byte // the public area; the private one, encrypted to the TPM
	key             crypto.PublicKey
}

// ErrBadKey means that bytes are not a key that a TPM made for a device.
var ErrBadKey = errors.New("it is not a key of a TPM")

// stored is how a key is written down. Nothing in it is worth anything without the
// TPM.
type stored struct {
	Path            string `asn1:"utf8"`
	Public, Private []byte
}

// NewKey makes a key in the TPM.
func (t *TPM) NewKey() (*Key, error) {
	k := &Key{tpm: t}
	err := t.within(func(s *session) error {
		parent, err := s.storage()
		if err != nil {
			return err
		}
		r, err := tpm2.Create{ParentHandle: using(parent), InPublic: template(evidence.DeviceKeyArea())}.Execute(s.tpm)
		if err != nil {
			return fmt.Errorf("%w to make the device's key: %w", ErrRefused, err)
		}
		k.public, k.private = r.OutPublic.Bytes(), r.OutPrivate.Buffer
		return nil
	})
	if err != nil {
		return nil, err
	}
	return k, k.read()
}

func (k *Key) read() error {
	parsed, err := evidence.ParseDeviceKey(k.public)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	k.key = parsed.Public
	return nil
}

// Bytes are the key as it is written down.
func (k *Key) Bytes() ([]byte, error) {
	return asn1.Marshal(stored{k.tpm.Path, k.public, k.private})
}

// ParseKey reads what Bytes wrote. It does not ask the TPM.
func ParseKey(data []byte) (*Key, error) {
	var s stored
	rest, err := asn1.Unmarshal(data, &s)
	if err != nil || len(rest) != 0 || s.Path != usual && !filepath.IsAbs(s.Path) {
		return nil, ErrBadKey
	}
	k := &Key{tpm: &TPM{Path: s.Path}, public: s.Public, private: s.Private}
	return k, k.read()
}

// On reports whether the key is one of this TPM, as far as its path goes.
func (k *Key) On(t *TPM) bool { return t != nil && k.tpm.Path == t.Path }

// Public is part of crypto.Signer.
func (k *Key) Public() crypto.PublicKey { return k.key }

// Sign is part of crypto.Signer. The TPM signs; its random numbers are its own.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	if opts.HashFunc() != crypto.SHA256 || len(digest) != crypto.SHA256.Size() {
		return nil, fmt.Errorf("%w: its key signs digests of SHA-256", ErrRefused)
	}
	err = k.tpm.within(func(s *session) error {
		own, err := s.load(k)
		if err != nil {
			return err
		}
		r, err := tpm2.Sign{
			KeyHandle: using(own), Digest: tpm2.TPM2BDigest{Buffer: digest}, InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
		}.Execute(s.tpm)
		if err != nil {
			return fmt.Errorf("%w to sign: %w", ErrRefused, err)
		}
		pair, err := r.Signature.Signature.ECDSA()
		if err != nil {
			return fmt.Errorf("%w to sign as it should: %w", ErrRefused, err)
		}
		signature, err = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(pair.SignatureR.Buffer), new(big.Int).SetBytes(pair.SignatureS.Buffer)})
		return err
	})
	return signature, err
}

// load loads the device's key. Another TPM than the one that made it refuses.
func (s *session) load(k *Key) (*key, error) {
	parent, err := s.storage()
	if err != nil {
		return nil, err
	}
	r, err := tpm2.Load{ParentHandle: using(parent), InPrivate: tpm2.TPM2BPrivate{Buffer: k.private}, InPublic: template(k.public)}.Execute(s.tpm)
	if err != nil {
		return nil, fmt.Errorf("%w the device's key: %w", ErrRefused, err)
	}
	if err := s.unload(parent); err != nil {
		return nil, err
	}
	s.loaded = append(s.loaded, r.ObjectHandle)
	return &key{tpm2.NamedHandle{Handle: r.ObjectHandle, Name: r.Name}, k.public}, nil
}
