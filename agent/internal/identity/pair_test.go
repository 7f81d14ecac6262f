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
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
)

// given is a key with its certificate in files, as another authority's tools leave them.
type given struct {
	t                *testing.T
	certificate, key string
	private          *ecdsa.PrivateKey
	cert             []byte
}

func newGiven(t *testing.T, curve elliptic.Curve) *given {
	t.Helper()
	dir := t.TempDir()
	g := &given{t: t, certificate: filepath.Join(dir, "device.pem"), key: filepath.Join(dir, "device.key")}
	var err error
	if g.private, err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge-1"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	if g.cert, err = x509.CreateCertificate(rand.Reader, template, template, g.private.Public(), g.private); err != nil {
		t.Fatal(err)
	}
	g.write(g.certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.cert}))
	g.write(g.key, g.pkcs8())
	return g
}

func (g *given) pkcs8() []byte {
	g.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(g.private)
	if err != nil {
		g.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (g *given) sec1() []byte {
	g.t.Helper()
	der, err := x509.MarshalECPrivateKey(g.private)
	if err != nil {
		g.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (g *given) write(path string, data []byte) {
	g.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func TestAPairIsTakenOverAsTheToolsLeaveIt(t *testing.T) {
	t.Parallel()
	g := newGiven(t, elliptic.P256())
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	for name, data := range map[string][]byte{"PKCS#8": g.pkcs8(), "SEC 1": g.sec1(), "with its parameters": append(parameters, g.sec1()...)} {
		g.write(g.key, data)
		p, err := ReadPair(g.certificate, g.key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for range 2 { // again takes the place of what is there
			if err := p.StoreIn(dir, journal.SlotB); err != nil {
				t.Fatal(err)
			}
		}
		id, err := LoadIn(dir, journal.SlotB)
		if err != nil || !Matches(id.Leaf, g.private) || !g.private.Equal(id.Key) {
			t.Errorf("%s: %v", name, err)
		}
		info, err := os.Stat(filepath.Join(dir, "device-b.key"))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: others may read the copy: %v", name, err)
		}
	}
}

// AGT-06: nothing else is taken, and nothing of it is in an error.
func TestWhatIsNoPairIsRefused(t *testing.T) {
	t.Parallel()
	other := newGiven(t, elliptic.P256())
	for name, c := range map[string]struct {
		spoil func(g *given)
		want  error
	}{
		"a key that others may read": {func(g *given) { _ = os.Chmod(g.key, 0o644) }, ErrExposed},
		"another key":                {func(g *given) { g.write(g.key, other.pkcs8()) }, ErrPair},
		"two keys":                   {func(g *given) { g.write(g.key, append(g.pkcs8(), g.pkcs8()...)) }, ErrPair},
		"a key with a passphrase": {func(g *given) {
			g.write(g.key, []byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n"))
		}, ErrPair},
		"no key":                          {func(g *given) { g.write(g.key, nil) }, ErrPair},
		"a missing key":                   {func(g *given) { _ = os.Remove(g.key) }, ErrPair},
		"a certificate in place of a key": {func(g *given) { g.key = g.certificate }, ErrPair},
		"no certificate":                  {func(g *given) { g.write(g.certificate, nil) }, ErrPair},
		"a missing certificate":           {func(g *given) { _ = os.Remove(g.certificate) }, ErrPair},
		"a key in place of a certificate": {func(g *given) { g.certificate = g.key }, ErrPair},
	} {
		g := newGiven(t, elliptic.P256())
		c.spoil(g)
		if _, err := ReadPair(g.certificate, g.key); !errors.Is(err, c.want) || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if g := newGiven(t, elliptic.P384()); true {
		if _, err := ReadPair(g.certificate, g.key); !errors.Is(err, ErrPair) {
			t.Errorf("a key on P-384: %v", err)
		}
	}
}

func FuzzParsePairKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := ParsePairKey(data); err == nil && key.Curve != elliptic.P256() {
			t.Errorf("%v", key.Curve)
		}
	})
}
