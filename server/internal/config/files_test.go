//go:build !windows

package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

// put writes a file with exactly this mode.
func put(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestASecretIsReadFromItsFile(t *testing.T) {
	t.Parallel()
	for end, name := range map[string]string{"": "as it is", "\n": "without one newline", "\r\n": "without one newline made on Windows"} {
		path := put(t, filepath.Join(t.TempDir(), "jwt"), strongA+end, 0o600)
		if c := load(t, "SENTINEL_JWT_SECRET_FILE="+path); string(c.JWTSecret) != strongA {
			t.Errorf("%s: the secret differs", name)
		}
	}
	path := put(t, filepath.Join(t.TempDir(), "url"), "postgres://u:p@127.0.0.1/d\n", 0o400)
	if c := load(t, "SENTINEL_DATABASE_URL_FILE="+path); string(c.DatabaseURL) != "postgres://u:p@127.0.0.1/d" {
		t.Error("the database's URL differs")
	}
}

func TestABadSecretFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, words string }{
		{"readable by the group", put(t, filepath.Join(dir, "g"), strongA, 0o640), "open to other users"},
		{"readable by all", put(t, filepath.Join(dir, "o"), strongA, 0o604), "open to other users"},
		{"writable by the group", put(t, filepath.Join(dir, "w"), strongA, 0o620), "open to other users"},
		{"executable by all", put(t, filepath.Join(dir, "x"), strongA, 0o601), "open to other users"},
		{"empty", put(t, filepath.Join(dir, "empty"), "\n", 0o600), "empty"},
		{"of two lines", put(t, filepath.Join(dir, "two"), strongA+"\n"+strongB, 0o600), "more than one line"},
		{"with two newlines at its end", put(t, filepath.Join(dir, "nl"), strongA+"\n\n", 0o600), "more than one line"},
		{"with a NUL byte", put(t, filepath.Join(dir, "nul"), strongA+"\x00", 0o600), "control character"},
		{"that is no text", put(t, filepath.Join(dir, "bin"), strongA+"\xff", 0o600), "UTF-8"},
		{"too large", put(t, filepath.Join(dir, "big"), strings.Repeat("x", 17<<10), 0o600), "16 KiB"},
		{"with a weak secret", put(t, filepath.Join(dir, "weak"), "change-me", 0o600), "shorter"},
		{"that is missing", filepath.Join(dir, "none"), "does not exist"},
		{"that is a directory", dir, "regular"},
		{"that is a FIFO", fifo, "regular"},
		{"without a name", "", "does not exist"},
	} {
		ps := refused(t, []string{"SENTINEL_JWT_SECRET_FILE=" + c.path}, "")
		if len(ps) != 1 || ps[0].Key != "SENTINEL_JWT_SECRET_FILE" || !strings.Contains(ps[0].Message, c.words) {
			t.Errorf("a file %s: got %v", c.name, ps)
		}
		if strings.Contains(ps.Error(), strongA) || strings.Contains(ps.Error(), "change-me") {
			t.Errorf("a file %s: its content is in the error", c.name)
		}
	}
}

func TestASecretAndItsFileTogetherAreRefused(t *testing.T) {
	t.Parallel()
	path := put(t, filepath.Join(t.TempDir(), "jwt"), strongA, 0o600)
	wantOnly(t, refused(t, []string{"SENTINEL_JWT_SECRET=" + strongA, "SENTINEL_JWT_SECRET_FILE=" + path}, ""), "SENTINEL_JWT_SECRET", "beside")
}

func TestGroupReadIsAcceptedOnlyWhereSystemdHandsOverCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := put(t, filepath.Join(dir, "jwt"), strongA, 0o440)
	load(t, "SENTINEL_JWT_SECRET_FILE="+path, "CREDENTIALS_DIRECTORY="+dir)
	for name, given := range map[string]string{"elsewhere": t.TempDir(), "an empty directory": "", "the parent": filepath.Dir(dir), "a relative directory": "."} {
		ps := refused(t, []string{"SENTINEL_JWT_SECRET_FILE=" + path, "CREDENTIALS_DIRECTORY=" + given}, "")
		if !strings.Contains(ps.Error(), "open to other users") {
			t.Errorf("%s: got %v", name, ps)
		}
	}
	world := put(t, filepath.Join(dir, "world"), strongA, 0o444)
	wantOnly(t, refused(t, []string{"SENTINEL_JWT_SECRET_FILE=" + world, "CREDENTIALS_DIRECTORY=" + dir}, ""), "SENTINEL_JWT_SECRET_FILE", "open")
}

func TestTheSettingsFileMustBeClosedOnceItHoldsASecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	holding := "SENTINEL_JWT_SECRET=" + strongA + "\n"
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		words      string // empty: accepted
	}{
		{"no secret, readable by all", "SENTINEL_LOG_LEVEL=info\n", 0o644, ""},
		{"no secret, writable by all", "SENTINEL_LOG_LEVEL=info\n", 0o646, "changed by every user"},
		{"a secret, readable by all", holding, 0o644, "read by every user"},
		{"a secret, readable by the group", holding, 0o640, ""},
		{"a secret, closed", holding, 0o600, ""},
	} {
		file := put(t, filepath.Join(dir, "server.env"), c.text, c.mode)
		if c.words == "" {
			if _, err := config.Load(nil, file); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		wantOnly(t, refused(t, nil, file), file, c.words)
	}
}

func TestASettingsFileThatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	wantOnly(t, refused(t, nil, filepath.Join(dir, "none")), filepath.Join(dir, "none"), "does not exist")
	wantOnly(t, refused(t, nil, dir), dir, "regular")
	big := put(t, filepath.Join(dir, "big"), strings.Repeat("#\n", 200<<10), 0o600)
	wantOnly(t, refused(t, nil, big), big, "256 KiB")
}

func TestPeopleBeyondLoopbackNeedACertificateAndItsKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := keyPair(t, dir, "a")
	_, otherKey := keyPair(t, dir, "b")
	with := func(cert, key string) []string {
		return []string{"SENTINEL_PEOPLE_LISTEN=0.0.0.0:8080", "SENTINEL_PEOPLE_TLS_CERT_FILE=" + cert, "SENTINEL_PEOPLE_TLS_KEY_FILE=" + key}
	}
	if c := load(t, with(cert, key)...); c.PeopleURL != "https://localhost:8080" {
		t.Errorf("derived %s", c.PeopleURL)
	}
	wantOnly(t, refused(t, with(cert, ""), ""), "SENTINEL_PEOPLE_TLS_KEY_FILE", "is empty")
	wantOnly(t, refused(t, with("", key), ""), "SENTINEL_PEOPLE_TLS_CERT_FILE", "is empty")
	wantOnly(t, refused(t, with(cert, otherKey), ""), "SENTINEL_PEOPLE_TLS_CERT_FILE", "no certificate and its key")
	wantOnly(t, refused(t, with(dir, key), ""), "SENTINEL_PEOPLE_TLS_CERT_FILE", "regular")
	wantOnly(t, refused(t, with(cert, filepath.Join(dir, "none")), ""), "SENTINEL_PEOPLE_TLS_KEY_FILE", "does not exist")
	wantOnly(t, refused(t, append(with(cert, key), "SENTINEL_PEOPLE_URL=http://console.corp.test"), ""), "SENTINEL_PEOPLE_URL", "serves TLS")
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, refused(t, with(cert, key), ""), "SENTINEL_PEOPLE_TLS_KEY_FILE", "open to other users")
}

func keyPair(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return put(t, filepath.Join(dir, name+".crt"), asPEM("CERTIFICATE", cert), 0o644),
		put(t, filepath.Join(dir, name+".key"), asPEM("PRIVATE KEY", der), 0o600)
}
