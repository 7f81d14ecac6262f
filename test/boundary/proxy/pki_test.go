//go:build boundary

package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// PKI-01, PRX-09: through NGINX every route of devices wants a device's own certificate.
func TestEveryRouteOfDevicesWantsACertificateThroughNGINX(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	d := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	ca := w.DeviceCA()
	issue := func(ca certs.CA, from time.Time, life time.Duration, change func(*x509.Certificate)) *tls.Certificate {
		template := certs.DeviceTemplate{DeviceID: d.ID, TrustDomain: "sentinel.internal", PublicKey: key.Public()}
		template.NotBefore, template.NotAfter = certs.Validity(from, life)
		der, err := certs.IssueDevice(ca, template)
		w.must(err)
		if change != nil {
			c, err := x509.ParseCertificate(der)
			w.must(err)
			change(c)
			der, err = x509.CreateCertificate(rand.Reader, c, ca.Certificate, key.Public(), ca.Signer)
			w.must(err)
		}
		return &tls.Certificate{Certificate: [][]byte{der, ca.Certificate.Raw}, PrivateKey: key}
	}
	now := time.Now()
	// Another authority of the very name, and its own root.
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	rootDER, err := certs.NewRootCA("Other root", rootKey, now, 24*time.Hour)
	w.must(err)
	root, err := x509.ParseCertificate(rootDER)
	w.must(err)
	otherDER, err := certs.NewIssuingCA(certs.KindDevice, ca.Certificate.Subject.CommonName, "sentinel.internal", certs.CA{Certificate: root, Signer: rootKey}, key.Public(), now, 12*time.Hour)
	w.must(err)
	other, err := x509.ParseCertificate(otherDER)
	w.must(err)
	selfDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: ca.Certificate.SerialNumber, Subject: ca.Certificate.Subject, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour)},
		&x509.Certificate{Subject: ca.Certificate.Subject}, key.Public(), key)
	w.must(err)
	server, err := tls.LoadX509KeyPair(w.caFile(), w.caFile())
	w.must(err)
	consoleFile, consoleKey := w.consoleCertificate()
	console, err := tls.LoadX509KeyPair(consoleFile, consoleKey)
	w.must(err)
	callers := map[string]*tls.Certificate{
		"none":                      nil,
		"one that it signed itself": {Certificate: [][]byte{selfDER}, PrivateKey: key},
		"one of another authority":  issue(certs.CA{Certificate: other, Signer: key}, now, time.Hour, nil),
		"one that ended":            issue(ca, now.Add(-30*time.Minute), 20*time.Minute, nil),
		"one that has not begun":    issue(ca, now.Add(time.Hour), time.Hour, nil),
		"one for servers":           issue(ca, now, time.Hour, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		"one that may sign": issue(ca, now, time.Hour, func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		}),
		"one that is on no record":         issue(ca, now, time.Hour, nil),
		"the authority's own":              {Certificate: [][]byte{ca.Certificate.Raw}, PrivateKey: ca.Signer},
		"the server's own, which it shows": &server,
		"the console's":                    &console,
	}
	body := w.firstBeat(&tls.Certificate{Certificate: d.Chain})
	body.EnrollmentID = d.EnrollmentID
	before := w.counter("edge-1")
	for name, pair := range callers {
		client := w.caller(pair)
		for _, path := range []string{protocol.PathHeartbeat, protocol.PathRenew, protocol.PathAttestationChallenge, protocol.PathAttestationEvidence} {
			a := w.post(client, path, body)
			if name == "one that is on no record" && path != protocol.PathHeartbeat && a.byServer() && (a.status == http.StatusForbidden || a.code == protocol.CodeMalformed) {
				continue // what it asks for is looked at before the record is
			}
			if a.status != http.StatusUnauthorized {
				t.Errorf("%s, with %s: %d %s", path, name, a.status, a.code)
			}
		}
	}
	if after := w.counter("edge-1"); after != before {
		t.Errorf("the counter rose from %d to %d", before, after)
	}
	d.MustBeat()
}

// PKI-03, PRX-09: connections through NGINX that are open when a device is revoked are
// of no use to it any more, before NGINX hears of it.
func TestOpenConnectionsThroughNGINXEndWithARevocation(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	d := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	pair := &tls.Certificate{Certificate: d.Chain, PrivateKey: d.Key}
	const many = 100
	clients := make([]*http.Client, many)
	probe := d.Heartbeat()
	probe.Epoch = "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d" // nobody's: nothing is counted
	all := func(want protocol.Code) bool {               // one by one, as one device's heartbeats must come
		for _, client := range clients {
			a := w.post(client, protocol.PathHeartbeat, probe)
			for a.code == protocol.CodeRateLimited {
				a = w.post(client, protocol.PathHeartbeat, probe)
			}
			if a.code != want || !a.byServer() {
				return false
			}
		}
		return true
	}
	for i := range clients {
		clients[i] = w.caller(pair)
	}
	w.eventually(20*time.Second, "all connections are open", func() bool { return all(protocol.CodeEpochChanged) })
	begin := time.Now()
	w.operator.Revoke("edge-1")
	w.eventually(5*time.Second, "every one of them is refused", func() bool { return all(protocol.CodeDeviceRevoked) })
	t.Logf("%d open connections were refused %v after the revocation", many, time.Since(begin).Round(time.Millisecond))
}

// REV-02, PRX-09: when a list of NGINX's has ended, a device is told to come again, and
// not that it is unknown; somebody unknown is told that he is.
func TestAListOfNGINXThatEndedIsNobodysFault(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	d := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	path := filepath.Join(w.dir, "beside", "revocation.pem")
	text, err := os.ReadFile(path)
	w.must(err)
	roots, _ := pem.Decode(text)
	ca := w.DeviceCA()
	old, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(-time.Hour)}, ca.Certificate, ca.Signer)
	w.must(err)
	w.must(os.WriteFile(path, append(pem.EncodeToMemory(roots), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: old})...), 0o600))
	out, err := exec.Command(w.nginxProgram, "-c", filepath.Join(w.dir, "nginx.conf"), "-s", "reload").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pair := &tls.Certificate{Certificate: d.Chain, PrivateKey: d.Key}
	w.eventually(20*time.Second, "the device is told to come again", func() bool {
		a := w.post(w.caller(pair), protocol.PathHeartbeat, struct{}{})
		return a.status == http.StatusServiceUnavailable && a.code == protocol.CodeNotReady && a.header.Get("Retry-After") == "60" && !a.byServer()
	})
	other := newAuthority(t, "other", nil).issue("edge-1", nil)
	if a := w.post(w.caller(other), protocol.PathHeartbeat, struct{}{}); a.status != http.StatusUnauthorized || a.code != protocol.CodeCertificateUnknown {
		t.Errorf("somebody unknown: %d %s", a.status, a.code)
	}
	if a := w.post(w.caller(pair), protocol.PathEnroll, struct{}{}); a.code != protocol.CodeMalformed || !a.byServer() {
		t.Errorf("enrolling: %d %s", a.status, a.code)
	}
}
