package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// guest is a party that remembers what it was asked.
type guest struct {
	name   string
	order  *[]string
	ack    string
	before error
	after  error
	took   func(a *protocol.HeartbeatAnswer)
	codes  []protocol.Code
}

func (g *guest) Before(_ context.Context, hb *protocol.Heartbeat) error {
	*g.order = append(*g.order, "before "+g.name)
	if g.ack != "" {
		hb.Acks = append(hb.Acks, g.ack)
	}
	return g.before
}

func (g *guest) After(_ context.Context, a *protocol.HeartbeatAnswer) error {
	*g.order = append(*g.order, "after "+g.name)
	if g.took != nil {
		g.took(a)
	}
	return g.after
}

func (g *guest) Refused(_ context.Context, c protocol.Code) { g.codes = append(g.codes, c) }

func TestPartiesTakePartInTheirOrderAndNoneKeepsAnotherOut(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		var order []string
		var renew bool
		w.parties = []Party{
			&guest{name: "first", order: &order, ack: anID, after: errors.New("no room")},
			&guest{name: "second", order: &order, took: func(a *protocol.HeartbeatAnswer) { renew = a.Renew }},
		}
		w.answer = func(rw http.ResponseWriter, hb protocol.Heartbeat, _ int) {
			agenttest.Answer(rw, 200, protocol.HeartbeatAnswer{Counter: hb.Counter, Epoch: hb.Epoch, IntervalSeconds: 60, Renew: true})
		}
		w.run(time.Second)
		if !slices.Equal(order, []string{"before first", "before second", "after first", "after second"}) || !renew {
			t.Errorf("%v, %v", order, renew)
		}
		if !slices.Equal(w.beats[0].Acks, []string{anID}) || w.kept().Accepted == nil {
			t.Errorf("sent %+v, kept %+v", w.beats[0], w.kept())
		}
	})
}

func TestAPartyThatCannotTakePartKeepsTheHeartbeatBack(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		var order []string
		w.random = 0.5 // a wait of nothing would let no time pass
		g := &guest{order: &order, before: errors.New("nothing to show")}
		w.parties = []Party{g}
		w.run(time.Minute)
		if len(w.beats) != 0 || len(order) < 3 {
			t.Errorf("sent %d, tried %d times", len(w.beats), len(order))
		}
	})
}

func TestPartiesHearOfRefusals(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		var order []string
		g := &guest{order: &order}
		w.parties = []Party{g}
		w.answer = refuseAll(403, protocol.Problem{Code: protocol.CodeCertificateUnknown})
		w.run(time.Second)
		if !slices.Equal(g.codes, []protocol.Code{protocol.CodeCertificateUnknown}) {
			t.Errorf("%v", g.codes)
		}
	})
}

// What is done is reported within seconds, but a server that does not answer, or
// says no, is asked no sooner for it.
func TestANudgeBringsTheNextHeartbeatSoonUnlessTheServerIsUnwell(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, protocol.Heartbeat, int)
		nudge  func(*Link)
		want   time.Duration // between the first two heartbeats, at most
		least  time.Duration
	}{
		"well":              {nil, (*Link).Nudge, 3 * time.Second, time.Second},
		"suspended":         {refuseAll(403, protocol.Problem{Code: protocol.CodeDeviceSuspended}), (*Link).Nudge, 5 * time.Minute, 5 * time.Minute},
		"something is new":  {refuseAll(403, protocol.Problem{Code: protocol.CodeCertificateUnknown}), (*Link).Retry, 500 * time.Millisecond, 500 * time.Millisecond},
		"nobody has to say": {nil, func(*Link) {}, time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = c.answer
				w.beside = func(l *Link) {
					time.Sleep(500 * time.Millisecond)
					c.nudge(l)
				}
				w.run(c.want + time.Second)
				if len(w.at) < 2 || w.at[1] > c.want || w.at[1] < c.least {
					t.Errorf("spoke at %v", w.at)
				}
			})
		})
	}
}

func TestNudgesDoNotAddUp(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.beside = func(l *Link) {
			for range 200 {
				time.Sleep(100 * time.Millisecond)
				l.Nudge()
			}
		}
		w.run(20 * time.Second)
		if n := len(w.beats); n < 5 || n > 21 {
			t.Errorf("%d heartbeats in 20 seconds", n)
		}
	})
}

// After Swap another CA is believed and another certificate shown; the connection
// of before is not used again.
func TestASwapCountsForTheNextRequest(t *testing.T) {
	t.Parallel()
	fleet := agenttest.NewFleet(t, time.Now())
	var seen []string
	address := agenttest.Serve(t, fleet.ServerCertificate(t, "127.0.0.1"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := ""
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		seen = append(seen, name)
		agenttest.Answer(w, 200, struct{}{})
	}))
	transport := func(cas []*x509.Certificate, device string) *http.Transport {
		key := agenttest.Key(t)
		shown := &tls.Certificate{Certificate: fleet.IssueDevice(t, device, key.Public(), time.Now(), time.Hour), PrivateKey: key}
		tr, err := NewTransport(Target{
			Server: "https://" + address, CAs: cas, Now: time.Now,
			Present: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tr.CloseIdleConnections)
		return tr
	}
	client := NewClient("https://"+address, transport(fleet.CAs(), "edge-1"))
	post := func() error { return client.Post(t.Context(), "/", []byte("{}"), &struct{}{}) }
	if client.Issuer() != "" {
		t.Error("an issuer before any answer")
	}
	if err := post(); err != nil {
		t.Fatal(err)
	}
	if client.Issuer() != certs.Fingerprint(fleet.ServerCA.Certificate.Raw) {
		t.Errorf("issuer %q", client.Issuer())
	}
	client.Swap(transport(fleet.CAs(), "edge-2"))
	if err := post(); err != nil || !slices.Equal(seen, []string{"edge-1", "edge-2"}) {
		t.Fatalf("showed %v, %v", seen, err)
	}
	client.Swap(transport(agenttest.NewFleet(t, time.Now()).CAs(), "edge-3"))
	if err := post(); !errors.Is(err, ErrNotServer) || len(seen) != 2 {
		t.Errorf("%v, showed %v", err, seen)
	}
}

// FuzzAccepted: whatever a server answers to a heartbeat, the journal stays in order
// and the counter is the device's own.
func FuzzAccepted(f *testing.F) {
	good, err := json.Marshal(protocol.HeartbeatAnswer{
		Counter: 1, Epoch: anID, Nonce: "n", IntervalSeconds: 60, Renew: true, ResultsStored: []string{anID},
		Commands: []protocol.CommandDelivery{{ActionID: anID, Statement: json.RawMessage("{}")}}, FleetRoots: []json.RawMessage{[]byte("1")},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"counter":1,"epoch":"","commands":null}`))
	f.Add([]byte(`{"counter":9007199254740993}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var a protocol.HeartbeatAnswer
		if protocol.DecodeTolerant(body, &a) != nil || check(&a, 1) != nil {
			return
		}
		j := enrolledJournal(t, time.Now())
		if _, err := j.Next(); err != nil {
			t.Fatal(err)
		}
		l := &Link{Options: Options{Journal: j, Now: time.Now, MinInterval: time.Second, Random: Jitter, Log: slog.New(slog.DiscardHandler)}}
		if err := l.accepted(t.Context(), &a, ""); err != nil {
			t.Fatalf("an answer in form cannot be stored: %v", err)
		}
		s, err := j.State()
		if err != nil || s.Check() != nil || s.Enrolled.Counter != 1 || l.pace.interval > MaxInterval || l.pace.interval < time.Second {
			t.Fatalf("kept %+v, %v", s.Enrolled, err)
		}
	})
}
