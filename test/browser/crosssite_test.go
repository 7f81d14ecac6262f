//go:build browser

package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// foreign is a page of another origin on the same site (another port), which is as near
// to a victim's cookie as an attacker's page comes: SameSite lets it through.
const foreign = `<!doctype html><title>a page of somebody else</title><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
const frame = attributes => { const f = document.createElement("iframe"); Object.assign(f, {name: "f" + Math.random()}); for (const [k, v] of Object.entries(attributes || {})) f.setAttribute(k, v); document.body.append(f); return f; };
const form = (url, method, type, extra) => '<form action="' + url + '" method="' + method + '" enctype="' + type + '">' + Object.entries({reason: "because", ...extra}).map(([k, v]) => '<input name="' + k + '" value="' + v + '">').join("") + '</form><script>document.forms[0].submit()<\/script>';
const urlencoded = "application/x-www-form-urlencoded";
const body = new URLSearchParams({reason: "because"});
const forms = {
	"a form": url => { frame({srcdoc: form(url, "post", urlencoded)}); },
	"a form with parts": url => { frame({srcdoc: form(url, "post", "multipart/form-data")}); },
	"a form of text": url => { frame({srcdoc: form(url, "post", "text/plain")}); },
	"a form that reads": url => { frame({srcdoc: form(url, "get", urlencoded, {_method: "POST"})}); },
	"a form that overrides": url => { frame({srcdoc: form(url + "?_method=POST", "post", urlencoded, {_method: "PUT"})}); },
	"a form of nowhere": url => { frame({sandbox: "allow-scripts allow-forms", srcdoc: form(url, "post", urlencoded)}); },
	"a form without referrer": url => { frame({referrerpolicy: "no-referrer", srcdoc: form(url, "post", urlencoded)}); },
	"a form of data": url => { frame({src: "data:text/html," + encodeURIComponent(form(url, "post", urlencoded))}); },
	"a script without CORS": (url, method) => fetch(url, {method: "POST", mode: "no-cors", credentials: "include", body}),
	"a script with CORS": (url, method) => fetch(url, {method, mode: "cors", credentials: "include", body}),
	"a script with JSON": (url, method) => fetch(url, {method, credentials: "include", headers: {"Content-Type": "application/json"}, body: '{"reason":"because"}'}),
	"a script with JSON as text": (url, method) => fetch(url, {method: "POST", mode: "no-cors", credentials: "include", headers: {"Content-Type": "text/plain"}, body: '{"reason":"because"}'}),
	"a script that overrides": (url, method) => fetch(url, {method: "POST", credentials: "include", headers: {"X-HTTP-Method-Override": method}, body}),
	"a beacon": url => { navigator.sendBeacon(url, body); },
	"a keepalive": url => fetch(url, {method: "POST", mode: "no-cors", keepalive: true, credentials: "include", body}),
	"a socket": url => { new WebSocket(url.replace("http", "ws")); },
};
const attack = async routes => {
	let sent = 0;
	for (const route of routes) {
		const [method, url] = route.split(" ");
		await Promise.race([Promise.allSettled(Object.values(forms).map(async form => { sent++; await form(url, method); })), wait(300)]);
		await wait(300);
		document.querySelectorAll("iframe").forEach(f => f.remove());
	}
	await wait(1000);
	return sent;
};
</script><body>`

// lines collects what a server logs.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// answers counts the answers to requests that may change something, by route and status.
func (l *lines) answers(t *testing.T) map[string]map[int]int {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]map[int]int{}
	for line := range strings.Lines(l.text.String()) {
		var request struct {
			Msg, Surface, Method, Route string
			Status                      int
		}
		if err := json.Unmarshal([]byte(line), &request); err != nil {
			t.Fatal(err)
		}
		if request.Msg != "request" || request.Surface != "people" || request.Method == http.MethodGet {
			continue
		}
		key := request.Method + " " + request.Route
		if all[key] == nil {
			all[key] = map[int]int{}
		}
		all[key][request.Status]++
	}
	return all
}

// SES-04: whatever a page of somebody else sends, by whichever way a browser has, nothing
// is done in the name of who is signed in.
func TestNoOtherPageActsInAPersonsName(t *testing.T) {
	log := &lines{}
	s := servertest.Start(t, servertest.Options{Log: log})
	op, ben, ada := s.Person("olivia", "operator"), s.Person("ben", "approver"), s.Person("ada", "admin")
	s.Enroll("edge-1", op.EnrollToken(1), ben).MustBeat()
	op.SendCommand("ping", map[string]any{"echo": "x"}, "edge-1")
	_ = ada
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(foreign))
	}))
	t.Cleanup(other.Close)

	b := open(t, s.PeopleURL)
	b.signIn("ada")
	b.see("h1", "Overview")
	var routes []string
	place := regexp.MustCompile(`\{[a-z_]+\}`)
	for _, route := range s.ChangingRoutes() {
		method, path, _ := strings.Cut(place.ReplaceAllString(route, "edge-1"), " ")
		routes = append(routes, method+" "+s.PeopleURL+path)
	}
	if len(routes) < 40 {
		t.Fatalf("only %d routes", len(routes))
	}
	list, err := json.Marshal(routes)
	if err != nil {
		t.Fatal(err)
	}
	done := func() string {
		return fmt.Sprint(s.Count("audit_entries", "result = 'done'"), s.Count("sessions", "revoked_at = 0"), s.Count("devices", "state = 'active'"),
			s.Count("accounts", "1 = 1"), s.Count("enroll_tokens", "revoked_at = 0"), s.Count("approvals", "1 = 1"), s.Count("passkey_challenges", "1 = 1"))
	}
	before, answered := done(), log.answers(t)
	var sent int
	b.do(chromedp.Navigate(other.URL), chromedp.Evaluate(`attack(`+string(list)+`)`, &sent, awaited))
	if after := done(); after != before {
		t.Errorf("something was done: %s became %s", before, after)
	}
	refused := 0
	for route, statuses := range log.answers(t) {
		for status, n := range statuses {
			n -= answered[route][status]
			switch {
			case n == 0:
			case status == http.StatusTooManyRequests:
				t.Fatalf("%d requests to %s came too fast to be judged", n, route)
			case status < 400:
				t.Errorf("%s answered %d requests of another page with %d", route, n, status)
			default:
				refused += n
			}
		}
	}
	t.Logf("%d attempts on %d routes, %d requests that may change something arrived and were refused", sent, len(routes), refused)
	if refused < 6*len(routes) {
		t.Errorf("only %d requests of %d attempts arrived: the page does not attack", refused, sent)
	}

	// The console's own page, in the same browser, may: the cookie was there all along.
	var status int
	b.at("/dashboard/devices/edge-1")
	b.do(chromedp.Evaluate(`fetch("/dashboard/devices/edge-1/suspend", {method: "POST", body: new URLSearchParams({reason: "because"})}).then(r => r.status)`, &status, awaited))
	if status >= 400 || s.Count("devices", "state = 'suspended'") != 1 {
		t.Errorf("the console's own page is answered %d", status)
	}
}
