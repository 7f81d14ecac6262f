package deviceapi_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// ENR-02
func TestNoKindOfRequestThatIsNotKnownLeadsToACertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:", servertest.Options{})
	token, id := w.operator.EnrollToken(100), db.NewID(time.Now())
	request := w.NewDevice("edge-1").Request(token)
	good := encode(t, request)
	anyone := w.caller(nil, nil)
	before := w.state()

	known := map[string]bool{}
	paths := []string{
		"/", "/api", "/api/", "/api/enroll/", "//api/enroll", "/api//enroll", "/api/./enroll", "/api/x/../enroll", "/API/ENROLL", "/api/enroll%2F",
		"/api/enroll%00", "/api/enroll;a=b", "/api/enroll/" + id + "/", "/api/enroll/" + id + "/approve", "/api/enroll/" + id + "/issue", "/api/enroll/renew",
		"/api/enroll/" + id + "/certificate", "/api/renew", "/api/certificates", "/api/certificates/sign", "/api/devices", "/api/devices/edge-1", "/api/enroll-tokens",
		"/api/enrollments/" + id + "/review", "/api/admin/login", "/api/heartbeat/", "/api/v2/enroll", "/enroll", "/sign", "/scep", "/scep/pkiclient.exe?operation=PKIOperation",
		"/.well-known/est/simpleenroll", "/.well-known/est/simplereenroll", "/acme/new-order", "/1.0/sign", "/1.0/renew", "/1.0/revoke",
	}
	for _, r := range routes() {
		paths = append(paths, strings.ReplaceAll(r.Pattern, "{id}", id))
		known[r.Method+" "+strings.ReplaceAll(r.Pattern, "{id}", id)] = true
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "ENROLL", "RENEW", "post"}
	for _, path := range paths {
		for _, method := range methods {
			if known[method+" "+path] {
				continue
			}
			if a := w.send(anyone, call{method: method, path: path, body: good}); a.status < 400 || a.status >= 500 {
				t.Errorf("%s %s: %d", method, path, a.status)
			}
		}
	}
	w.unchanged(before, "an unknown path or method")

	// Known routes, with a kind, state or protocol that they do not have.
	bodies := map[string]string{}
	for _, member := range []string{
		"kind", "type", "state", "approved", "role", "renew", "reenroll", "certificate", "method", "op", "action", "message_type", "force", "admin", "is_admin",
		"owner", "labels", "sensitive", "not_after", "profile", "template", "ttl", "dns_names", "approval_id", "reviewer",
	} {
		for _, value := range []string{`"issued"`, "true", "1"} {
			bodies[member+"="+value] = strings.Replace(string(good), "{", fmt.Sprintf("{%q:%s,", member, value), 1)
		}
	}
	for _, p := range []string{"0", "2", "-1", `"1"`, "null", "1.5"} {
		bodies["protocol="+p] = strings.Replace(string(good), `"protocol":1`, `"protocol":`+p, 1)
	}
	for _, body := range []string{"null", "[]", `""`, "0", "{}", "[" + string(good) + "]", string(good) + string(good)} {
		bodies[body] = body
	}
	for name, body := range bodies {
		if a := w.send(anyone, call{path: protocol.PathEnroll, body: []byte(body)}); a.problem.Code != protocol.CodeMalformed {
			t.Errorf("enroll with %s: %d %s", name, a.status, a.problem.Code)
		}
		if a := w.send(anyone, call{path: protocol.EnrollPollPath(id), body: []byte(body)}); a.problem.Code != protocol.CodeEnrollUnknown {
			t.Errorf("poll with %s: %d %s", name, a.status, a.problem.Code)
		}
		if a := w.send(anyone, call{path: protocol.PathHeartbeat, body: []byte(body)}); a.problem.Code != protocol.CodeCertificateMissing {
			t.Errorf("heartbeat with %s: %d %s", name, a.status, a.problem.Code)
		}
	}
	w.unchanged(before, "an unknown kind")
	if w.Count("certificates", "kind = 'device'") != 0 {
		t.Error("a certificate was issued")
	}
	// The same request is a good one as soon as nothing is added to it.
	if a := w.send(anyone, call{path: protocol.PathEnroll, body: good}); a.status != 202 {
		t.Errorf("the request itself: %d %s", a.status, a.problem.Code)
	}
}

// request makes a certificate request with the given template and key.
func request(t *testing.T, template x509.CertificateRequest, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// token makes an enrollment token and tells its id too.
func (w *world) token(uses, seconds int) (id, secret string) {
	w.t.Helper()
	var out struct{ ID, Secret string }
	w.operator.Must("POST", "/api/enroll-tokens", map[string]any{"uses": uses, "life_seconds": seconds}, &out)
	return out.ID, out.Secret
}

func TestEveryReasonToRefuseAnEnrollmentHasItsCodeAndLeavesNothing(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		clock := newClock()
		w := newWorld(t, database, servertest.Options{Now: clock.now, Settings: map[string]string{"SENTINEL_MAX_PENDING_ENROLLMENTS": "1"}})
		usedUp := w.operator.EnrollToken(1)
		taken := w.Enroll("taken", usedUp, w.reviewer)
		w.device("gone")
		w.operator.Revoke("gone")
		revokedID, revoked := w.token(1, 3600)
		w.operator.Must("POST", "/api/enroll-tokens/"+revokedID+"/revoke", map[string]string{"reason": "test"}, nil)
		_, expired := w.token(1, 60)
		clock.advance(61 * time.Second)
		good := w.operator.EnrollToken(5)

		name := func(n string) x509.CertificateRequest {
			return x509.CertificateRequest{Subject: pkix.Name{CommonName: n}}
		}
		named := func(change func(*x509.CertificateRequest)) x509.CertificateRequest {
			c := name("edge-1")
			change(&c)
			return c
		}
		elliptical := func(c elliptic.Curve) crypto.Signer {
			key, err := ecdsa.GenerateKey(c, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
		p256 := elliptical(elliptic.P256())
		weak := map[string]crypto.Signer{"P-224": elliptical(elliptic.P224()), "P-521": elliptical(elliptic.P521())}
		for _, bits := range []int{1024, 2048} {
			key, err := rsa.GenerateKey(rand.Reader, bits)
			if err != nil {
				t.Fatal(err)
			}
			weak[fmt.Sprintf("RSA-%d", bits)] = key
		}
		spiffe, err := url.Parse("spiffe://sentinel.internal/device/taken")
		if err != nil {
			t.Fatal(err)
		}
		broken := request(t, name("edge-1"), p256)
		broken[len(broken)-1] ^= 1

		type refusal struct {
			device, token string
			csr           []byte
			want          protocol.Code
		}
		csr := request(t, name("edge-1"), p256)
		cases := map[string]refusal{
			"an unknown token":              {"edge-1", strings.Repeat("x", 40), csr, protocol.CodeTokenUnknown},
			"a token with one letter wrong": {"edge-1", flip(good), csr, protocol.CodeTokenUnknown},
			"a token in other letters":      {"edge-1", strings.ToUpper(good), csr, protocol.CodeTokenUnknown},
			"a token that is used up":       {"edge-1", usedUp, csr, protocol.CodeTokenUsedUp},
			"a token that has expired":      {"edge-1", expired, csr, protocol.CodeTokenExpired},
			"a token that was revoked":      {"edge-1", revoked, csr, protocol.CodeTokenRevoked},
			"no token":                      {"edge-1", "", csr, protocol.CodeMalformed},
			"a token that is too long":      {"edge-1", strings.Repeat("x", protocol.MaxToken+1), csr, protocol.CodeMalformed},
			"a device that is there":        {"taken", good, request(t, name("taken"), p256), protocol.CodeDeviceExists},
			"a device that was revoked":     {"gone", good, request(t, name("gone"), p256), protocol.CodeDeviceGone},
			"another device's name":         {"edge-1", good, request(t, name("taken"), p256), protocol.CodeWrongName},
			"no name":                       {"edge-1", good, request(t, name(""), p256), protocol.CodeWrongName},
			"its name in capitals":          {"edge-1", good, request(t, name("EDGE-1"), p256), protocol.CodeWrongName},
			"a device_id in capitals":       {"Taken", good, request(t, name("Taken"), p256), protocol.CodeMalformed},
			"a device_id that looks alike":  {"tаken", good, request(t, name("tаken"), p256), protocol.CodeMalformed},
			"a broken signature":            {"edge-1", good, broken, protocol.CodeCSRSignature},
			"no request":                    {"edge-1", good, nil, protocol.CodeMalformed},
			"bytes that are no request":     {"edge-1", good, []byte("0123456789"), protocol.CodeCSRMalformed},
			"a request cut short":           {"edge-1", good, csr[:len(csr)-5], protocol.CodeCSRMalformed},
			"a request with bytes after it": {"edge-1", good, append(slices.Clone(csr), 0), protocol.CodeCSRMalformed},
			"a certificate as a request":    {"edge-1", good, taken.Chain[0], protocol.CodeCSRMalformed},
			"a DNS name beside its own": {"edge-1", good, request(t, named(func(c *x509.CertificateRequest) { c.DNSNames = []string{"localhost"} }), p256),
				protocol.CodeExtraNames},
			"an address beside its name": {"edge-1", good, request(t, named(func(c *x509.CertificateRequest) { c.IPAddresses = []net.IP{{127, 0, 0, 1}} }), p256),
				protocol.CodeExtraNames},
			"another's URI beside its name": {"edge-1", good, request(t, named(func(c *x509.CertificateRequest) { c.URIs = []*url.URL{spiffe} }), p256),
				protocol.CodeExtraNames},
			"an organization beside its name": {"edge-1", good, request(t, named(func(c *x509.CertificateRequest) { c.Subject.Organization = []string{"admins"} }), p256),
				protocol.CodeExtraNames},
		}
		for kind, key := range weak {
			cases["a key of "+kind] = refusal{"edge-1", good, request(t, name("edge-1"), key), protocol.CodeWeakKey}
		}

		before, anyone := w.state(), w.caller(nil, nil)
		for what, c := range cases {
			r := protocol.EnrollRequest{Protocol: protocol.Version, EnrollmentID: db.NewID(time.Now()), DeviceID: c.device, Token: c.token, CSR: c.csr}
			a := w.send(anyone, call{path: protocol.PathEnroll, body: encode(t, r)})
			if a.problem.Code != c.want || a.status < 400 || a.status >= 500 {
				t.Errorf("%s: %d %s, want %s", what, a.status, a.problem.Code, c.want)
			}
			w.unchanged(before, what)
		}

		// One waits, and there is no room for a second.
		waiting := w.NewDevice("edge-1")
		asked := encode(t, waiting.Request(good))
		if a := w.send(anyone, call{path: protocol.PathEnroll, body: asked}); a.status != 202 {
			t.Fatalf("a good request: %d %s", a.status, a.problem.Code)
		}
		before = w.state()
		a := w.send(anyone, call{path: protocol.PathEnroll, body: encode(t, w.NewDevice("edge-2").Request(good))})
		if a.problem.Code != protocol.CodeEnrollFull || a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("one too many: %d %s", a.status, a.problem.Code)
		}
		// Asking again is the same request; with another key it is another's.
		other := w.NewDevice("edge-1")
		other.EnrollmentID = waiting.EnrollmentID
		if p, err := other.Ask(good); err != nil || p == nil || p.Code != protocol.CodeEnrollConflict {
			t.Errorf("another request under the same enrollment_id: %v %v", p, err)
		}
		w.unchanged(before, "a request beyond the limit, or in another's name")
		var answer protocol.EnrollAnswer
		a = w.send(anyone, call{path: protocol.PathEnroll, body: asked}) // ENR-13: the answer was lost
		if err := json.Unmarshal(a.body, &answer); err != nil || a.status != 202 {
			t.Fatalf("the same request again: %d %s %v", a.status, a.problem.Code, err)
		}
		for what, c := range map[string]struct {
			poll protocol.EnrollPoll
			want protocol.Code
		}{
			"another server CA":  {protocol.EnrollPoll{EnrollmentID: answer.EnrollmentID, Nonce: answer.Nonce, CAFingerprint: strings.Repeat("0", 64)}, protocol.CodeCAMismatch},
			"a nonce of nowhere": {protocol.EnrollPoll{EnrollmentID: answer.EnrollmentID, Nonce: "AAAA", CAFingerprint: w.CAFingerprint}, protocol.CodeNonceStale},
			"another enrollment": {protocol.EnrollPoll{EnrollmentID: taken.EnrollmentID, Nonce: answer.Nonce, CAFingerprint: w.CAFingerprint}, protocol.CodePollInvalid},
		} {
			if a := w.send(anyone, call{path: protocol.EnrollPollPath(answer.EnrollmentID), body: sealPoll(t, waiting, c.poll)}); a.problem.Code != c.want {
				t.Errorf("a poll with %s: %d %s, want %s", what, a.status, a.problem.Code, c.want)
			}
		}
		w.unchanged(before, "the same request again, and polls that are wrong")
	})
}

// sealPoll signs a poll with the device's key.
func sealPoll(t *testing.T, d *servertest.Device, poll protocol.EnrollPoll) []byte {
	t.Helper()
	signer, err := signing.NewSigner(signing.PurposeEnrollPoll, d.Key)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := signing.Seal(t.Context(), signing.PurposeEnrollPoll, encode(t, poll), signer)
	if err != nil {
		t.Fatal(err)
	}
	body, err := envelope.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func flip(s string) string {
	last := s[len(s)-1]
	if last == 'a' {
		return s[:len(s)-1] + "b"
	}
	return s[:len(s)-1] + "a"
}
