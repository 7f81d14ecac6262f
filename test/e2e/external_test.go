package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// otherCA is another authority than the server's, with files for its devices.
type otherCA struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	last int64
}

func newOtherCA(t *testing.T) *otherCA {
	t.Helper()
	o := &otherCA{t: t, dir: t.TempDir()}
	var err error
	if o.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Other"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	o.cert = o.sign(template, template, &o.key.PublicKey)
	o.write("ca.pem", "CERTIFICATE", o.cert.Raw)
	return o
}

func (o *otherCA) sign(template, parent *x509.Certificate, pub *ecdsa.PublicKey) *x509.Certificate {
	o.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		o.t.Fatal(err)
	}
	return cert
}

func (o *otherCA) write(name, kind string, der []byte) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		o.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// issue puts a new key and certificate of a device into its files.
func (o *otherCA) issue(id string) (certificate, key, code string, cert *x509.Certificate) {
	o.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		o.t.Fatal(err)
	}
	o.last++
	cert = o.sign(&x509.Certificate{SerialNumber: big.NewInt(100 + o.last), Subject: pkix.Name{CommonName: id}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, o.cert, &private.PublicKey)
	if code, err = certs.KeyCode(&private.PublicKey); err != nil {
		o.t.Fatal(err)
	}
	return o.write(id+".pem", "CERTIFICATE", cert.Raw), o.write(id+".key", "PRIVATE KEY", der), code, cert
}

// C1: the agent's program with a certificate of another authority, the whole way: its
// first contact, heartbeats and a change to a new certificate.
func TestAnAgentWithACertificateOfAnotherAuthority(t *testing.T) {
	t.Parallel()
	o := newOtherCA(t)
	s := newSite(t, "SENTINEL_DEVICE_CA", "external", "SENTINEL_EXTERNAL_CA_FILES", filepath.Join(o.dir, "ca.pem"))
	a := &agent{t, filepath.Join(t.TempDir(), "state"), "edge-1"}
	certificate, key, code, first := o.issue("edge-1")
	files := []string{"--certificate-file", certificate, "--key-file", key}
	args := append([]string{"enroll", "--server", "https://" + s.address.String(), "--ca-fingerprint", s.CAFingerprint, "--fleet-root", s.RootDigest, "--device-id", "edge-1", "--wait", "1s"}, files...)
	if exit, out := a.run(args...); exit != 3 || !strings.Contains(out, code) {
		t.Fatalf("asking to enroll: exit code %d\n%s", exit, out)
	}
	if s.Count("devices", "1=1") != 0 {
		t.Fatal("it was let in")
	}
	s.reviewer.Approve(a.status().EnrollmentID)
	if exit, out := a.run(append([]string{"enroll"}, files...)...); exit != 0 {
		t.Fatalf("enrolling: exit code %d\n%s", exit, out)
	}
	if exit, out := a.run("run", "--once"); exit != 0 {
		t.Fatalf("a heartbeat: exit code %d\n%s", exit, out)
	}
	p := a.start(files...)
	s.rises("edge-1", 2)
	if s.Count("certificates", "device_id = 'edge-1' AND kind = 'device'") != 1 || s.Count("certificates", "fingerprint = ?", certs.Fingerprint(first.Raw)) != 1 {
		t.Error("another certificate was issued")
	}

	// The authority's tools put another key and certificate into the files.
	_, _, _, second := o.issue("edge-1")
	p.kill()
	p = a.start(files...) // the files are looked at when it starts, and every minute
	eventually(t, 20*time.Second, "it asks to go over to the new certificate", func() bool {
		return s.Count("identity_requests", "device_id = 'edge-1' AND state = 'pending' AND kind = 'outside'") == 1
	})
	s.rises("edge-1", 2) // with the one of before
	var page struct {
		Identity struct {
			Digest      string `json:"digest"`
			Certificate string `json:"certificate"`
		} `json:"identity_request"`
	}
	s.reviewer.Must("GET", "/api/devices/edge-1", nil, &page)
	if page.Identity.Certificate != certs.Fingerprint(second.Raw) {
		t.Errorf("the reviewer is shown %+v", page)
	}
	s.reviewer.Must("POST", "/api/devices/edge-1/identity-review", map[string]string{"decision": "approve", "digest": page.Identity.Digest, "reason": "test"}, nil)
	p.kill()
	a.start(files...)
	eventually(t, 20*time.Second, "it goes by the new certificate", func() bool {
		return s.Count("device_counters", "device_id = 'edge-1' AND fingerprint = ?", certs.Fingerprint(second.Raw)) == 1
	})
	s.rises("edge-1", 2)
	if s.Count("certificates", "fingerprint = ? AND revoked_reason = 'superseded'", certs.Fingerprint(first.Raw)) != 1 {
		t.Error("the one of before is still in force")
	}
}
