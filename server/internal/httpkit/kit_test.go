package httpkit

import (
	"context"
	"crypto/tls"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func TestEveryCodeIsInTheGuideForTrouble(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for line := range strings.Lines(string(guide)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || cells[0] != "" { // not a row that says what a code means
			continue
		}
		for _, code := range strings.Split(cells[1], ",") {
			told[strings.TrimSpace(code)] = true
		}
	}
	for code := range codes {
		if !told["`"+string(code)+"`"] {
			t.Errorf("docs/troubleshooting.md has no row for %s", code)
		}
	}
}

func TestEveryCodeOfTheProtocolHasItsStatus(t *testing.T) {
	t.Parallel()
	declared := map[protocol.Code]bool{}
	for _, path := range []string{filepath.Join("..", "..", "..", "shared", "protocol", "problem.go"), "codes.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || len(spec.Names[0].Name) < 5 || spec.Names[0].Name[:4] != "Code" {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				value, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				declared[protocol.Code(value)] = true
			}
			return true
		})
	}
	if len(declared) < 40 {
		t.Fatalf("only %d codes found", len(declared))
	}
	for code := range declared {
		if m, ok := codes[code]; !ok || m.title == "" || m.status < 400 {
			t.Errorf("%s has no status and title", code)
		}
	}
	for code := range codes {
		if !declared[code] {
			t.Errorf("%s is in the table only", code)
		}
	}
}

func TestAnUnknownCodeIsInternalAndKeepsItsTextInside(t *testing.T) {
	t.Parallel()
	p := NewProblem(context.Background(), "made-up", "the inner text")
	if p.Code != protocol.CodeInternal || p.Status != 500 || p.Detail != "" {
		t.Fatalf("got %+v", p)
	}
}

// ADM-04
func TestTheSourceIsThePeerWhateverHeadersSay(t *testing.T) {
	t.Parallel()
	for peer, want := range map[string][2]string{
		"192.0.2.7:4711":                    {"192.0.2.7", "192.0.2.7"},
		"[::ffff:192.0.2.7]:4711":           {"192.0.2.7", "192.0.2.7"},
		"[2001:db8:1:2:aaaa:bbbb:cc:1]:443": {"2001:db8:1:2:aaaa:bbbb:cc:1", "2001:db8:1:2::/64"},
		"[fe80::1%eth0]:443":                {"fe80::1", "fe80::/64"},
		"@":                                 {"local", "local"},
		"":                                  {"local", "local"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		for _, h := range []string{"X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "Forwarded", "X-Client-IP", "Client-IP"} {
			r.Header.Set(h, "203.0.113.99")
		}
		if got := [2]string{Source(r), sourceKey(r)}; got != want {
			t.Errorf("%q: got %v, want %v", peer, got, want)
		}
	}
}

func TestTheLimiterCountsSourcesApart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l, err := NewLimiter(2, 5, 100, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	k := NewMux(Options{Limiter: l, Now: func() time.Time { return now }})
	k.Handle(Route{Method: "GET", Pattern: "/", Policy: Anonymous}, text("x"))
	send := func(peer, forged string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-For", forged)
		w := httptest.NewRecorder()
		k.ServeHTTP(w, r)
		return w
	}
	for i := range 8 {
		w := send(fmt.Sprintf("[2001:db8::%d]:1", i), fmt.Sprintf("203.0.113.%d", i)) // all of one /64
		if (w.Code == http.StatusTooManyRequests) != (i >= 5) {
			t.Errorf("request %d: %d", i+1, w.Code)
		}
		if w.Code == http.StatusTooManyRequests && (w.Header().Get("Retry-After") != "1" || problem(t, w).Code != protocol.CodeRateLimited) {
			t.Errorf("request %d: %v", i+1, w.Header())
		}
	}
	if w := send("[2001:db8:0:1::1]:1", ""); w.Code != 200 {
		t.Errorf("another source: %d", w.Code)
	}
	now = now.Add(500 * time.Millisecond)
	if w := send("[2001:db8::1]:1", ""); w.Code != 200 {
		t.Errorf("half a second later: %d", w.Code)
	}
	for i := range 1000 {
		send(fmt.Sprintf("10.0.%d.%d:1", i/250, i%250), "")
	}
	if n := l.sources.Len(); n > 100 {
		t.Errorf("%d sources remembered", n)
	}
}

func TestRetryAfterIsWholeSecondsAndNeverZero(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60"} {
		if got := RetryAfter(after); got != want {
			t.Errorf("%v: %s, want %s", after, got, want)
		}
	}
}

// DOS-04
func TestNoServerIsWithoutALimit(t *testing.T) {
	t.Parallel()
	s := NewServer(text("x"), &tls.Config{MinVersion: tls.VersionTLS13}, Limits{Idle: 5 * time.Minute})
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout != 5*time.Minute ||
		s.MaxHeaderBytes != 16<<10 || s.HTTP2.MaxConcurrentStreams <= 0 || s.TLSConfig == nil {
		t.Fatalf("got %+v", s)
	}
}

func TestAHeadOverItsLimitIsRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(text("x"), nil, Limits{})
	server.Start()
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		r.Header.Add("X-Many", fmt.Sprintf("%01000d", 7))
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Fatalf("got %d", resp.StatusCode)
	}
}
