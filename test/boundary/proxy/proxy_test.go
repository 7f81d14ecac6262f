//go:build boundary

package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// consoleCertificate is one that browsers of this test believe, in files.
func (w *world) consoleCertificate() (certificate, key string) {
	w.Helper()
	certificate, key = filepath.Join(w.dir, "console.pem"), filepath.Join(w.dir, "console.key")
	if _, err := os.Stat(certificate); err == nil {
		return certificate, key
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, t, t, k.Public(), k)
	w.must(err)
	private, err := x509.MarshalPKCS8PrivateKey(k)
	w.must(err)
	w.must(os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	w.must(os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certificate, key
}

// browser is a client of NGINX's side for people.
func (w *world) browser() *http.Client {
	w.Helper()
	certificate, _ := w.consoleCertificate()
	text, err := os.ReadFile(certificate)
	w.must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}
	w.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// REV-01, PRX-09: the first line of the boundary. A real agent enrolls through NGINX and
// is revoked: the server refuses it within five seconds, NGINX with its next lists.
func TestAnAgentEnrollsThroughNGINXAndIsRevoked(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	bystander := w.enroll("edge-2")
	edge := w.enroll("edge-1")
	stop := edge.start()
	w.eventually(20*time.Second, "heartbeats are counted", func() bool { return w.counter("edge-1") >= 3 })
	// At the socket everybody would be "local".
	if n, local := w.Count("audit_entries", "action LIKE 'enroll%' AND source = '127.0.0.1'"), w.Count("audit_entries", "source = 'local'"); n == 0 || local > 0 {
		t.Errorf("PRX-04: %d enrollments come from this host, and %d entries from nowhere", n, local)
	}
	pair := edge.pair()
	held := w.caller(&pair) // a connection that stays open
	if a := w.post(held, protocol.PathHeartbeat, struct{}{}); a.code != protocol.CodeMalformed || !a.byServer() {
		t.Fatalf("before the revocation: %d %s", a.status, a.code)
	}

	begin := time.Now()
	w.operator.Revoke("edge-1")
	w.eventually(5*time.Second, "the server refuses the agent through NGINX", func() bool {
		st := edge.status()
		return st.Refusal != nil && st.Refusal.Code == string(protocol.CodeDeviceRevoked)
	})
	t.Logf("the agent was refused by the server %v after its revocation", time.Since(begin).Round(time.Millisecond))
	stop()
	counted := w.counter("edge-1")

	w.eventually(20*time.Second, "there is a new list for NGINX", func() bool { return strings.Contains(w.refresh(), "what is revoked") })
	inARow := 0 // while it reloads, the worker of before still takes connections
	w.eventually(10*time.Second, "NGINX itself refuses it", func() bool {
		a := w.post(w.caller(&pair), protocol.PathHeartbeat, struct{}{})
		if inARow++; a.status != http.StatusUnauthorized || a.code != protocol.CodeCertificateUnknown || a.byServer() {
			inARow = 0
		}
		return inARow == 5
	})
	t.Logf("NGINX itself refused it %v after its revocation", time.Since(begin).Round(time.Millisecond))
	for _, path := range []string{protocol.PathHeartbeat, protocol.PathRenew, "/api/anything", "/"} {
		if a := w.post(w.caller(&pair), path, struct{}{}); a.status != http.StatusUnauthorized || a.byServer() {
			t.Errorf("%s: %d %s, by the server: %t", path, a.status, a.code, a.byServer())
		}
	}
	// The connection of before was ended by the reload: the handshake is judged anew.
	w.eventually(10*time.Second, "the open connection is refused, too", func() bool {
		a := w.post(held, protocol.PathHeartbeat, struct{}{})
		return a.status == http.StatusUnauthorized && !a.byServer()
	})
	if got := w.counter("edge-1"); got != counted {
		t.Errorf("the counter rose from %d to %d", counted, got)
	}
	// Where no certificate is needed, one that counts no more does not matter.
	if a := w.post(w.caller(&pair), protocol.PathEnroll, struct{}{}); a.code != protocol.CodeMalformed || !a.byServer() {
		t.Errorf("enrolling: %d %s", a.status, a.code)
	}
	if out := w.refresh(); !strings.Contains(out, "nothing new") {
		t.Errorf("nothing changed, and: %s", out)
	}

	args := []string{"smoke-test", "--base-url", w.settings["SENTINEL_MACHINE_URL"], "--ca-file", w.caFile()}
	with := func(a *agent) []string {
		return append(args[:len(args):len(args)], "--client-cert", filepath.Join(a.dir, "certificate.pem"), "--client-key", filepath.Join(a.dir, "device.key"), "--device-id", a.id)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"without a certificate":  {args, 0, []string{"the server is reached: ready", "401 certificate-missing", "headers that claim one is refused"}},
		"with a good one":        {with(bystander), 0, []string{"the certificate is taken: for edge-2; nothing was counted"}},
		"and its enrollment":     {append(with(bystander), "--enrollment-id", bystander.status().EnrollmentID), 0, []string{"a heartbeat is accepted: counted as"}},
		"with a revoked one":     {with(edge), 1, []string{"FAILED  the certificate is taken: 401 certificate-unknown"}},
		"as another device":      {append(with(bystander), "--device-id", "edge-1"), 1, []string{"FAILED  the certificate is taken"}},
		"with half of the flags": {append(args[:len(args):len(args)], "--device-id", "edge-2"), 2, []string{"belong together"}},
		"at an address of none":  {[]string{"smoke-test", "--base-url", "https://localhost:1", "--ca-file", w.caFile()}, 1, []string{"FAILED  the server is reached"}},
		"in plain text":          {[]string{"smoke-test", "--base-url", "http://localhost"}, 2, []string{"https URL"}},
	} {
		code, out := w.command(append([]string{"nginx"}, c.args...)...)
		for _, says := range c.says {
			if code != c.code || !strings.Contains(out, says) {
				t.Errorf("smoke-test %s: exit code %d\n%s", name, code, out)
			}
		}
	}
}

// AGT-13, PRX-03: whose certificate has ended is told so by the server, and finds the
// way back.
func TestADeviceWhoseCertificateEndedFindsTheWayBackThroughNGINX(t *testing.T) {
	w := newWorld(t, options{settings: map[string]string{"SENTINEL_DEVICE_CERT_LIFETIME": "5s"}})
	w.install()
	d := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	var code protocol.Code
	w.eventually(20*time.Second, "its certificate has ended", func() bool {
		p, err := d.Beat()
		w.must(err)
		if p != nil {
			code = p.Code
		}
		return p != nil
	})
	if code != protocol.CodeCertificateExpired {
		t.Fatalf("it is told %s", code)
	}
	if _, p, err := d.Recover(); p != nil || err != nil {
		t.Errorf("asking to be let in again: %v %v", p, err)
	}
}

// The same flow as without a proxy: renewal, a command and its result, a change of
// authorities.
func TestADeviceMayDoTheSameThroughNGINX(t *testing.T) {
	w := newWorld(t, options{secret: true})
	w.install()
	d := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	if _, p, err := d.Renew(); p != nil || err != nil {
		t.Fatal(p, err)
	}
	d.MustBeat()
	id := w.operator.SendCommand("ping", map[string]any{"echo": "hello"}, "edge-1")
	w.operator.AwaitCommand(id, "open")
	d.MustBeat()
	d.Obey()
	d.MustBeat()
	if c := w.operator.AwaitCommand(id, "done"); c.Counts["succeeded"] != 1 {
		t.Errorf("%+v", c)
	}
	w.must(w.Publish(nil, certs.KindDevice, certs.KindServer))
	w.eventually(20*time.Second, "NGINX believes the authority to come", func() bool { return strings.Contains(w.refresh(), "other authorities") })
	w.getsThrough(d) // and hears of the new fleet root
	w.must(w.Activate(certs.KindDevice, false))
	w.must(w.Activate(certs.KindServer, true))
	w.eventually(20*time.Second, "NGINX shows a certificate of the new authority", func() bool {
		return strings.Contains(w.refresh(), "another certificate")
	})
	d = d.At(w.Server)
	w.getsThrough(d)
	if !d.Answer.Renew {
		t.Error("a device of the retired authority is not told to renew")
	}
	if _, p, err := d.Renew(); p != nil || err != nil {
		t.Fatal(p, err)
	}
	d.MustBeat()
	if d.Answer.Renew {
		t.Error("a device of the new authority is told to renew")
	}
}

// PRX-09: what the shipped configuration must not do.
func TestTheShippedConfigurationIsClosed(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	d := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	for _, side := range []struct {
		name, address string
		client        *http.Client
		oldest        uint16
	}{{"devices", w.machines, w.caller(&tls.Certificate{Certificate: d.Chain, PrivateKey: d.Key}), tls.VersionTLS13}, {"people", w.console, w.browser(), tls.VersionTLS12}} {
		t.Run(side.name, func(t *testing.T) {
			conf := side.client.Transport.(*http.Transport).TLSClientConfig.Clone()
			conf.ServerName, conf.ClientSessionCache = "localhost", tls.NewLRUClientSessionCache(8)
			for i := range 3 {
				for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
					if version < side.oldest {
						continue
					}
					conf.MinVersion, conf.MaxVersion = version, version
					conn, err := tls.Dial("tcp", side.address, conf)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = fmt.Fprint(conn, "GET /api/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
					_, _ = io.Copy(io.Discard, conn)
					if conn.ConnectionState().DidResume {
						t.Errorf("PKI-02: handshake %d of %s was resumed", i, tls.VersionName(version))
					}
					_ = conn.Close()
				}
			}
			for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
				if version >= side.oldest {
					continue
				}
				conf.MinVersion, conf.MaxVersion = version, version
				if conn, err := tls.Dial("tcp", side.address, conf); err == nil {
					_ = conn.Close()
					t.Errorf("PKI-13: %s is spoken", tls.VersionName(version))
				}
			}
			conf.MinVersion, conf.MaxVersion = side.oldest, 0
			conf.NextProtos = []string{"h2", "http/1.1"}
			conn, err := tls.Dial("tcp", side.address, conf)
			if err != nil {
				t.Fatal(err)
			}
			if got := conn.ConnectionState().NegotiatedProtocol; side.name == "devices" && got == "h2" {
				t.Error("HTTP/2 is spoken with devices")
			}
			_ = conn.Close()
		})
	}
	t.Run("people are asked for no certificate", func(t *testing.T) {
		client := w.browser()
		asked := false
		client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		}
		resp, err := client.Get("https://localhost:" + port(t, w.console) + "/api/health/ready")
		if err != nil {
			t.Fatal(err)
		}
		if a := read(resp); asked || a.status != http.StatusOK || a.header.Get("Strict-Transport-Security") == "" {
			t.Errorf("asked %t, %d %v", asked, a.status, a.header)
		}
	})
}

// PRX-09: what NGINX does not take leaves it as it was, and it goes on.
func TestAnInstallationThatFailsIsUndone(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	site := filepath.Join(w.dir, "sites", "sentinel.conf")
	before, err := os.ReadFile(site)
	w.must(err)
	args := w.installArgs()
	for i, a := range args {
		if a == "--console-certificate" {
			args[i+1] = filepath.Join(w.dir, "nothing.pem") // NGINX finds that it is not there
		}
	}
	code, out := w.nginx("install", args...)
	if code != 1 || !strings.Contains(out, "nothing was changed") || !strings.Contains(out, "nothing.pem") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if after, err := os.ReadFile(site); err != nil || string(after) != string(before) {
		t.Errorf("the configuration is another: %v", err)
	}
	if _, err := os.Stat(site + ".before"); err == nil {
		t.Error("a copy was left")
	}
	if a := w.post(w.caller(nil), protocol.PathHeartbeat, struct{}{}); a.code != protocol.CodeCertificateMissing {
		t.Errorf("NGINX answers %d %s", a.status, a.code)
	}
	busy := freePort(t) // whoever listens there keeps NGINX from it after its test
	l, err := net.Listen("tcp", busy)
	w.must(err)
	defer func() { _ = l.Close() }()
	args = w.installArgs()
	for i, a := range args {
		if a == "--listen-machines" {
			args[i+1] = busy
		}
	}
	if code, out := w.nginx("install", args...); code != 1 || !strings.Contains(out, "undone") && !strings.Contains(out, "nothing was changed") {
		t.Errorf("on an address that is taken: exit code %d\n%s", code, out)
	}
	if a := w.post(w.caller(nil), protocol.PathHeartbeat, struct{}{}); a.code != protocol.CodeCertificateMissing {
		t.Errorf("NGINX answers %d %s", a.status, a.code)
	}
}
