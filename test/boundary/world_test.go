//go:build boundary

package boundary

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// state is how a certificate stands.
type state struct {
	name    string
	word    string // the reason, as whoever revokes writes it; "" when it is not revoked
	code    int    // of the reason (RFC 5280 section 5.3.1)
	expired bool
	unknown bool // signed by the authority, and not on record
}

func (s state) revoked() bool { return s.word != "" }

var states = []state{
	{name: "good"},
	{name: "lost", word: "lost in the train", code: 0},
	{name: "keyCompromise", word: "keyCompromise: stolen", code: 1},
	{name: "cACompromise", word: "cACompromise", code: 2},
	{name: "affiliationChanged", word: "affiliationChanged", code: 3},
	{name: "superseded", word: "superseded", code: 4},
	{name: "cessationOfOperation", word: "cessationOfOperation", code: 5},
	{name: "privilegeWithdrawn", word: "privilegeWithdrawn", code: 9},
	{name: "aACompromise", word: "aACompromise", code: 10},
	{name: "unused", word: "unused", code: 5},
	{name: "restored", word: "restored", code: 5},
	{name: "unspecified", word: "unspecified", code: 0},
	{name: "expired", expired: true},
	{name: "revoked and expired", word: "keyCompromise", code: 1, expired: true},
	{name: "unknown", unknown: true},
}

// subject is a certificate with how it stands, in a file for programs.
type subject struct {
	state

	leaf *x509.Certificate
	file string
	ca   *authority

	device string // "" when no device has it
}

// authority is an issuing authority in files for programs.
type authority struct {
	cert *x509.Certificate
	file string // it alone
	name string // of its list
}

type world struct {
	*testing.T
	*servertest.Server
	dir                string
	operator, reviewer *servertest.Person
	root               string // its file
	n                  int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), Server: servertest.Start(t, servertest.Options{Settings: map[string]string{"SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL": "false"}})}
	w.operator, w.reviewer = w.Person("olivia", "operator"), w.Person("ben", "approver")
	der, err := os.ReadFile(filepath.Join(w.Dir, "keys", "certificate-root.der"))
	w.must(err)
	w.root = w.write("root.pem", "CERTIFICATE", der)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) write(name, kind string, der []byte) string {
	w.Helper()
	path := filepath.Join(w.dir, name)
	w.must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

// authority is the one that issues to devices now.
func (w *world) authority() *authority {
	w.Helper()
	ca := w.DeviceCA().Certificate
	name := certs.Fingerprint(ca.Raw)
	return &authority{ca, w.write(name[:8]+".pem", "CERTIFICATE", ca.Raw), name}
}

func (w *world) subject(ca *authority, s state, der []byte) *subject {
	w.Helper()
	leaf, err := x509.ParseCertificate(der)
	w.must(err)
	w.n++
	return &subject{state: s, leaf: leaf, file: w.write(fmt.Sprintf("leaf-%03d.pem", w.n), "CERTIFICATE", der), ca: ca}
}

// enrolled comes by the whole way: enrollment, and revocation by a person, or the
// first use of the certificate after it.
func (w *world) enrolled(ca *authority, s state) *subject {
	w.Helper()
	d := w.NewDevice(fmt.Sprintf("edge-%d", w.n))
	if p, err := d.Ask(w.operator.EnrollToken(1)); p != nil || err != nil {
		w.Fatal(p, err)
	}
	if _, p, err := d.Poll(); p != nil || err != nil {
		w.Fatal(p, err)
	}
	d.MustBeat()
	got := w.subject(ca, s, d.Chain[0])
	got.device = d.ID
	switch {
	case s.name == "superseded":
		if _, p, err := d.Renew(); p != nil || err != nil {
			w.Fatal(p, err)
		}
		d.MustBeat()
	case s.revoked():
		w.operator.Must("POST", "/api/devices/"+d.ID+"/certificate/revoke", map[string]string{"reason": s.word}, nil)
	}
	d.Hangup()
	return got
}

// recorded is signed by the authority's key and put on record behind the server's
// back, so that there are many, and of the past.
func (w *world) recorded(ca *authority, s state) *subject {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	now := time.Now()
	id := fmt.Sprintf("past-%d", w.n)
	t := certs.DeviceTemplate{DeviceID: id, TrustDomain: "sentinel.internal", PublicKey: key.Public()}
	t.NotBefore, t.NotAfter = certs.Validity(now.Add(-30*time.Minute), 24*time.Hour)
	if s.expired { // a little ago: it is still on the list
		t.NotBefore, t.NotAfter = certs.Validity(now.Add(-30*time.Minute), 29*time.Minute)
	}
	der, err := certs.IssueDevice(w.DeviceCA(), t)
	w.must(err)
	got := w.subject(ca, s, der)
	if s.unknown {
		return got
	}
	revokedAt := int64(0)
	if s.revoked() {
		revokedAt = now.Add(-10 * time.Minute).UnixMicro()
	}
	w.Exec(`INSERT INTO certificates (fingerprint, serial, kind, device_id, enrollment_id, authority_id, der, not_before, not_after, issued_at, revoked_at, revoked_reason, key_digest)
		SELECT ?, ?, 'device', ?, 'e', id, ?, ?, ?, ?, ?, ?, '' FROM authorities WHERE kind = 'device' AND state = 'active'`,
		certs.Fingerprint(der), got.leaf.SerialNumber.Text(16), id, der, t.NotBefore.UnixMicro(), t.NotAfter.UnixMicro(), t.NotBefore.UnixMicro(), revokedAt, s.word)
	return got
}

// get fetches a path of the people side.
func (w *world) get(path string) (int, []byte) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.PeopleURL+path, nil)
	w.must(err)
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp.StatusCode, body
}

// list waits until an authority's list has so many entries, and leaves it in files.
func (w *world) list(name string, entries int) (crl *x509.RevocationList, derFile, pemFile string) {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, der := w.get("/crl/" + name + ".crl")
		if status == http.StatusOK {
			var err error
			crl, err = x509.ParseRevocationList(der)
			w.must(err)
			if len(crl.RevokedCertificateEntries) == entries {
				derFile = filepath.Join(w.dir, name+".crl")
				w.must(os.WriteFile(derFile, der, 0o600))
				return crl, derFile, w.write(name+".crl.pem", "X509 CRL", der)
			}
		}
		if time.Now().After(deadline) {
			w.Fatalf("the list %s: %d, %d octets, not %d entries", name, status, len(der), entries)
		}
	}
}

// run runs a program and returns all that it said; its exit code is part of that.
func (w *world) run(program string, args ...string) string {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), program, args...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		w.Fatalf("%s: %v", program, err)
	}
	return string(out)
}

// each does something with every subject, a few at a time.
func each(list []*subject, do func(s *subject)) {
	var at sync.WaitGroup
	work := make(chan *subject)
	for range 4 {
		at.Go(func() {
			for s := range work {
				do(s)
			}
		})
	}
	for _, s := range list {
		work <- s
	}
	close(work)
	at.Wait()
}

func concat(paths ...string) (string, error) {
	var all strings.Builder
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return "", err
		}
		all.Write(data)
	}
	return all.String(), nil
}
