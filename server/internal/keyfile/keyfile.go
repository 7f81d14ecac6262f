// Package keyfile keeps private keys in files: PKCS#8 in PEM (RFC 5958, RFC 7468),
// readable by their owner only.
package keyfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// ErrExists says that a key stands there already; a key is never overwritten.
var ErrExists = errors.New("a key file stands there already")

const maxSize = 16 << 10

// NewEd25519 makes a key and writes it to path, which must not exist.
func NewEd25519(path string) (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return key, save(path, key)
}

// NewP256 makes an ECDSA P-256 key and writes it to path, which must not exist.
func NewP256(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return key, save(path, key)
}

// Load reads a key. A file that others may read is refused.
func Load(path string) (crypto.Signer, error) {
	data, err := files.ReadPrivate(path, maxSize)
	if err != nil {
		return nil, err
	}
	return parse(path, data)
}

// LoadOf reads a key that stands anywhere: nobody but root, this process's user and
// owners may have put it there (see files.ReadPrivateOf).
func LoadOf(path string, owners ...int) (crypto.Signer, error) {
	data, err := files.ReadPrivateOf(path, maxSize, owners...)
	if err != nil {
		return nil, err
	}
	return parse(path, data)
}

func parse(path string, data []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) != 0 {
		return nil, fmt.Errorf("%s: not one private key in PEM (PKCS#8)", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: not a private key that can be read", path)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: not a signing key", path)
	}
	return signer, nil
}

func save(path string, key crypto.Signer) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return files.Replace(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
