package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

const (
	keyFile = "device.key"
	keyType = "PRIVATE KEY" // PKCS#8 (RFC 7468 section 10)
	maxKey  = 8 << 10
)

var (
	// ErrNoKey means that there is no key. Nothing can go on with this enrollment.
	ErrNoKey = errors.New("the device's key is missing")
	// ErrKeyExists means that there is a key already.
	ErrKeyExists = errors.New("there is a device key already")
	// ErrBadKey means that the file is not a key that this device made.
	ErrBadKey = errors.New("the device's key cannot be used")
	// ErrExposed means that others may read the key. It counts as copied.
	ErrExposed = errors.New("others may read the device's key")
)

// CreateKey makes the device's key and stores it durably. ErrKeyExists if there
// is one.
func CreateKey(dir string) (crypto.Signer, error) {
	path := filepath.Join(dir, keyFile)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrKeyExists, path)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the device's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the device's key: %w", err)
	}
	defer clear(der)
	sealed, err := seal(pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: der}))
	if err != nil {
		return nil, fmt.Errorf("seal the device's key: %w", err)
	}
	if err := files.Replace(path, sealed, 0o600); err != nil {
		return nil, fmt.Errorf("store the device's key: %w", err)
	}
	return key, nil
}

// LoadKey reads the key. ErrNoKey, ErrExposed and ErrBadKey say why not.
func LoadKey(dir string) (crypto.Signer, error) {
	path := filepath.Join(dir, keyFile)
	data, err := files.ReadPrivate(path, maxKey)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no %s", ErrNoKey, path)
	case errors.Is(err, files.ErrExposed):
		return nil, fmt.Errorf("%w: %w", ErrExposed, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBadKey, path, err)
	}
	return key, nil
}

func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	plain, err := unseal(data)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	block, rest := pem.Decode(plain)
	if block == nil || block.Type != keyType || len(block.Headers) != 0 || len(rest) != 0 {
		return nil, errors.New("it is not one private key in PEM")
	}
	defer clear(block.Bytes)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is not a PKCS#8 key") // never the reader's text
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("it is not an ECDSA key on P-256")
	}
	return key, nil
}

// Remove deletes the key, then the certificate.
func Remove(dir string) error {
	for _, name := range []string{keyFile, chainFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the device's identity: %w", err)
		}
	}
	return nil
}
