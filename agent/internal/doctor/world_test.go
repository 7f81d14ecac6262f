//go:build unix

package doctor

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

// world is a device that is well, with a listener that speaks real TLS.
type world struct {
	t       *testing.T
	fleet   *agenttest.Fleet
	now     time.Time // the device's clock
	dir     string
	address string
	o       Options

	mu       sync.Mutex
	requests []string
}

// newWorld has its fleet's documents made an hour ago.
func newWorld(t *testing.T, change func(*journal.State)) *world {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	w := &world{t: t, now: now, fleet: agenttest.NewFleet(t, now.Add(-time.Hour)), dir: filepath.Join(t.TempDir(), "state")}
	w.address = agenttest.Serve(t, w.fleet.ServerCertificate(t, "127.0.0.1"), http.HandlerFunc(w.serve))
	w.enroll(change)
	w.o = Options{
		Config:  &config.Config{StateDir: w.dir},
		Now:     func() time.Time { return w.now },
		Service: func() (service.State, error) { return service.Running, nil },
		Roots:   func() (*x509.CertPool, error) { return x509.NewCertPool(), nil },
		Resolve: func(context.Context, string) ([]string, error) { t.Error("a name was looked up"); return nil, nil },
	}
	return w
}

func (w *world) serve(res http.ResponseWriter, req *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, req.Method+" "+req.URL.Path)
	if len(req.TLS.PeerCertificates) > 0 {
		w.t.Error("the device showed its certificate")
	}
	agenttest.Answer(res, http.StatusOK, map[string]string{"status": "ok"})
}

// asked is what the server was asked.
func (w *world) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

func (w *world) enroll(change func(*journal.State)) {
	w.t.Helper()
	must(w.t, journal.MakeDir(w.dir))
	key, err := identity.CreateKey(w.dir)
	must(w.t, err)
	must(w.t, identity.StoreChain(w.dir, w.fleet.IssueDevice(w.t, "edge-1", key.Public(), w.now.Add(-time.Hour), 30*24*time.Hour)))
	root, digest := w.fleet.Root(w.t)
	bundle := w.fleet.Bundle(w.t, digest, 1, w.fleet.Now, 20*24*time.Hour)
	p, err := pins.Verify([][]byte{root}, bundle, digest, w.now, 0)
	must(w.t, err)
	must(w.t, p.Store(w.dir))
	s := journal.State{
		Server: "https://" + w.address, DeviceID: "edge-1", EnrollmentID: journal.NewID(w.now), StartedAt: w.now.Add(-time.Hour),
		ServerCA: w.fleet.ServerCA.Certificate.Raw, Submitted: true,
		Enrolled: &journal.Enrolled{
			At: w.now.Add(-time.Hour), FirstRoot: digest, Root: p.RootMark(), Policy: p.PolicyMark(), TimeFloor: p.Floor(),
			Counter: 8, Epoch: agenttest.Epoch, Nonce: "canary-nonce", Receipt: "canary-receipt", Interval: 60,
			Accepted: &journal.Accepted{At: w.now.Add(-30 * time.Second), Counter: 8},
		},
	}
	if change != nil {
		change(&s)
	}
	j, err := journal.Open(w.dir)
	must(w.t, err)
	must(w.t, j.Begin(s))
	must(w.t, j.Close())
}

// proxy listens as an HTTP proxy that answers CONNECT with a status, and lets
// pass if that is 200.
func (w *world) proxy(status string) *url.URL {
	w.t.Helper()
	return &url.URL{Scheme: "http", Host: agenttest.Proxy(w.t, status), User: url.UserPassword("user", "canary-password")}
}

func (w *world) run() map[string]Result {
	w.t.Helper()
	report := Run(w.t.Context(), w.o)
	by := map[string]Result{}
	for _, r := range report.Checks {
		by[r.Check] = r
		if (r.Verdict == Warn || r.Verdict == Fail) != (r.Fix != "") {
			w.t.Errorf("a fix belongs to what is not well, and to nothing else: %+v", r)
		}
		if r.Found == "" {
			w.t.Errorf("nothing is said: %+v", r)
		}
	}
	if len(by) != len(checks) {
		w.t.Errorf("%d results of %d checks", len(by), len(checks))
	}
	data, err := json.Marshal(report)
	must(w.t, err)
	w.t.Logf("%s", data)
	return by
}

// closedPort is an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	return l.Addr().String()
}

func refused(code protocol.Code, at time.Time) func(*journal.State) {
	return func(s *journal.State) { s.Enrolled.Refusal = &journal.Refusal{At: at, Code: code} }
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
