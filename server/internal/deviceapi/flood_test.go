package deviceapi_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// flood sends n requests over a few connections.
func (w *world) flood(n int, one func(i int) call) {
	w.t.Helper()
	tr := w.caller(nil, nil)
	var wg sync.WaitGroup
	work := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range work {
				a, err := w.try(tr, one(i))
				if err != nil || a.status < 400 || a.status >= 500 {
					w.t.Errorf("request %d: %d %s %v", i, a.status, a.problem.Code, err)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
}

// DOS-02
func TestWhatAnonymousCallersSendDoesNotGrowTheDatabase(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		w := newWorld(t, database, servertest.Options{})
		csr := w.NewDevice("edge-1").Request("x").CSR
		before, audits := w.state(), w.Count("audit_entries", "1 = 1")
		const requests = 2000
		w.flood(requests, func(i int) call {
			id := fmt.Sprintf("%08x-0000-7000-8000-000000000000", i)
			switch i % 5 {
			case 0: // a guess at a token
				r := protocol.EnrollRequest{Protocol: 1, EnrollmentID: id, DeviceID: "edge-1", Token: fmt.Sprintf("guess-%d", i), CSR: csr}
				return call{path: protocol.PathEnroll, body: encode(t, r)}
			case 1: // ever another name
				r := protocol.EnrollRequest{Protocol: 1, EnrollmentID: id, DeviceID: fmt.Sprintf("edge-%d", i), Token: "x", CSR: csr}
				return call{path: protocol.PathEnroll, body: encode(t, r)}
			case 2:
				return call{path: protocol.EnrollPollPath(id), body: []byte("{}")}
			case 3:
				return call{path: protocol.PathHeartbeat, body: []byte("{}")}
			default:
				return call{path: protocol.PathEnroll, body: fmt.Appendf(nil, `{"n%d":%d}`, i, i)}
			}
		})
		w.unchanged(before, "a flood of bad requests")
		w.Round() // writes what was gathered
		grown := w.Count("audit_entries", "1 = 1") - audits
		// Token unknown, wrong name, malformed, unknown enrollment, no certificate: the
		// first of each and its count.
		if grown < 5 || grown > 10 {
			t.Errorf("%d requests made %d audit entries", requests, grown)
		}
		if n := w.Count("audit_entries", "details LIKE ?", "%repeated%"); n == 0 {
			t.Error("how often it happened is not in the audit log")
		}
	})
}

// metricsToken is a token that monitoring presents.
func metricsToken(t *testing.T) string {
	t.Helper()
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// DOS-03
func TestNoRequestMakesANewTimeSeries(t *testing.T) {
	t.Parallel()
	token := metricsToken(t)
	w := newWorld(t, "sqlite:", servertest.Options{Settings: map[string]string{"SENTINEL_METRICS_TOKEN": token}})
	series := func() int {
		a := w.send(http.DefaultTransport, call{method: "GET", url: w.PeopleURL, path: "/metrics", header: map[string]string{"Authorization": "Bearer " + token}})
		if a.status != 200 {
			t.Fatalf("metrics: %d", a.status)
		}
		n := 0
		for line := range strings.Lines(string(a.body)) {
			if strings.HasPrefix(line, "sentinel_") {
				n++
			}
		}
		return n
	}
	send := func(i int) call {
		id := fmt.Sprintf("%08x-0000-7000-8000-000000000000", i)
		return []call{
			{path: fmt.Sprintf("/nowhere/%d?q=%d", i, i), body: []byte("{}")},
			{path: protocol.EnrollPollPath(id), body: []byte("{}")},
			{method: fmt.Sprintf("M%d", i), path: protocol.PathHeartbeat},
			{method: "GET", url: w.PeopleURL, path: "/api/devices/" + id, header: map[string]string{"User-Agent": id}},
			{method: "GET", url: w.PeopleURL, path: "/random/" + id},
		}[i%5]
	}
	w.flood(5, send)
	series() // counts itself
	before := series()
	if before == 0 {
		t.Fatal("nothing is counted")
	}
	w.flood(2000, func(i int) call { return send(i + 5) })
	if after := series(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

// RBA-03
func TestThereIsNothingForDebuggingOnAnyListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:", servertest.Options{})
	d := w.device("edge-1")
	low := w.Person("vera", "viewer")
	paths := strings.Fields(`/debug /debug/ /debug/pprof /debug/pprof/ /debug/pprof/cmdline /debug/pprof/profile /debug/pprof/symbol /debug/pprof/trace
		/debug/pprof/heap /debug/pprof/goroutine?debug=2 /debug/pprof/allocs /debug/pprof/block /debug/pprof/mutex /debug/pprof/threadcreate /debug/vars
		/debug/requests /debug/events /debug/charts /debug/config /debug/env /debug/flags /debug/logs /debug/stats /debug/gc /debug/freeosmemory /debug/health
		/api/debug /api/debug/pprof/ /api/debug/vars /api/internal /api/config /api/admin/config /api/admin/debug /api/env /api/logs /api/version/full
		/pprof /pprof/ /pprof/heap /vars /expvar /statsz /statusz /varz /rpcz /tracez /zpages /flagz /configz /healthz/verbose /metrics/ /metrics/cadvisor
		/actuator /actuator/env /actuator/heapdump /server-status /server-info /status/config /console /phpinfo.php /.env /.git/config /swagger /graphql`)
	if len(paths) < 60 {
		t.Fatalf("%d paths only", len(paths))
	}
	for _, path := range paths {
		for who, c := range map[string]call{
			"anonymous, people":  {url: w.PeopleURL},
			"a viewer":           {url: w.PeopleURL, header: map[string]string{"Authorization": "Bearer " + low.Token}},
			"anonymous, machine": {},
		} {
			c.method, c.path = "GET", path
			tr := http.DefaultTransport
			if c.url == "" {
				tr = w.caller(nil, nil)
			}
			if a := w.send(tr, c); a.status != 404 || a.problem.Code != protocol.CodeNotFound {
				t.Errorf("%s, %s: %d %s", path, who, a.status, a.problem.Code)
			}
		}
		if a := w.send(d.Transport(), call{method: "GET", path: path}); a.status != 404 {
			t.Errorf("%s, a device: %d", path, a.status)
		}
	}
	if a := w.send(http.DefaultTransport, call{method: "GET", url: w.PeopleURL, path: "/metrics"}); a.status != 401 {
		t.Errorf("metrics without the token: %d", a.status)
	}
	if a := w.send(http.DefaultTransport, call{method: "GET", url: w.PeopleURL, path: "/metrics", header: map[string]string{"Authorization": "Bearer " + low.Token}}); a.status != 401 {
		t.Errorf("metrics with a person's token: %d", a.status)
	}
	if a := w.send(d.Transport(), call{method: "GET", path: "/metrics"}); a.status != 404 {
		t.Errorf("metrics on the machine listener: %d", a.status)
	}
}
