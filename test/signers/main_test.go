package signers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/extsign"
)

// TestMain is also the signer that the server starts: this program itself.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "as-signer" {
		os.Exit(behave(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

// behave signs with the key in a file, or does what another file says instead.
func behave(keyPath, modePath string) int {
	mode, _ := os.ReadFile(modePath)
	switch string(mode) {
	case "":
		if err := extsign.Serve(os.Stdin, os.Stdout, func() (crypto.Signer, error) { return load(keyPath) }); err != nil {
			return 1
		}
	case "hang":
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		<-ctx.Done()
	case "much":
		for {
			if _, err := fmt.Print(strings.Repeat("x", 1<<16)); err != nil {
				return 1
			}
		}
	case "other": // says what its key is, and gives a well-formed signature by a key of its own
		r, err := extsign.ReadRequest(os.Stdin)
		if err != nil {
			return 1
		}
		member, value := "signature", stranger(r.Data, r.Input)
		if r.Operation == extsign.PublicKey {
			key, err := load(keyPath)
			if err != nil {
				return 1
			}
			member = "public_key"
			value, _ = x509.MarshalPKIXPublicKey(key.Public())
		}
		fmt.Printf("{\"version\":1,%q:%q}\n", member, base64.StdEncoding.EncodeToString(value))
	case "half":
		fmt.Print(`{"version":1,"sig`)
		return 1
	}
	return 0 // "dies": without a word
}

func stranger(data []byte, input string) []byte {
	if input == extsign.Message {
		_, key, _ := ed25519.GenerateKey(rand.Reader)
		return ed25519.Sign(key, data)
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	signature, _ := ecdsa.SignASN1(rand.Reader, key, data)
	return signature
}

func load(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return key.(crypto.Signer), nil
}

// external is a signer that can be told to misbehave.
type external struct {
	t               *testing.T
	keyPath, modeAt string
	key             crypto.Signer
}

func newExternal(t *testing.T, key crypto.Signer) *external {
	t.Helper()
	dir := t.TempDir()
	e := &external{t, filepath.Join(dir, "key.pem"), filepath.Join(dir, "mode"), key}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	e.does("")
	return e
}

func (e *external) does(mode string) {
	e.t.Helper()
	if err := os.WriteFile(e.modeAt, []byte(mode), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// source is the setting that names it.
func (e *external) source() string {
	e.t.Helper()
	program, err := os.Executable()
	if err != nil {
		e.t.Fatal(err)
	}
	return "exec:" + program + " as-signer " + e.keyPath + " " + e.modeAt
}

func edwards(t *testing.T) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func p256(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// eventually waits for what the server does by itself.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	over := time.After(40 * time.Second)
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for !f() {
		select {
		case <-over:
			t.Fatal("not in time: " + what)
		case <-every.C:
		}
	}
}
