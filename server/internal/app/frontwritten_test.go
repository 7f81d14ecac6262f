package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/nginx"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/proxy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// REV-02: readiness says in time that the proxy's lists end.
func TestReadinessSaysWhenTheProxysListsEnd(t *testing.T) {
	t.Parallel()
	w := newBehind(t)
	for _, c := range []struct {
		left   time.Duration
		status int
		said   bool
	}{{time.Hour, 200, false}, {10 * time.Minute, 200, true}, {-time.Minute, 503, true}, {30 * time.Minute, 200, false}} {
		ends := strconv.FormatInt(time.Now().Add(c.left).Unix(), 10)
		w.beat(says("NONE", nil, proxy.HeaderLists, ends), &protocol.Heartbeat{})
		w.skew.Add(int64(2 * time.Second)) // readiness remembers for a second
		resp, err := http.Get(w.PeopleURL + "/api/health/ready")
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var report struct {
			Checks []struct{ Name, Reason string }
		}
		if err != nil || json.Unmarshal(data, &report) != nil {
			t.Fatal(err)
		}
		said := false
		for _, check := range report.Checks {
			said = said || check.Name == "reverse-proxy" && strings.Contains(check.Reason, "revocation list")
		}
		if said != c.said || resp.StatusCode != c.status {
			t.Errorf("%v before the end: %d, told of it: %t", c.left, resp.StatusCode, said)
		}
	}
}

// PRX-09, REV-01: what the proxy goes by is written, renewed, and says at once what was
// revoked.
func TestWhatTheProxyGoesByIsWritten(t *testing.T) {
	t.Parallel()
	w := newBehind(t)
	dir := filepath.Join(w.Dir, "proxy")
	wait := func(what string, ok func(m *nginx.Material) bool) *nginx.Material {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			m, err := nginx.Read(dir)
			if err == nil && m.Check(time.Now().Add(time.Duration(w.skew.Load()))) == nil && ok(m) {
				return m
			}
			if time.Now().After(deadline) {
				t.Fatalf("not within 20 s: %s (%v)", what, err)
			}
		}
	}
	first := wait("the files are there", func(*nginx.Material) bool { return true })
	if _, err := certs.LearnCA(t.Context(), nil, serveOnce(t, first.Pair), "localhost", w.CAFingerprint); err != nil {
		t.Errorf("a device would not believe the certificate: %v", err)
	}
	d := w.device("edge-1")
	leaf, err := x509.ParseCertificate(d.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	w.operator.Revoke("edge-1")
	wait("the revocation is there", func(m *nginx.Material) bool {
		for _, l := range m.Lists {
			for _, e := range l.RevokedCertificateEntries {
				if e.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
					return true
				}
			}
		}
		return false
	})
	w.Server = w.Again()
	w.operator = w.SignIn("olivia")
	if again := wait("the files are there", func(*nginx.Material) bool { return true }); !again.Pair.Leaf.Equal(first.Pair.Leaf) {
		t.Error("a start made another certificate")
	}
	if err := w.Publish(nil, certs.KindDevice); err != nil {
		t.Fatal(err)
	}
	wait("the authority to come is there", func(m *nginx.Material) bool { return len(m.Authorities) == 3 })
	w.skew.Store(int64(5 * 24 * time.Hour))
	wait("the certificate is renewed", func(m *nginx.Material) bool { return !m.Pair.Leaf.Equal(first.Pair.Leaf) })
}

// serveOnce shows a certificate to whoever comes.
func serveOnce(t *testing.T, pair tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// PRX-09, C1: other authorities are given to the proxy, with their lists where every one
// of them has one.
func TestOtherAuthoritiesAreWrittenForTheProxy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Other"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(time.Hour)}, other, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, crl, late := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.crl"), filepath.Join(dir, "late.crl")
	for path, data := range map[string][]byte{ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), crl: list} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		settings map[string]string
		lists    int
	}{
		"with a list":                 {map[string]string{"SENTINEL_REVOCATION_LISTS": crl}, 3},
		"with a list that comes late": {map[string]string{"SENTINEL_REVOCATION_LISTS": late, "SENTINEL_REVOCATION_INTERVAL": "3s"}, 3},
		"with a responder":            {map[string]string{"SENTINEL_REVOCATION_RESPONDER": "aia"}, 0},
		"with neither":                {nil, 0},
		"with a list and a grace":     {map[string]string{"SENTINEL_REVOCATION_LISTS": crl, "SENTINEL_REVOCATION_GRACE": "1h"}, 0},
		"with a list and a responder": {map[string]string{"SENTINEL_REVOCATION_LISTS": crl, "SENTINEL_REVOCATION_RESPONDER": "aia"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := map[string]string{
				"SENTINEL_TRUST_PROXY_CERT_HEADERS": "true", "SENTINEL_PROXY_LISTEN": freePort(t), "SENTINEL_PROXY_SECRET": proxySecret,
				"SENTINEL_DEVICE_CA": "external", "SENTINEL_EXTERNAL_CA_FILES": ca,
			}
			maps.Copy(settings, c.settings)
			s := servertest.Start(t, servertest.Options{Settings: settings})
			if c.settings["SENTINEL_REVOCATION_LISTS"] == late { // a start is nothing new to the proxy
				if err := os.WriteFile(late, list, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				m, err := nginx.Read(filepath.Join(s.Dir, "proxy"))
				if err == nil {
					if err := m.Check(time.Now()); err != nil || len(m.Outside) != 1 || !m.Outside[0].Equal(other) || len(m.Lists) != c.lists {
						t.Errorf("%d other authorities and %d lists: %v", len(m.Outside), len(m.Lists), err)
					}
					return
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
		})
	}
}
