package link

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	anID   = "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"
	boot   = "0198c1f0-8888-7cc2-8a5d-0a4f6f1c2b3d"
	server = "https://s.test:8443"
)

// world is a device and the server's side of the wire, in a time of its own. The
// wire is real: HTTP over TLS, over pipes.
type world struct {
	t       *testing.T
	journal *journal.Journal
	fleet   *agenttest.Fleet
	facts   protocol.Facts
	random  float64                                                     // 0: no wait is shortened, 0.5: all by half their range
	answer  func(w http.ResponseWriter, hb protocol.Heartbeat, nth int) // nil accepts
	parties []Party
	beside  func(*Link) // runs beside the link, if there is one

	mu    sync.Mutex
	beats []protocol.Heartbeat
	at    []time.Duration // since the start
	began time.Time
}

func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, began: time.Now(), facts: protocol.Facts{"os": "linux"}}
		w.journal, w.fleet = enrolledJournal(t, time.Now()), agenttest.NewFleet(t, time.Now())
		test(t, w)
		last := int64(0)
		for _, hb := range w.beats { // holds whatever happens
			if hb.Counter <= last {
				t.Errorf("counter %d was sent after %d", hb.Counter, last)
			}
			last = hb.Counter
		}
	})
}

func enrolledJournal(t *testing.T, now time.Time) *journal.Journal {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := journal.MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	now = now.UTC()
	mark := journal.Mark{Version: 1, Digest: strings.Repeat("ab", 32)}
	err = j.Begin(journal.State{
		Server: server, DeviceID: "edge-1", EnrollmentID: anID, StartedAt: now, ServerCA: []byte{1},
		Enrolled: &journal.Enrolled{
			At: now, FirstRoot: mark.Digest, FirstUse: true, Root: mark, Policy: mark, TimeFloor: now, Epoch: agenttest.Epoch, Interval: 60,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// ServeHTTP is the server's side.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, protocol.MaxHeartbeatBody))
	var hb protocol.Heartbeat
	err := protocol.Decode(body, &hb)
	if err == nil {
		err = hb.Check()
	}
	if err != nil || r.URL.Path != protocol.PathHeartbeat {
		w.t.Errorf("the server cannot take %s: %v", body, err)
	}
	w.mu.Lock()
	w.beats, w.at = append(w.beats, hb), append(w.at, time.Since(w.began))
	nth := len(w.beats)
	w.mu.Unlock()
	if w.answer != nil {
		w.answer(rw, hb, nth)
		return
	}
	accept(rw, hb)
}

func accept(w http.ResponseWriter, hb protocol.Heartbeat) {
	agenttest.Answer(w, http.StatusOK, protocol.HeartbeatAnswer{
		Counter: hb.Counter, Epoch: hb.Epoch, ServerTime: time.Now(), IntervalSeconds: 60,
		Nonce: "nonce", Receipt: "receipt", PolicyVersion: 1, RootVersion: 1,
	})
}

// refuseAll answers with one problem.
func refuseAll(status int, p protocol.Problem) func(http.ResponseWriter, protocol.Heartbeat, int) {
	return func(w http.ResponseWriter, _ protocol.Heartbeat, _ int) { agenttest.Refuse(w, status, p) }
}

// run lets an agent start and run for d; called again, it is a restart.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	pipes := agenttest.NewPipes()
	defer agenttest.ServeOn(pipes, w.fleet.ServerCertificate(w.t, "s.test"), w)()
	transport, err := NewTransport(Target{Server: server, CAs: w.fleet.CAs(), Now: time.Now, Dial: pipes.Dial})
	if err != nil {
		w.t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	l := w.link(NewClient(server, transport))
	if w.beside != nil {
		go w.beside(l)
	}
	if err := l.Run(ctx); err != nil {
		w.t.Errorf("Run: %v", err)
	}
}

func (w *world) link(client *Client) *Link {
	w.t.Helper()
	l, err := New(Options{
		Journal: w.journal, Client: client, BootID: boot, Version: "1.0.0", MinInterval: 5 * time.Second,
		Facts: func() protocol.Facts { return w.facts }, Now: time.Now, Random: func() float64 { return w.random },
		Log: slog.New(slog.DiscardHandler), Parties: w.parties,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// kept is what the journal says.
func (w *world) kept() *journal.Enrolled {
	w.t.Helper()
	s, err := journal.Read(w.journal.Dir())
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Enrolled
}
