package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

func TestAKeyReadsBackAndIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(string) (crypto.Signer, error){"ed25519": NewEd25519, "p256": NewP256} {
		path := filepath.Join(t.TempDir(), "a.key")
		made, err := make(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		type comparable interface{ Equal(crypto.PublicKey) bool }
		if !got.Public().(comparable).Equal(made.Public()) {
			t.Errorf("%s: another key was read", name)
		}
		switch got.(type) {
		case ed25519.PrivateKey, *ecdsa.PrivateKey:
		default:
			t.Errorf("%s: a %T", name, got)
		}
	}
}

func TestAKeyIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.key")
	if _, err := NewEd25519(path); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	for _, make := range []func(string) (crypto.Signer, error){NewEd25519, NewP256} {
		if _, err := make(path); !errors.Is(err, ErrExists) {
			t.Errorf("a second key: %v", err)
		}
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the first key is gone")
	}
	link := filepath.Join(dir, "link.key")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := NewP256(link); !errors.Is(err, ErrExists) {
		t.Errorf("a link that leads nowhere: %v", err)
	}
}

// AGT-06
func TestAKeyThatOthersMayReadOrThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.key")
	if _, err := NewP256(path); err != nil {
		t.Fatal(err)
	}
	good, _ := os.ReadFile(path)
	for _, mode := range []os.FileMode{0o644, 0o640, 0o602, 0o660} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); !errors.Is(err, files.ErrExposed) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	block, _ := pem.Decode(good)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, _ := x509.MarshalPKIXPublicKey(weak.Public())
	canary := []byte("canary-of-a-secret")
	for name, data := range map[string][]byte{
		"nothing":            nil,
		"no PEM":             canary,
		"a public key":       pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		"another label":      pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: block.Bytes}),
		"two keys":           append(bytes.Clone(good), good...),
		"something after it": append(bytes.Clone(good), canary...),
		"a key cut short":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: block.Bytes[:20]}),
		"what is no key":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: canary}),
		"too large":          append(bytes.Clone(good), make([]byte, maxSize)...),
	} {
		bad := filepath.Join(t.TempDir(), "bad.key")
		if err := os.WriteFile(bad, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(bad); err == nil || bytes.Contains([]byte(err.Error()), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
