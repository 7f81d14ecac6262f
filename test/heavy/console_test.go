//go:build heavy

package heavy

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// Overview and list of 100,000 devices answer within 50 ms at p95: whole answers of the
// server, one after the other. What is measured is written down; a machine that others
// use too is no judge, so the test fails only far above.
func TestTheConsoleOfALargeFleetIsFast(t *testing.T) {
	const devices, looks = 100_000, 100
	onBoth(t, func(t *testing.T, database string) {
		s := servertest.Start(t, servertest.Options{Database: database})
		s.Person("olivia", "operator")
		large(s, devices)
		get := console(t, s, "olivia")
		for _, page := range []struct{ name, path, shows string }{
			{"overview", "", "99\u202f000"},
			{"list", "/devices", "edge-1000050"},
			{"list, far", "/devices?after=edge-1090000", "edge-1090050"},
			{"list by verdict", "/devices?verdict=untrusted", "edge-1000100"},
			{"list by no verdict", "/devices?verdict=reserved", "No device"},
			{"list by version", "/devices?version=1.0.3", "edge-1000003"},
			{"list by state", "/devices?state=active", "edge-1000050"},
			{"list by text", "/devices?q=device+9999", "edge-1099990"},
			{"list by no text", "/devices?q=nowhere", "No device"},
		} {
			took := make([]time.Duration, 0, looks)
			for range looks {
				begin := time.Now()
				if body := get(page.path); !strings.Contains(body, page.shows) {
					t.Fatalf("%s does not show %q:\n%s", page.name, page.shows, body)
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			p50, p95 := took[looks/2], took[looks*95/100]
			t.Logf("%-20s p50 %6.1f ms, p95 %6.1f ms", page.name, p50.Seconds()*1000, p95.Seconds()*1000)
			if p50 > time.Second {
				t.Errorf("%s takes %s", page.name, p50)
			}
		}
	})
}

// large puts a fleet into the registry.
func large(s *servertest.Server, devices int) {
	const n = "WITH RECURSIVE n(i) AS (SELECT CAST(? AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
	for from := 1; from < devices; from += 10_000 { // a transaction has a time limit
		for _, q := range []string{
			"INSERT INTO devices (device_id, enrollment_id, state, state_at, name, owner, sensitive, key_code, agent_version, enrolled_at) SELECT 'edge-' || (1000000 + i), 'e-' || i, 'active', 0, 'Device ' || i, 'owner ' || (i % 50), 1 = 0, '', '1.0.' || (i % 5), 0 FROM n",
			"INSERT INTO device_counters (device_id, enrollment_id, fingerprint, gate, counter, seen_at, epoch) SELECT 'edge-' || (1000000 + i), 'e-' || i, 'f-' || i, 0, i, 1, 'e' FROM n",
			"INSERT INTO trust_verdicts (device_id, verdict, reasons, evaluated_at, holds_until) SELECT 'edge-' || (1000000 + i), CASE WHEN i % 100 = 0 THEN 'untrusted' ELSE 'trusted' END, '[]', 0, 0 FROM n",
		} {
			s.Exec(n+q, from, from+9_999)
		}
	}
	s.Exec("ANALYZE")
}

// console signs in to the console and returns what reads its pages.
func console(t *testing.T, s *servertest.Server, name string) func(path string) string {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	form := url.Values{"name": {name}, "password": {servertest.Password}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.PeopleURL+"/dashboard/sign-in", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", s.PeopleURL)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusSeeOther || len(answer.Cookies()) != 1 {
		t.Fatalf("signing in: %s", answer.Status)
	}
	cookie := answer.Cookies()[0]
	return func(path string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.PeopleURL+"/dashboard"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", path, answer.Status, err)
		}
		return string(body)
	}
}
