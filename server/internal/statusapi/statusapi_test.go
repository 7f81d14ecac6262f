package statusapi_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// teller is a running server that is asked about certificates.
type teller struct {
	*testing.T
	*servertest.Server
	operator, reviewer *servertest.Person

	mu  sync.Mutex
	now time.Time
}

func newTeller(t *testing.T) *teller {
	t.Helper()
	w := &teller{T: t, now: time.Now().Truncate(time.Second)}
	w.Server = servertest.Start(t, servertest.Options{Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }})
	w.operator, w.reviewer = w.Person("olivia", "operator"), w.Person("ben", "approver")
	return w
}

func (w *teller) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

type said struct {
	*http.Response
	body []byte
}

func (w *teller) get(path string, headers ...string) said {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.PeopleURL+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return w.do(r)
}

func (w *teller) post(body []byte, media string) said {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.PeopleURL+"/ocsp", bytes.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", media)
	return w.do(r)
}

func (w *teller) do(r *http.Request) said {
	w.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return said{resp, body}
}

// list waits until a list has so many entries.
func (w *teller) list(name string, entries int) (*x509.RevocationList, said) {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s := w.get("/crl/" + name + ".crl")
		if s.StatusCode == http.StatusOK {
			crl, err := x509.ParseRevocationList(s.body)
			if err != nil {
				w.Fatal(err)
			}
			if len(crl.RevokedCertificateEntries) == entries {
				return crl, s
			}
		}
		if time.Now().After(deadline) {
			w.Fatalf("%s: %d, %d octets", name, s.StatusCode, len(s.body))
		}
	}
}

func question(t *testing.T, leaf, ca *x509.Certificate, hash crypto.Hash) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(leaf, ca, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestARevocationIsToldAtOnceByListAndAnswer(t *testing.T) {
	t.Parallel()
	w := newTeller(t)
	d := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	leaf, err := x509.ParseCertificate(d.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	ca := w.DeviceCA().Certificate
	first, answer := w.list("device", 0)
	if h := answer.Header; h.Get("Content-Type") != "application/pkix-crl" || h.Get("Cache-Control") != "public, no-transform, must-revalidate, max-age=60" || h.Get("ETag") == "" || h.Get("Last-Modified") == "" || h.Get("Expires") == "" {
		t.Errorf("headers %v", h)
	}
	if again := w.get("/crl/device.crl", "If-None-Match", `"other", `+answer.Header.Get("ETag")); again.StatusCode != http.StatusNotModified || len(again.body) != 0 {
		t.Errorf("asked with its tag: %d, %d octets", again.StatusCode, len(again.body))
	}
	asked := question(t, leaf, ca, crypto.SHA256)
	path := "/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(asked))
	tell := func(s said) *ocsp.Response {
		t.Helper()
		if s.StatusCode != http.StatusOK || s.Header.Get("Content-Type") != "application/ocsp-response" {
			t.Fatalf("answered %d %v %q", s.StatusCode, s.Header, s.body)
		}
		r, err := ocsp.ParseResponseForCert(s.body, leaf, ca)
		if err != nil {
			t.Fatalf("%x: %v", s.body, err)
		}
		return r
	}
	byGet, byPost := w.get(path), w.post(asked, "application/ocsp-request")
	if tell(byGet).Status != ocsp.Good || tell(byPost).Status != ocsp.Good || !bytes.Equal(byGet.body, byPost.body) {
		t.Error("not good, or not the same answer")
	}
	if h := byGet.Header; h.Get("Cache-Control") != "public, no-transform, must-revalidate, max-age=60" || h.Get("ETag") == "" {
		t.Errorf("headers %v", h)
	}
	if again := w.get(path, "If-None-Match", byGet.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("asked with its tag: %d", again.StatusCode)
	}
	if h := byPost.Header; h.Get("Cache-Control") != "no-store" || h.Get("ETag") != "" {
		t.Errorf("headers %v", h)
	}

	w.operator.Must("POST", "/api/devices/edge-1/certificate/revoke", map[string]string{"reason": "keyCompromise: stolen"}, nil)
	if r := tell(w.get(path, "If-None-Match", byGet.Header.Get("ETag"))); r.Status != ocsp.Revoked || r.RevocationReason != ocsp.KeyCompromise {
		t.Errorf("after its revocation: %+v", r)
	}
	second, _ := w.list("device", 1)
	if e := second.RevokedCertificateEntries[0]; e.SerialNumber.Cmp(leaf.SerialNumber) != 0 || e.ReasonCode != 1 || second.Number.Cmp(first.Number) <= 0 {
		t.Errorf("the list: %+v", e)
	}
	for _, name := range []string{"root", "server"} {
		w.list(name, 0)
	}
	for _, path := range []string{"/crl/none.crl", "/crl/device", "/crl/.crl", "/crl/device.crl/x", "/crl/"} {
		if s := w.get(path); s.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, s.StatusCode)
		}
	}
}

func TestWhatIsNoQuestionIsToldSoAndLimited(t *testing.T) {
	t.Parallel()
	w := newTeller(t)
	for name, c := range map[string]struct {
		got    said
		status int
		body   []byte
	}{
		"no base64":           {w.get("/ocsp/%25"), 200, status.Malformed},
		"base64 of nothing":   {w.get("/ocsp/AAAA"), 200, status.Malformed},
		"base64 for URLs":     {w.get("/ocsp/_-8"), 200, status.Malformed},
		"a body of none":      {w.post(nil, "application/ocsp-request"), 200, status.Malformed},
		"a body of another":   {w.post([]byte("x"), "application/ocsp-request"), 200, status.Malformed},
		"another media type":  {w.post([]byte("x"), "application/json"), 415, nil},
		"too long":            {w.post(make([]byte, status.MaxQuestion+1), "application/ocsp-request"), 413, nil},
		"too long, in a path": {w.get("/ocsp/" + strings.Repeat("A", 4*status.MaxQuestion)), 413, nil},
		"another's authority": {w.post(strangers(t), "application/ocsp-request"), 200, status.Unauthorized},
	} {
		if c.got.StatusCode != c.status || c.body != nil && !bytes.Equal(c.got.body, c.body) || c.got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %x", name, c.got.StatusCode, c.got.Header, c.got.body)
		}
	}
}

// strangers is a question about another fleet's authority.
func strangers(t *testing.T) []byte {
	t.Helper()
	der, err := (&ocsp.Request{HashAlgorithm: crypto.SHA1, IssuerNameHash: make([]byte, 20), IssuerKeyHash: make([]byte, 20), SerialNumber: big.NewInt(1)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// REV-02: a list that has run out makes the server not ready; one that is old warns.
func TestReadinessFailsWhenAListHasRunOut(t *testing.T) {
	t.Parallel()
	w := newTeller(t)
	w.list("device", 0)
	ready := func() (bool, string) {
		t.Helper()
		s := w.get("/api/health/ready")
		_, of, _ := strings.Cut(string(s.body), `{"name":"revocation-lists"`)
		of, _, _ = strings.Cut(of, "}")
		return s.StatusCode == http.StatusOK, of
	}
	if ok, why := ready(); !ok || strings.Contains(why, "reason") {
		t.Fatalf("at first: %t %s", ok, why)
	}
	// The database refuses new lists; everything else goes on.
	w.Exec("CREATE TRIGGER no_lists BEFORE UPDATE ON revocation_lists BEGIN SELECT RAISE(ABORT, 'no'); END")
	w.later(40 * time.Minute)
	waitFor(t, func() bool { ok, why := ready(); return ok && strings.Contains(why, "could not be made in time") })
	w.later(21 * time.Minute)
	waitFor(t, func() bool { ok, why := ready(); return !ok && strings.Contains(why, "has run out") })
	w.Exec("DROP TRIGGER no_lists")
	waitFor(t, func() bool { w.later(time.Second); ok, _ := ready(); return ok })
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !what(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come")
		}
	}
}

// The switch, as devices and people meet it: a code of its own, and when to come back.
func TestAStopIsToldToDevicesAndPeople(t *testing.T) {
	t.Parallel()
	w := newTeller(t)
	security := w.Person("sam", "security")
	d, joins := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer), w.NewDevice("edge-2")
	d.MustBeat()
	if p, err := joins.Ask(w.operator.EnrollToken(1)); p != nil || err != nil {
		t.Fatal(p, err)
	}
	w.reviewer.Approve(joins.EnrollmentID)
	w.operator.Must("POST", "/api/ca/stop-issuing", map[string]string{"reason": "a fault"}, nil)
	if _, p, err := d.Renew(); err != nil || p == nil || p.Code != protocol.CodeIssuingStopped || p.Status != http.StatusServiceUnavailable {
		t.Errorf("a renewal: %v %v", p, err)
	}
	if _, p, err := joins.Poll(); err != nil || p == nil || p.Code != protocol.CodeIssuingStopped {
		t.Errorf("an enrollment: %v %v", p, err)
	}
	d.MustBeat()
	waitFor(t, func() bool {
		w.later(time.Second)
		s := w.get("/api/health/ready")
		return s.StatusCode == http.StatusOK && strings.Contains(string(s.body), "issuing certificates was stopped")
	})
	var ca struct {
		Issuing struct {
			Stopped bool `json:"stopped"`
			Start   struct {
				ID     string `json:"id"`
				Digest string `json:"digest"`
			} `json:"start"`
		} `json:"issuing"`
		Lists []any `json:"revocation_lists"`
	}
	security.Must("POST", "/api/ca/start-issuing", map[string]string{"reason": "mended"}, nil)
	w.reviewer.Must("GET", "/api/ca", nil, &ca)
	if !ca.Issuing.Stopped || len(ca.Lists) != 3 {
		t.Errorf("it stands as %+v", ca)
	}
	w.reviewer.Must("POST", "/api/approvals/"+ca.Issuing.Start.ID+"/review", map[string]string{"decision": "approve", "digest": ca.Issuing.Start.Digest, "reason": "seen"}, nil)
	if _, p, err := d.Renew(); err != nil || p != nil {
		t.Errorf("a renewal after it: %v %v", p, err)
	}
	if _, p, err := joins.Poll(); err != nil || p != nil {
		t.Errorf("an enrollment after it: %v %v", p, err)
	}
}
