package deviceapi_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// surface is one of each: an enrolled device, one that waits, and a good body
// for every route that takes one.
type surface struct {
	*world
	device *servertest.Device
	bodies map[string][]byte // by pattern
	paths  map[string]string
}

func newSurface(t *testing.T, o servertest.Options) *surface {
	t.Helper()
	w := newWorld(t, "sqlite:", o)
	s := &surface{world: w, device: w.device("edge-1")}
	s.device.MustBeat()
	waiting := w.NewDevice("edge-2")
	if p, err := waiting.Ask(w.operator.EnrollToken(1)); p != nil || err != nil {
		t.Fatal(p, err)
	}
	poll := protocol.EnrollPoll{EnrollmentID: waiting.EnrollmentID, Nonce: "AAAA", CAFingerprint: w.CAFingerprint}
	s.bodies = map[string][]byte{
		protocol.PathEnroll:             encode(t, w.NewDevice("edge-3").Request(w.operator.EnrollToken(1))),
		protocol.EnrollPollPath("{id}"): sealPoll(t, waiting, poll),
		protocol.PathHeartbeat:          encode(t, s.device.Heartbeat()),
		protocol.PathRenew:              s.device.Wish(false).Body,

		protocol.PathAttestationChallenge: encode(t, claimOf(s.device)),
		protocol.PathAttestationEvidence:  encode(t, evidenceOf(s.device)),
	}
	s.paths = map[string]string{protocol.EnrollPollPath("{id}"): protocol.EnrollPollPath(waiting.EnrollmentID)}
	return s
}

func (s *surface) path(r httpkit.Route) string {
	if p, ok := s.paths[r.Pattern]; ok {
		return p
	}
	return r.Pattern
}

// DOS-01
func TestEveryRouteHoldsBodiesAndHeadsToTheirLimits(t *testing.T) {
	t.Parallel()
	s := newSurface(t, servertest.Options{})
	before := s.state()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	members := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"m%d":%d`, i, i)
		}
		return []byte("{" + b.String()[1:] + "}")
	}
	for _, r := range routes() {
		tr, what := s.device.Transport(), r.Method+" "+r.Pattern
		check := func(name string, c call, status int, code protocol.Code) {
			t.Helper()
			c.method, c.path = r.Method, s.path(r)+c.path
			if a := s.send(tr, c); a.status != status || a.problem.Code != code {
				t.Errorf("%s with %s: %d %s, want %d %s", what, name, a.status, a.problem.Code, status, code)
			}
		}
		check("a head over its limit", call{body: []byte("{}"), header: map[string]string{"X-Large": strings.Repeat("x", 32<<10)}}, 431, "not a problem")
		if r.MaxBody == 0 {
			check("a body where none goes", call{body: []byte("{}")}, 413, protocol.CodeTooLarge)
			continue
		}
		good := s.bodies[r.Pattern]
		if good == nil {
			t.Fatalf("%s: this test knows no body for it", what)
		}
		over := append(bytes.Clone(good), bytes.Repeat([]byte(" "), int(r.MaxBody)+1-len(good))...)
		check("a byte too many", call{body: over}, 413, protocol.CodeTooLarge)
		check("a byte too many, in chunks", call{body: over, chunked: true}, 413, protocol.CodeTooLarge)
		for _, media := range []string{"text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/json, text/plain", ";"} {
			check(media, call{body: good, header: map[string]string{"Content-Type": media}}, 415, httpkit.CodeMediaType)
		}
		check("gzip", call{body: bomb.Bytes(), header: map[string]string{"Content-Encoding": "gzip"}}, 415, httpkit.CodeMediaType)
		check("an unheard-of encoding", call{body: good, header: map[string]string{"Content-Encoding": "br"}}, 415, httpkit.CodeMediaType)
		for name, body := range map[string][]byte{
			"deep lists":             []byte(strings.Repeat("[", 3000) + strings.Repeat("]", 3000)),
			"deep objects":           []byte(strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)),
			"lists never closed":     bytes.Repeat([]byte("["), int(min(r.MaxBody, 8<<10))),
			"many members":           members(500),
			"a member twice":         append([]byte(`{"device_id":"a",`), good[1:]...),
			"an unknown member":      append([]byte(`{"is_admin":true,`), good[1:]...),
			"a second message":       append(bytes.Clone(good), good...),
			"a long number":          append(append([]byte(`{"protocol":`), bytes.Repeat([]byte("9"), 5000)...), '}'),
			"nothing":                {},
			"null":                   []byte("null"),
			"bytes that are no text": {0xff, 0xfe, 0, 1, 2},
			"UTF-16":                 []byte("\xff\xfe{\x00}\x00"),
		} {
			if len(body) > int(r.MaxBody) {
				continue
			}
			a := s.send(tr, call{method: r.Method, path: s.path(r), body: body})
			// JSON that is not the signed envelope of a poll is a poll that is not signed;
			// so with a renewal.
			unsigned := a.status == 403 && (r.Pattern == protocol.EnrollPollPath("{id}") && a.problem.Code == protocol.CodePollInvalid ||
				r.Pattern == protocol.PathRenew && a.problem.Code == protocol.CodeRenewalInvalid)
			if malformed := a.status == 400 && a.problem.Code == protocol.CodeMalformed; !malformed && !unsigned {
				t.Errorf("%s with %s: %d %s", what, name, a.status, a.problem.Code)
			}
		}
	}
	s.unchanged(before, "a body beyond the limits")
	s.device.MustBeat()
}

// REL-11
func TestNoBytesOfADeviceEndTheProcessOrHinderOthers(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := newSurface(t, servertest.Options{Log: &log})
	honest := s.world.device("honest")
	random := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for _, r := range routes() {
		good := s.bodies[r.Pattern]
		if good == nil {
			continue
		}
		for i := range 250 {
			a := s.send(s.device.Transport(), call{method: r.Method, path: s.path(r), body: mutate(random, good)})
			if a.status >= 500 && a.problem.Code != protocol.CodeEnrollFull {
				t.Errorf("%s %s, mutation %d: %d %s", r.Method, r.Pattern, i, a.status, a.problem.Code)
			}
			if tried++; i%50 == 0 {
				honest.MustBeat()
			}
		}
	}
	if tried < 750 {
		t.Errorf("%d requests only", tried)
	}
	for name, bytes := range map[string]string{
		"a body cut short":      "POST /api/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"proto",
		"a chunk cut short":     "POST /api/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
		"a chunk of no length":  "POST /api/enroll HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{",
		"two lengths":           "POST /api/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
		"a length and chunks":   "POST /api/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a negative length":     "POST /api/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"no host":               "POST /api/enroll HTTP/1.1\r\n\r\n",
		"a NUL in a header":     "POST /api/enroll HTTP/1.1\r\nHost: x\r\nX-A: \x00\r\n\r\n",
		"HTTP/2 without asking": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/9.9":              "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
		"a proxy's request":     "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"an absolute target":    "GET http://example.com/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"a request cut short":   "POST /api/he",
		"noise":                 strings.Repeat("\xff\x00", 500),
	} {
		conn, err := tls.Dial("tcp", s.Host(), s.tlsConfig(s.device.Chain, s.device.Key))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, _ = io.WriteString(conn, bytes)
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
		honest.MustBeat()
	}
	if text := log.String(); strings.Contains(text, "panic") {
		t.Errorf("a handler panicked:\n%s", text)
	}
}

// mutate changes a good body in one to four places.
func mutate(r *rand.Rand, good []byte) []byte {
	b := bytes.Clone(good)
	for range 1 + r.IntN(4) {
		if len(b) == 0 {
			return b
		}
		at := r.IntN(len(b))
		switch r.IntN(6) {
		case 0:
			b[at] = byte(r.IntN(256))
		case 1:
			b = b[:at]
		case 2:
			b = append(b[:at:at], b[min(at+1+r.IntN(8), len(b)):]...)
		case 3:
			b = append(b[:at:at], append([]byte(`{}[]",:0e-\`)[r.IntN(10):], b[at:]...)...)
		case 4:
			b = append(b[:at:at], append([]byte("99999999999999999999"), b[at:]...)...)
		case 5:
			b[at] ^= 1 << r.IntN(8)
		}
	}
	return b
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
