package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
)

// certificate is self-signed: this package asks only whose key it is of.
func certificate(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge-1"}, NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// private is a directory as the state directory is.
func private(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := journal.MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func made(t *testing.T) (dir string, key *ecdsa.PrivateKey) {
	t.Helper()
	dir = private(t)
	signer, err := CreateKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	key = signer.(*ecdsa.PrivateKey)
	if err := StoreChain(dir, [][]byte{certificate(t, key)}); err != nil {
		t.Fatal(err)
	}
	return dir, key
}

func TestAnIdentityIsTheSameAfterARestart(t *testing.T) {
	t.Parallel()
	dir, key := made(t)
	id, err := Load(dir)
	if err != nil || !key.PublicKey.Equal(id.Key.Public()) {
		t.Fatalf("got %v", err)
	}
	cert, err := id.Present(nil)
	if err != nil || len(cert.Certificate) != 1 || cert.PrivateKey == nil {
		t.Fatalf("presents %+v, %v", cert, err)
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key has mode %v, %v", info.Mode(), err)
	}
}

func TestAKeyIsNeverReplaced(t *testing.T) {
	t.Parallel()
	dir, key := made(t)
	if _, err := CreateKey(dir); !errors.Is(err, ErrKeyExists) {
		t.Fatalf("got %v", err)
	}
	if again, err := LoadKey(dir); err != nil || !key.PublicKey.Equal(again.Public()) {
		t.Fatalf("another key, %v", err)
	}
}

// AGT-06
func TestAKeyThatOthersMayReadIsRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o660, 0o601} {
		dir, _ := made(t)
		if err := os.Chmod(filepath.Join(dir, keyFile), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); !errors.Is(err, ErrExposed) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	t.Run("and so is a link to one", func(t *testing.T) {
		t.Parallel()
		dir, _ := made(t)
		path := filepath.Join(dir, keyFile)
		if err := errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path)); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); !errors.Is(err, ErrBadKey) {
			t.Errorf("got %v", err)
		}
	})
}

func TestOnlyAKeyOfThisDevicesKindIsLoaded(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, err := x509.MarshalPKCS8PrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	whole := string(pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: good}))
	for name, content := range map[string]string{
		"empty":         "",
		"garbage":       "garbage",
		"another curve": string(pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: der})),
		"another type":  string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: good})),
		"two keys":      whole + whole,
		"cut short":     whole[:len(whole)/2],
	} {
		dir := private(t)
		if err := os.WriteFile(filepath.Join(dir, keyFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKey(dir); !errors.Is(err, ErrBadKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := LoadKey(private(t)); !errors.Is(err, ErrNoKey) {
		t.Errorf("none: %v", err)
	}
}

func TestACertificateOfAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	dir, _ := made(t)
	_, stranger := made(t)
	if err := StoreChain(dir, [][]byte{certificate(t, stranger)}); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); !errors.Is(err, ErrBadCertificate) {
		t.Fatalf("got %v", err)
	}
}

func TestNothingIsLeftAfterRemove(t *testing.T) {
	t.Parallel()
	dir, _ := made(t)
	if err := errors.Join(Remove(dir), Remove(dir)); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Fatalf("left: %v", left)
	}
}

func FuzzParseChain(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	one := pem.EncodeToMemory(&pem.Block{Type: chainType, Bytes: certificate(f, key)})
	f.Add(one)
	f.Add(append(one, one...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if chain, err := ParseChain(data); err == nil && (len(chain) == 0 || len(chain) > 4) {
			t.Fatalf("%d certificates", len(chain))
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := parseKey(data); err == nil && key.Public().(*ecdsa.PublicKey).Curve != elliptic.P256() {
			t.Fatal("a key of another kind")
		}
	})
}
