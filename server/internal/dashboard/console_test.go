package dashboard

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// targetOf is a route's pattern with something in its variables.
func targetOf(pattern string) string {
	t := strings.NewReplacer("{$}", "", "{device_id}", "edge-1", "{id}", someID, "{name}", "x").Replace(pattern)
	return t
}

// open is who gets past the door of each route: every role that has its
// permission, and the routes that are anyone's.
var openToAnyone = []string{
	"GET /{$}", "GET /dashboard/assets/{name}", "GET /dashboard/sign-in", "POST /dashboard/sign-in", "GET /dashboard/sign-in/code", "POST /dashboard/sign-in/code",
	"GET /dashboard/sign-in/password", "POST /dashboard/sign-in/password", "POST /dashboard/sign-in/passkey/options", "POST /dashboard/sign-in/passkey",
}

// RBA-01
func TestEveryRouteOfTheConsoleAgainstEveryRole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookies := map[authz.Role]string{}
	for _, role := range authz.Roles() {
		cookies[role] = s.signIn(string(role), role)
	}
	ended := []string{"POST /dashboard/sign-out", "POST /dashboard/me/password"}
	for _, r := range s.mux.Routes() {
		name := r.Method + " " + r.Pattern
		anyone := slices.Contains(openToAnyone, name)
		if anyone != (r.Policy == httpkit.Anonymous) || !anyone && r.Policy.Kind() != httpkit.KindConsole {
			t.Errorf("%s has the policy %s", name, r.Policy)
		}
		if anyone || slices.Contains(ended, name) {
			continue
		}
		ask := func(cookie string) int {
			req := request(r.Method, targetOf(r.Pattern), cookie, url.Values{})
			if r.Media == "application/json" {
				req.Header.Set("Content-Type", "application/json")
			}
			return s.send(req).Code
		}
		want := http.StatusUnauthorized
		if r.Method == http.MethodGet {
			want = http.StatusSeeOther
		}
		for what, cookie := range map[string]string{"nobody": "", "a stranger": "eyJhbGciOiJub25lIn0.e30."} {
			if got := ask(cookie); got != want {
				t.Errorf("%s for %s: %d, want %d", name, what, got, want)
			}
		}
		for role, cookie := range cookies {
			// Behind the door, an act on one's own factors asks for more by itself.
			got, behind := ask(cookie), strings.Contains(name, "/me/")
			if may := role.Has(r.Policy.Permission()); !may && got != http.StatusForbidden || may && !behind && (got == http.StatusForbidden || got == http.StatusUnauthorized) {
				t.Errorf("%s for %s: %d", name, role, got)
			}
		}
	}
}

// One credential a surface: a token of the API opens no page, wherever it travels.
func TestOnlyTheCookieOfAConsoleSessionOpensAPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.signIn("ada", authz.Admin)
	if w := s.get("/dashboard/devices", cookie); w.Code != http.StatusOK {
		t.Fatalf("the cookie: %d", w.Code)
	}
	program := s.session("ada", admin.ViaProgram)
	if w := s.get("/dashboard/devices", program); w.Code != http.StatusSeeOther {
		t.Errorf("a program's token in the cookie: %d", w.Code)
	}
	for _, token := range []string{cookie, program} {
		r := request(http.MethodGet, "/dashboard/devices", "", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		if w := s.send(r); w.Code != http.StatusSeeOther {
			t.Errorf("a bearer token: %d", w.Code)
		}
	}
	two := request(http.MethodGet, "/dashboard/devices", cookie, nil)
	two.AddCookie(&http.Cookie{Name: cookieName, Value: "x"})
	if w := s.send(two); w.Code != http.StatusSeeOther {
		t.Errorf("two cookies: %d", w.Code)
	}
}

// SES-02
func TestTheCookieIsNewAtEachSignInAndBoundToItsHost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	before := s.signIn("ada", authz.Admin)
	form := url.Values{"name": {"ada"}, "password": {goodPassword}, "next": {"/dashboard/devices"}}
	check := func(w *httptest.ResponseRecorder, ends bool) string {
		t.Helper()
		all := w.Result().Cookies()
		if len(all) != 1 {
			t.Fatalf("%d cookies with %d", len(all), w.Code)
		}
		c := all[0]
		if c.Name != "__Host-sentinel" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || (c.MaxAge < 0) != ends || c.MaxAge > 0 {
			t.Errorf("the cookie is %s", c.Raw)
		}
		return c.Value
	}
	w := s.post("/dashboard/sign-in", before, form)
	if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != "/dashboard/devices" {
		t.Errorf("%d to %s", w.Code, got)
	}
	after := check(w, false)
	if after == before || after == "" {
		t.Error("the session from before the sign-in lives on")
	}
	check(s.post("/dashboard/sign-out", after, nil), true)
	if w := s.get("/dashboard", after); w.Code != http.StatusSeeOther {
		t.Errorf("after signing out: %d", w.Code)
	}
	form.Set("password", "wrong wrong wrong wrong")
	if w := s.post("/dashboard/sign-in", "", form); w.Code != http.StatusUnauthorized || len(w.Result().Cookies()) != 0 || strings.Contains(w.Body.String(), "wrong wrong") {
		t.Errorf("a wrong password: %d %v", w.Code, w.Result().Cookies())
	}
}

// SES-04
func TestNoFormIsTakenFromAnotherSite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.signIn("ada", authz.Admin)
	for _, r := range s.mux.Routes() {
		if r.Method != http.MethodPost {
			continue
		}
		for name, headers := range map[string][2]string{ // Origin, Sec-Fetch-Site
			"another site": {"https://evil.example", "cross-site"}, "no origin": {"null", "cross-site"}, "a sister site": {"https://evil.console.example", "same-site"},
			"the user's own doing": {"", "none"}, "an old browser, elsewhere": {"https://evil.example", ""}, "an old browser, nowhere": {"null", ""},
			"another port": {origin + ":8443", ""}, "the same name, not secure": {"ftp:" + origin[6:] + ".evil.example", ""}, "nothing said": {"", ""},
			"a lie that contradicts itself": {"https://evil.example", "same-origin"},
		} {
			req := request(http.MethodPost, targetOf(r.Pattern), cookie, url.Values{"reason": {"x"}, "name": {"ada"}, "password": {goodPassword}})
			if r.Media == "application/json" {
				req.Header.Set("Content-Type", "application/json")
			}
			for i, header := range []string{"Origin", "Sec-Fetch-Site"} {
				if req.Header.Del(header); headers[i] != "" {
					req.Header.Set(header, headers[i])
				}
			}
			if w := s.send(req); w.Code != http.StatusForbidden && w.Code != http.StatusUnprocessableEntity || len(w.Result().Cookies()) != 0 {
				t.Errorf("%s from %s: %d", r.Pattern, name, w.Code)
			}
		}
	}
	if len(s.fleet.acts) != 0 {
		t.Errorf("done for another site: %v", s.fleet.acts)
	}
	if w := s.post("/dashboard/devices/edge-1/suspend", cookie, url.Values{"reason": {"x"}}); w.Code != http.StatusSeeOther || len(s.fleet.acts) != 1 {
		t.Errorf("from the console itself: %d %v", w.Code, s.fleet.acts)
	}
}

// pagesOf is every page that is read.
func pagesOf(s *site) (targets []string) {
	for _, r := range s.mux.Routes() {
		if r.Method == http.MethodGet && !strings.Contains(r.Pattern, "assets") && !strings.Contains(r.Pattern, "export") {
			targets = append(targets, targetOf(r.Pattern))
		}
	}
	return targets
}

// SES-07
func TestTextOfDevicesIsOnlyText(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.signIn("ada", authz.Admin)
	reviewer := s.signIn("ben", authz.Approver)
	const mark = "zqx"
	for _, payload := range []string{
		`<zqx>`, `"><zqx x="`, `'><zqx x='`, `</title><zqx>`, `</textarea></script></style><zqx>`, `--><zqx>`, "`><zqx>", `" zqxon="x`, `' zqxon='x`, ` zqxon=x`,
	} {
		s.fleet.text = payload
		for _, target := range pagesOf(s) {
			for _, who := range []string{cookie, reviewer} {
				body := s.get(target, who).Body.String()
				if at := regexp.MustCompile(`<` + mark + `|<[^>]*[\s"']` + mark + `on=`).FindStringIndex(body); at != nil && !insideText(body, at[0]) {
					t.Errorf("%s with %s: %s", target, payload, body[max(0, at[0]-80):min(len(body), at[1]+40)])
				}
			}
		}
	}
}

// insideText reports whether what looks like an attribute stands within a quoted
// value of a tag.
func insideText(body string, at int) bool {
	tag := body[at:]
	if strings.HasPrefix(tag, "<zqx") {
		return false
	}
	end := strings.Index(tag, "zqxon=")
	return strings.Count(tag[:end], `"`)%2 == 1
}

// inline is what no page may hold: it would need a policy that lets inline code
// run.
var inline = []*regexp.Regexp{
	regexp.MustCompile(`(?i)<script(?:\s+src="[^"]*")?[^>]*>[^<\s]`),
	regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>(?:[^<]|<[^/])`),
	regexp.MustCompile(`(?i)<style[\s>]`),
	regexp.MustCompile(`(?i)<[^<>]*\sstyle\s*=`),
	regexp.MustCompile(`(?i)<[^<>]*\son[a-z]+\s*=`),
	regexp.MustCompile(`(?i)(?:href|src|action|formaction)\s*=\s*["']?\s*(?:javascript|data|vbscript):`),
	regexp.MustCompile(`(?i)<(?:iframe|object|embed|base|meta\s+http-equiv)[\s>]`),
	regexp.MustCompile(`(?i)(?:href|src|action|formaction)\s*=\s*["']?(?:https?:)?//`),
}

func inlineIn(text string) string {
	for _, pattern := range inline {
		if found := pattern.FindString(text); found != "" {
			return found
		}
	}
	return ""
}

// It shows when: a template with inline script fails a test.
func TestNoTemplateHoldsInlineCode(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		`<script>x()</script>`, "<script>\n</script>", `<script src="/a.js">x</script>`, `<p style="color:red">`, `<style>`, `<a onclick="x()">`, `<a href="x" onload=x>`, `<a href="javascript:x()">`,
		`<img src=data:x>`, `<iframe src="/x">`, `<base href="/">`, `<script src="https://cdn.example/x.js">`, `<link href="//cdn.example/x.css">`,
	} {
		if inlineIn(bad) == "" {
			t.Errorf("%s is not seen", bad)
		}
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	must(t, err)
	if len(files) < 10 {
		t.Fatalf("%d templates", len(files))
	}
	for _, f := range files {
		data, err := templateFiles.ReadFile(f)
		must(t, err)
		if found := inlineIn(string(data)); found != "" {
			t.Errorf("%s has %s", f, found)
		}
	}
	s := newSite(t)
	for _, cookie := range []string{s.signIn("ada", authz.Admin), s.signIn("ben", authz.Approver), ""} {
		for _, target := range pagesOf(s) {
			w := s.get(target, cookie)
			if found := inlineIn(w.Body.String()); found != "" {
				t.Errorf("%s has %s", target, found)
			}
			if w.Code == http.StatusOK && !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
				t.Errorf("%s is %s", target, w.Header().Get("Content-Type"))
			}
		}
	}
}

func TestEveryAnswerLetsNothingRunThatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.signIn("ada", authz.Admin)
	allowed := map[string]string{
		"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self'", "connect-src": "'self'",
		"form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
	}
	targets := append(pagesOf(s), "/dashboard/devices/nobody", "/dashboard/audit/export")
	for _, name := range s.console.assets.hashed {
		targets = append(targets, "/dashboard/assets/"+name)
	}
	for _, target := range targets {
		for _, who := range []string{cookie, ""} {
			h := s.get(target, who).Header()
			got := map[string]string{}
			for part := range strings.SplitSeq(h.Get("Content-Security-Policy"), "; ") {
				name, value, _ := strings.Cut(part, " ")
				got[name] = value
			}
			if fmt.Sprint(got) != fmt.Sprint(allowed) {
				t.Errorf("%s: %v", target, got)
			}
			if len(h.Values("Content-Security-Policy")) != 1 || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" || h.Get("Cross-Origin-Opener-Policy") != "same-origin" {
				t.Errorf("%s: %v", target, h)
			}
			if kept := h.Get("Cache-Control") != "no-store"; kept != strings.Contains(target, "/assets/") {
				t.Errorf("%s may be kept: %s", target, h.Get("Cache-Control"))
			}
		}
	}
}

func TestEveryPageIsShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fleet.text = "some text"
	cookie := s.signIn("ada", authz.Admin)
	reviewer := s.signIn("ben", authz.Approver)
	for _, target := range pagesOf(s) {
		who := cookie
		if strings.Contains(target, "/sign-in") {
			who = ""
		}
		w := s.get(target, who)
		if w.Code != http.StatusOK && w.Code != http.StatusSeeOther {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
		if w.Code == http.StatusOK && strings.Count(w.Body.String(), "<h1") != 1 {
			t.Errorf("%s has %d first headings", target, strings.Count(w.Body.String(), "<h1"))
		}
	}
	if w := s.get("/dashboard/reviews/"+someID, reviewer); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Approve") {
		t.Errorf("the review for a reviewer: %d", w.Code)
	}
	if s.log.Len() > 0 {
		t.Errorf("logged: %s", s.log.String())
	}
}

// A page is rendered live by the templates that rendered it first, one fragment a
// template, and ends with its session.
func TestAPageIsFollowedUntilItsSessionEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.signIn("ada", authz.Admin)
	server := httptest.NewServer(s.mux)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 5*liveEvery)
	t.Cleanup(cancel)
	ask := func(path, cookie string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, http.NoBody)
		must(t, err)
		r.Header.Set("Accept", "text/event-stream")
		r.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
		resp, err := http.DefaultClient.Do(r)
		must(t, err)
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	if resp := ask("/dashboard", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a session: %d", resp.StatusCode)
	}
	resp := ask("/dashboard/devices", cookie)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	first := make([]byte, 32<<10)
	n, err := resp.Body.Read(first)
	must(t, err)
	if text := string(first[:n]); !strings.HasPrefix(text, "event: fragment\ndata: {\"id\":\"devices\"") || !strings.Contains(text, "edge-1") {
		t.Errorf("first came %q", text)
	}
	begin := time.Now()
	must(t, s.d.Write(t.Context(), endSessions))
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream broke: %v", err)
	}
	if late := time.Since(begin); late > liveEvery+time.Second {
		t.Errorf("the stream ended %s after its session", late)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s := newStreams()
	for range maxAccountStreams {
		if !s.enter("a") {
			t.Fatal("refused too early")
		}
	}
	if s.enter("a") {
		t.Error("an account may open as many as it likes")
	}
	if s.leave("a"); !s.enter("a") {
		t.Error("what was left is not given back")
	}
	for i := 0; i <= maxStreams && s.enter(fmt.Sprint(i)); i++ {
	}
	if s.all != maxStreams {
		t.Errorf("%d streams at once", s.all)
	}
}

func TestAssetsAreKeptForEverAndCompressed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	total := len(s.get("/dashboard", s.signIn("ada", authz.Admin)).Body.Bytes())
	for name, hashed := range s.console.assets.hashed {
		for _, packed := range []bool{true, false} {
			r := request(http.MethodGet, "/dashboard/assets/"+hashed, "", nil)
			if packed {
				r.Header.Set("Accept-Encoding", "deflate, gzip, br")
			}
			w := s.send(r)
			if w.Code != http.StatusOK || (w.Header().Get("Content-Encoding") == "gzip") != packed || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %d %v", name, w.Code, w.Header())
			}
			if !packed {
				total += w.Body.Len()
			}
		}
		if w := s.get("/dashboard/assets/"+name, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s without its digest: %d", name, w.Code)
		}
	}
	if total > 150_000 {
		t.Errorf("an overview weighs %d bytes, not compressed", total)
	}
	for header, want := range map[string]bool{"gzip": true, "gzip;q=0": false, "gzip; q=0.000": false, "": false, "x-gzip": false, "br, GZIP;q=0.5": true} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header.Set("Accept-Encoding", header)
		if acceptsGzip(r) != want {
			t.Errorf("%q: %t", header, !want)
		}
	}
}

func TestASignInLeadsToNoOtherPlace(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"/dashboard": "/dashboard", "/dashboard/devices?q=a%20b": "/dashboard/devices?q=a%20b", "": "/dashboard", "https://evil.example/dashboard": "/dashboard",
		"//evil.example/dashboard/": "/dashboard", "/\\evil.example": "/dashboard", "/dashboard//evil.example": "/dashboard", "/dashboardx": "/dashboard",
		"javascript:alert(1)": "/dashboard", "/api/devices": "/dashboard", "/dashboard/sign-in?next=/dashboard/sign-in": "/dashboard", "/dashboard/\r\nSet-Cookie: x=y": "/dashboard",
		"/dashboard/\\..\\x": "/dashboard", "dashboard": "/dashboard", "\x00": "/dashboard",
	} {
		if got := localPath(next); got != want {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}

func TestAnActOnManyIsCountedBeforeItIsDone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.signIn("ada", authz.Admin)
	form := url.Values{"device": {"edge-1", "nobody"}, "act": {"suspend"}}
	w := s.post("/dashboard/devices/bulk", cookie, form)
	if w.Code != http.StatusOK || len(s.fleet.acts) != 0 || !strings.Contains(w.Body.String(), "Quarantine 1 device?") || !strings.Contains(w.Body.String(), "there is no such device") {
		t.Errorf("%d, done %v: %s", w.Code, s.fleet.acts, w.Body)
	}
	form.Set("confirmed", "yes")
	if w := s.post("/dashboard/devices/bulk", cookie, form); w.Code != http.StatusUnprocessableEntity || len(s.fleet.acts) != 0 {
		t.Errorf("without a reason: %d, done %v", w.Code, s.fleet.acts)
	}
	form.Set("reason", "x")
	if w := s.post("/dashboard/devices/bulk", cookie, form); w.Code != http.StatusSeeOther || fmt.Sprint(s.fleet.acts) != "[suspend]" {
		t.Errorf("%d, done %v", w.Code, s.fleet.acts)
	}
}

func TestWhatASpreadsheetWouldRunIsQuoted(t *testing.T) {
	t.Parallel()
	got := cells("=1+1", "+x", "-x", "@x", "\tx", "x=1", "")
	if want := []string{"'=1+1", "'+x", "'-x", "'@x", "'\tx", "x=1", ""}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestEveryStatusOfTheDomainsHasItsWordAndShape(t *testing.T) {
	t.Parallel()
	for word, s := range statuses {
		if _, err := icon(s.Icon); err != nil || s.Word == "" || !slices.Contains([]string{"good", "warn", "bad", "info", "calm"}, s.Tone) {
			t.Errorf("%s: %+v %v", word, s, err)
		}
	}
	if got := statusOf("<b>"); got.Word != "<b>" || got.Tone != "calm" {
		t.Errorf("a word that nobody knows: %+v", got)
	}
}

func TestTimesAreToldInTheWordsOfTheScript(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "now", -4 * time.Second: "now", -59 * time.Second: "59 s ago", 60 * time.Second: "in 1 min", -time.Hour: "1 h ago", 47 * time.Hour: "in 47 h", -48 * time.Hour: "2 days ago",
	} {
		if got := relative(now.Add(d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -1000: "-1\u202f000"} {
		if got := groupDigits(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

// A person sees which authority a device's certificates come from.
func TestADevicesPageSaysWhoIssuedItsCertificates(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	page := s.get("/dashboard/devices/edge-1", s.signIn("ada", authz.Viewer)).Body.String()
	for _, want := range []string{`another authority <code title="0123456789abcdef0123456789abcdef">`, `this server <code title="` + someID + `">`} {
		if strings.Count(page, want) != 1 {
			t.Errorf("%s is not there once", want)
		}
	}
}
