package identity

import (
	"bytes"
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
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/tpm"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

const (
	keyFile = "device.key"  // of journal.SlotA
	keyType = "PRIVATE KEY" // PKCS#8 (RFC 7468 section 10)
	tpmType = "SENTINEL TPM KEY"
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

// CreateKey makes the key of an enrollment and stores it durably. ErrKeyExists if
// there is one.
func CreateKey(dir string) (crypto.Signer, error) { return CreateKeyIn(dir, journal.SlotA) }

// CreateKeyIn makes a key in a slot, as CreateKey does.
func CreateKeyIn(dir string, slot journal.Slot) (crypto.Signer, error) {
	path := filepath.Join(dir, in(slot, keyFile))
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrKeyExists, path)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the device's key: %w", err)
	}
	return key, storeKey(path, key)
}

// storeKey stores a key, sealed where the system can.
func storeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("make the device's key: %w", err)
	}
	defer clear(der)
	return store(path, keyType, der)
}

func store(path, kind string, key []byte) error {
	sealed, err := seal(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: key}))
	if err != nil {
		return fmt.Errorf("seal the device's key: %w", err)
	}
	if err := files.Replace(path, sealed, 0o600); err != nil {
		return fmt.Errorf("store the device's key: %w", err)
	}
	return nil
}

// Place is where new keys are made: in a file, which is the zero Place, or in a TPM.
type Place struct {
	InTPM bool
	TPM   *tpm.TPM // nil: there is none
}

// Create makes a key in a slot, as CreateKeyIn does. A key that the TPM made is in a
// file too, which is worth nothing without the TPM. tpm.ErrNone if it is to be there and
// there is none: a key elsewhere would not be what was asked for.
func (p Place) Create(dir string, slot journal.Slot) (crypto.Signer, error) {
	if !p.InTPM {
		return CreateKeyIn(dir, slot)
	}
	if p.TPM == nil {
		return nil, fmt.Errorf("make the device's key: %w", tpm.ErrNone)
	}
	path := filepath.Join(dir, in(slot, keyFile))
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrKeyExists, path)
	}
	key, err := p.TPM.NewKey()
	if err != nil {
		return nil, fmt.Errorf("make the device's key: %w", err)
	}
	data, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("make the device's key: %w", err)
	}
	if err := store(path, tpmType, data); err != nil {
		return nil, err
	}
	return key, nil
}

// LoadKey reads the key in use. ErrNoKey, ErrExposed and ErrBadKey say why not.
func LoadKey(dir string) (crypto.Signer, error) {
	slot, err := inUse(dir)
	if err != nil {
		return nil, err
	}
	return LoadKeyIn(dir, slot)
}

// LoadKeyIn reads the key of a slot, as LoadKey does.
func LoadKeyIn(dir string, slot journal.Slot) (crypto.Signer, error) {
	path := filepath.Join(dir, in(slot, keyFile))
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

func parseKey(data []byte) (crypto.Signer, error) {
	plain, err := unseal(data)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	block, rest := pem.Decode(plain)
	if block == nil || block.Type != keyType && block.Type != tpmType || len(block.Headers) != 0 || len(rest) != 0 {
		return nil, errors.New("it is not one private key in PEM")
	}
	defer clear(block.Bytes)
	if block.Type == tpmType {
		return tpm.ParseKey(bytes.Clone(block.Bytes))
	}
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

// Remove deletes the keys of both slots, then the certificates.
func Remove(dir string) error {
	return remove(dir, keyFile, in(journal.SlotB, keyFile), chainFile, in(journal.SlotB, chainFile))
}

// Clear deletes what is in a slot, the key first.
func Clear(dir string, slot journal.Slot) error {
	return remove(dir, in(slot, keyFile), in(slot, chainFile))
}

func remove(dir string, names ...string) error {
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the device's identity: %w", err)
		}
	}
	return nil
}

// in is the file of a slot: device.key or device-b.key.
func in(slot journal.Slot, name string) string {
	if slot == journal.SlotA {
		return name
	}
	base, ext, _ := strings.Cut(name, ".")
	return base + "-" + string(slot) + "." + ext
}

// inUse is the slot that the journal names; before it names one, the first.
func inUse(dir string) (journal.Slot, error) {
	s, err := journal.Read(dir)
	if errors.Is(err, journal.ErrNotEnrolled) || err == nil && s.Enrolled == nil {
		return journal.SlotA, nil
	}
	if err != nil {
		return journal.SlotA, err
	}
	return s.Enrolled.Slot, nil
}
