package nginx

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// world is a host with a server's authorities and a program that behaves as NGINX does.
type world struct {
	*testing.T
	Host

	began, now   time.Time
	root, device certs.CA
	server       certs.CA
	dir          string // of the program
	site         *Site
	path         string // of the site
	number       int64
}

func must[V any](t *testing.T, v V, err error) V {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return must[crypto.Signer](t, key, err)
}

// fake is NGINX as far as this package sees it: it refuses a configuration while a file
// says so, and shows and tells what was there when it was reloaded.
const fake = `#!/bin/sh
dir=$(dirname "$0")
echo "$@" >>"$dir/calls"
case "$1" in
-t) [ ! -e "$dir/refuses" ] || { echo "nginx: [emerg] unknown directive" >&2; exit 1; } ;;
-s) [ ! -e "$dir/dead" ] || { echo "nginx: [error] invalid PID number" >&2; exit 1; }
    [ -e "$dir/deaf" ] || { cp "$dir/beside/machine.pem" "$dir/shown.pem"; cp "$dir/beside/generation.conf" "$dir/told"; } ;;
esac
`

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, began: time.Now(), now: time.Now(), dir: t.TempDir()}
	program := filepath.Join(w.dir, "nginx")
	if err := os.WriteFile(program, []byte(fake), 0o700); err != nil {
		t.Fatal(err)
	}
	rootKey := newKey(t)
	rootDER, err := certs.NewRootCA("Test root", rootKey, w.now, 365*24*time.Hour)
	w.root = certs.CA{Certificate: parsed(t, must(t, rootDER, err)), Signer: rootKey}
	w.device, w.server = w.issuing(certs.KindDevice), w.issuing(certs.KindServer)
	w.Host = Host{NGINX: Program{Path: program}, From: filepath.Join(w.dir, "from"), Dir: filepath.Join(w.dir, "beside"), Now: func() time.Time { return w.now }}
	w.path = filepath.Join(w.dir, "sentinel.conf")

	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(filepath.Join(w.dir, "shown.pem"), filepath.Join(w.dir, "shown.pem"))
		return &pair, err
	}})
	listener := must(t, l, err)
	t.Cleanup(func() { _ = listener.Close() })
	shows := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		told, err := os.ReadFile(filepath.Join(w.dir, "told"))
		if _, word, ok := strings.Cut(string(told), "\nreturn 200 "); err == nil && ok && r.URL.Path == generationAt {
			_, _ = io.WriteString(out, strings.TrimSuffix(word, ";\n"))
			return
		}
		out.WriteHeader(http.StatusNotFound)
	})}
	go func() { _ = shows.Serve(listener) }()
	t.Cleanup(func() { _ = shows.Close() })
	w.site = &Site{Dir: w.Dir, Machines: Machines{Names: []string{"localhost"}, Listen: []string{listener.Addr().String()}, Upstream: "unix:/run/sentinel-proxy/machines.sock", IdleSeconds: 180}}
	return w
}

func parsed(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	return must(t, c, err)
}

func (w *world) issuing(kind certs.Kind) certs.CA {
	w.Helper()
	key := newKey(w.T)
	der, err := certs.NewIssuingCA(kind, "Test "+string(kind), "test.internal", w.root, key.Public(), w.now, 100*24*time.Hour)
	return certs.CA{Certificate: parsed(w.T, must(w.T, der, err)), Signer: key}
}

func (w *world) list(ca certs.CA, life time.Duration, revoked ...int64) *x509.RevocationList {
	w.Helper()
	w.number++
	l := status.List{Number: w.number, ThisUpdate: w.now.Truncate(time.Second), NextUpdate: w.now.Truncate(time.Second).Add(life)}
	for _, serial := range revoked {
		l.Entries = append(l.Entries, status.Revoked{Serial: big.NewInt(serial), At: l.ThisUpdate})
	}
	der, err := status.SignList(ca, l)
	list, err2 := x509.ParseRevocationList(must(w.T, der, err))
	return must(w.T, list, err2)
}

// material is what the server would write now.
func (w *world) material(revoked ...int64) *Material {
	w.Helper()
	key := newKey(w.T)
	t := certs.ServerTemplate{PublicKey: key.Public(), DNSNames: []string{"localhost"}}
	t.NotBefore, t.NotAfter = certs.Validity(w.began.Add(-time.Minute), 7*24*time.Hour)
	der, err := certs.IssueServer(w.server, t)
	leaf := parsed(w.T, must(w.T, der, err))
	return &Material{
		Pair:        tls.Certificate{Certificate: [][]byte{leaf.Raw, w.server.Certificate.Raw}, PrivateKey: key, Leaf: leaf},
		Authorities: []*x509.Certificate{w.root.Certificate, w.device.Certificate},
		Lists:       []*x509.RevocationList{w.list(w.root, 365*24*time.Hour), w.list(w.device, time.Hour, revoked...)},
	}
}

func (w *world) write(m *Material) {
	w.Helper()
	if _, err := m.Write(w.From); err != nil {
		w.Fatal(err)
	}
}

// say makes the program behave otherwise, or as before.
func (w *world) say(what string, yes bool) {
	w.Helper()
	path := filepath.Join(w.dir, what)
	if !yes {
		_ = os.Remove(path)
		return
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		w.Fatal(err)
	}
}

// calls is how often the program was called since the last time.
func (w *world) calls() string {
	w.Helper()
	path := filepath.Join(w.dir, "calls")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.Fatal(err)
	}
	_ = os.Remove(path)
	return string(data)
}

// tree is every file that NGINX would read.
func (w *world) tree() map[string]string {
	w.Helper()
	all := map[string]string{}
	for _, name := range append([]string{secretFile, endFile, verifyFile, generatedAs, placeFile}, materialFiles...) {
		if data, err := os.ReadFile(filepath.Join(w.Dir, name)); err == nil {
			all[name] = string(data)
		}
	}
	if data, err := os.ReadFile(w.path); err == nil {
		all["site"] = string(data)
	}
	return all
}
