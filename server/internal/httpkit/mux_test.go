package httpkit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// kit is a mux with a few routes, its log and its metrics.
type kit struct {
	*Mux
	log bytes.Buffer
	reg *prometheus.Registry
}

func newKit(t testing.TB) *kit {
	t.Helper()
	k := &kit{reg: prometheus.NewRegistry()}
	metrics, err := NewMetrics(k.reg)
	if err != nil {
		t.Fatal(err)
	}
	k.Mux = NewMux(Options{
		Surface: "people", Metrics: metrics, Log: slog.New(slog.NewJSONHandler(&k.log, nil)),
		Guards: Guards{KindMonitoring: MonitoringGuard([]byte("monitoring canary"))},
	})
	k.Handle(Route{Method: "GET", Pattern: "/open", Policy: Anonymous}, text("open"))
	k.Handle(Route{Method: "GET", Pattern: "/things/{id}", Policy: Anonymous}, text("thing"))
	k.Handle(Route{Method: "GET", Pattern: "/metrics", Policy: MonitoringToken}, text("metrics"))
	k.Handle(Route{Method: "POST", Pattern: "/echo", Policy: Anonymous, MaxBody: 10}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	k.Handle(Route{Method: "GET", Pattern: "/panic", Policy: Anonymous}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("unexpected value")
	}))
	k.Handle(Route{Method: "GET", Pattern: "/late-panic", Policy: Anonymous}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("begun"))
		panic("unexpected value")
	}))
	return k
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

func (k *kit) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	return w
}

// problem checks that an answer is a problem of ours and returns it.
func problem(t testing.TB, w *httptest.ResponseRecorder) protocol.Problem {
	t.Helper()
	var p protocol.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != ProblemMediaType {
		t.Fatalf("%d %s is no problem: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	if p.Status != w.Code || p.Title == "" || p.Type != protocol.ProblemType+string(p.Code) || p.Instance != "urn:uuid:"+w.Header().Get("X-Request-ID") {
		t.Errorf("the problem does not agree with its answer: %d %+v", w.Code, p)
	}
	return p
}

// RBA-01, CMD-14
func TestARouteThatNobodyGuardsCannotBeRegistered(t *testing.T) {
	t.Parallel()
	for name, route := range map[string]Route{
		"no policy":                           {Method: "GET", Pattern: "/x"},
		"a policy without a guard here":       {Method: "GET", Pattern: "/x", Policy: Device},
		"a permission without a guard here":   {Method: "GET", Pattern: "/x", Policy: Need(authz.DeviceRead)},
		"a permission that does not exist":    {Method: "GET", Pattern: "/x", Policy: Need("device:everything")},
		"no method, and so every method":      {Pattern: "/x", Policy: Anonymous},
		"a host instead of a path":            {Method: "GET", Pattern: "example.com/x", Policy: Anonymous},
		"a route that is there already":       {Method: "GET", Pattern: "/open", Policy: Anonymous},
		"a body limit that is not a number":   {Method: "POST", Pattern: "/x", Policy: Anonymous, MaxBody: -1},
		"a route that another would shadow":   {Method: "GET", Pattern: "/{any}/things", Policy: Anonymous},
		"a route with a broken path variable": {Method: "GET", Pattern: "/x/{id", Policy: Anonymous},
	} {
		k := newKit(t)
		before := len(k.Routes())
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: registered", name)
				}
			}()
			k.Handle(route, text("x"))
		}()
		if len(k.Routes()) != before {
			t.Errorf("%s: listed", name)
		}
	}
}

func TestEveryAnswerCarriesItsHeadersAndAnIDOfOurOwn(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	uuid7 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, path := range []string{"/open", "/nowhere", "/panic", "/metrics"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-Request-ID", "00000000-0000-7000-8000-000000000000")
		h := k.do(r).Header()
		if id := h.Get("X-Request-ID"); !uuid7.MatchString(id) || strings.HasPrefix(id, "00000000") {
			t.Errorf("%s: id %q", path, id)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
	}
}

func TestWhatIsNotThereIsRefusedAsAProblem(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	for name, c := range map[string]struct {
		method, target string
		code           protocol.Code
		status         int
	}{
		"an unknown path":          {"GET", "/nowhere", protocol.CodeNotFound, 404},
		"a path below a route":     {"GET", "/open/x", protocol.CodeNotFound, 404},
		"a path to be cleaned":     {"GET", "//open", protocol.CodeNotFound, 404},
		"a path with dots":         {"GET", "/x/../open", protocol.CodeNotFound, 404},
		"a slash too many":         {"GET", "/open/", protocol.CodeNotFound, 404},
		"another case":             {"GET", "/Open", protocol.CodeNotFound, 404},
		"an empty path variable":   {"GET", "/things/", protocol.CodeNotFound, 404},
		"another method":           {"POST", "/open", CodeMethod, 405},
		"a method that is made up": {"BREW", "/open", CodeMethod, 405},
		"a cross-site preflight":   {"OPTIONS", "/echo", CodeMethod, 405},
	} {
		w := k.do(httptest.NewRequest(c.method, c.target, nil))
		if p := problem(t, w); p.Code != c.code || w.Code != c.status {
			t.Errorf("%s: %d %s", name, w.Code, p.Code)
		}
		if w.Code == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s: no Allow", name)
		}
	}
}

// REL-11
func TestAPanicCostsOneRequest(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	w := k.do(httptest.NewRequest(http.MethodGet, "/panic", nil))
	if p := problem(t, w); p.Code != protocol.CodeInternal || strings.Contains(w.Body.String(), "unexpected value") {
		t.Errorf("answered %s", w.Body)
	}
	if log := k.log.String(); !strings.Contains(log, "panic in a handler") || !strings.Contains(log, "mux_test.go") || !strings.Contains(log, w.Header().Get("X-Request-ID")) {
		t.Errorf("logged %s", log)
	}
	func() {
		defer func() {
			if p := recover(); p != any(http.ErrAbortHandler) {
				t.Errorf("an answer that had begun must end the connection, got %v", p)
			}
		}()
		k.do(httptest.NewRequest(http.MethodGet, "/late-panic", nil))
	}()
	if w := k.do(httptest.NewRequest(http.MethodGet, "/open", nil)); w.Body.String() != "open" {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}

func TestBodiesAreHeldToLimitAndType(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	for name, c := range map[string]struct {
		target, media, encoding, body string
		chunked                       bool
		want                          int
	}{
		"within the limit":               {"/echo", "application/json", "", "0123456789", false, 200},
		"within the limit, chunked":      {"/echo", "application/json", "", "0123456789", true, 200},
		"with its charset":               {"/echo", "application/json; charset=UTF-8", "", "1", false, 200},
		"over the limit":                 {"/echo", "application/json", "", "0123456789x", false, 413},
		"over the limit, chunked":        {"/echo", "application/json", "", "0123456789x", true, 413},
		"far over the limit, chunked":    {"/echo", "application/json", "", strings.Repeat("x", 1<<20), true, 413},
		"no type":                        {"/echo", "", "", "1", false, 415},
		"a form":                         {"/echo", "application/x-www-form-urlencoded", "", "1", false, 415},
		"plain text, as forms can":       {"/echo", "text/plain", "", "1", false, 415},
		"another charset":                {"/echo", "application/json; charset=utf-16", "", "1", false, 415},
		"a type that cannot be read":     {"/echo", "application/json; =", "", "1", false, 415},
		"compressed":                     {"/echo", "application/json", "gzip", "1", false, 415},
		"a body where none goes":         {"/open", "application/json", "", "1", false, 413},
		"a chunked body where none goes": {"/open", "application/json", "", "1", true, 413},
	} {
		method := "POST"
		if c.target == "/open" {
			method = "GET"
		}
		r := httptest.NewRequest(method, c.target, strings.NewReader(c.body))
		if c.chunked {
			r.ContentLength = -1
		}
		if c.media != "" {
			r.Header.Set("Content-Type", c.media)
		}
		if c.encoding != "" {
			r.Header.Set("Content-Encoding", c.encoding)
		}
		if w := k.do(r); w.Code != c.want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		} else if c.want >= 400 {
			problem(t, w)
		}
	}
}

// RBA-03
func TestMetricsNeedTheirToken(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	for header, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer x": 401, "Basic monitoring canary": 401, "Bearer monitoring canar": 401,
		"Bearer monitoring canary": 200, "bearer monitoring canary": 200,
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		w := k.do(r)
		if w.Code != want {
			t.Errorf("%q: %d", header, w.Code)
		}
		if want == 401 && w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%q: no challenge", header)
		}
	}
	two := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	two.Header["Authorization"] = []string{"Bearer x", "Bearer monitoring canary"}
	if w := k.do(two); w.Code != 401 {
		t.Errorf("two headers: %d", w.Code)
	}
	open := MonitoringGuard(nil)(Route{}, text("x"))
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Authorization", "Bearer ")
	if open.ServeHTTP(w, r); w.Code != 401 {
		t.Errorf("no token configured: %d", w.Code)
	}
}

// DOS-03
func TestLabelsDoNotGrowWithWhatCallersSend(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	series := func() int {
		families, err := k.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	send := func(i int) {
		for _, r := range []*http.Request{
			httptest.NewRequest(http.MethodGet, fmt.Sprintf("/things/%d?q=%d", i, i), nil),
			httptest.NewRequest(http.MethodGet, fmt.Sprintf("/random/%d", i), nil),
			httptest.NewRequest(fmt.Sprintf("M%d", i), "/open", nil),
		} {
			k.do(r)
		}
	}
	send(0)
	before := series()
	if before == 0 {
		t.Fatal("nothing is counted")
	}
	for i := range 2000 {
		send(i)
	}
	if after := series(); after != before {
		t.Fatalf("%d series became %d", before, after)
	}
}

func TestTheLogNamesTheRouteAndNothingThatWasSent(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	r := httptest.NewRequest(http.MethodGet, "/things/canary-path?token=canary-query", nil)
	r.Header.Set("Authorization", "Bearer canary-token")
	r.Header.Set("Cookie", "s=canary-cookie")
	r.Header.Set("User-Agent", "canary-agent")
	r.Header.Set("X-Request-ID", "canary-id")
	r.Header.Set("X-Forwarded-For", "canary-source")
	k.do(r)
	k.do(httptest.NewRequest("CANARY-METHOD", "/canary-unknown", nil))
	log := k.log.String()
	if strings.Contains(strings.ToLower(log), "canary") {
		t.Errorf("logged %s", log)
	}
	var line struct {
		Route, Method, Source, Surface string
		RequestID                      string `json:"request_id"`
		Status                         int
	}
	if err := json.NewDecoder(&k.log).Decode(&line); err != nil {
		t.Fatal(err)
	}
	if line.Route != "/things/{id}" || line.Method != http.MethodGet || line.Source != "192.0.2.1" || line.Status != 200 || line.Surface != "people" || line.RequestID == "" {
		t.Errorf("logged %+v", line)
	}
}

func TestTheRequestIDReachesTheHandler(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	var got string
	k.Handle(Route{Method: "GET", Pattern: "/id", Policy: Anonymous}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = RequestID(r.Context()) }))
	w := k.do(httptest.NewRequest(http.MethodGet, "/id", nil))
	if got == "" || got != w.Header().Get("X-Request-ID") {
		t.Fatalf("handler saw %q, caller %q", got, w.Header().Get("X-Request-ID"))
	}
	if RequestID(context.Background()) != "" {
		t.Fatal("an id outside a request")
	}
}
