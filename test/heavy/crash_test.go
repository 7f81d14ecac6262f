//go:build heavy

package heavy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// The server's process is killed again and again under load. Each time it is ready
// again without help; whatever it acknowledged is there, and each act with its
// entry. At ten rounds it is 200 kills.
func TestWhatWasAcknowledgedSurvivesAKilledServer(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(*testing.T) string{
		"sqlite": func(*testing.T) string { return "" }, "postgres": postgres,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crash(newFleet(t, database(t)), min(20*rounds.Of(t), 200))
		})
	}
}

// readyWithin is how soon a killed server must be back.
const readyWithin = 10 * time.Second

func crash(f *fleet, kills int) {
	t := f.t
	list := make([]*survivor, 50)
	for i, d := range f.devices(len(list)) {
		list[i] = &survivor{Device: d}
	}
	p := takeOver(t, f.Server, f.database)
	p.account("kim", "operator")
	p.start(readyWithin)
	kim := f.SignIn("kim")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	var beats, tokens atomic.Int64
	for _, s := range list {
		load.Go(func() { s.beat(ctx, t, &beats) })
	}
	load.Go(func() { makeTokens(ctx, t, kim, &tokens) })
	var took []time.Duration
	for range kills {
		from := beats.Load()
		eventually(t, readyWithin, "the devices go on", func() bool { return beats.Load() >= from+int64(2*len(list)) })
		pause(ctx, rand.N(200*time.Millisecond))
		p.kill()
		took = append(took, p.start(readyWithin))
	}
	stop()
	load.Wait()
	if !p.ready() {
		t.Error("the server is not ready in the end")
	}
	p.kill()

	d := f.read()
	stored, err := counters(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if stored[s.ID] < s.acknowledged || stored[s.ID] > s.Counter {
			t.Errorf("%s: the server has counter %d; it acknowledged %d, and %d was sent", s.ID, stored[s.ID], s.acknowledged, s.Counter)
		}
	}
	if held := count(t, d, "SELECT count(*) FROM device_counters WHERE gate <> 0"); held != 0 {
		t.Errorf("%d devices are held", held)
	}
	rows := count(t, d, "SELECT count(*) FROM enroll_tokens")
	entries := count(t, d, "SELECT count(*) FROM audit_entries WHERE action = 'enroll-token.create' AND result = 'done'")
	if rows != entries {
		t.Errorf("%d tokens and %d entries of their making", rows, entries)
	}
	made := count(t, d, "SELECT count(*) FROM enroll_tokens WHERE created_by LIKE '%kim%'")
	if sure := int(tokens.Load()); made < sure || sure == 0 {
		t.Errorf("%d tokens of kim's, and %d were acknowledged", made, sure)
	}
	t.Logf("%d kills; ready again after median %v, worst %v; %d heartbeats and %d tokens acknowledged, %d tokens made",
		kills, quantile(took, 0.5), quantile(took, 1), beats.Load(), tokens.Load(), made)
}

// survivor is a device that goes on whenever it can.
type survivor struct {
	*servertest.Device
	acknowledged int64
}

// away is how long a caller waits when it was not answered.
const away = 20 * time.Millisecond

func (s *survivor) beat(ctx context.Context, t *testing.T, beats *atomic.Int64) {
	for ctx.Err() == nil {
		problem, err := s.Beat()
		switch {
		case err == nil && problem == nil:
			s.acknowledged = s.Counter
			beats.Add(1)
		case err == nil && problem.Code != protocol.CodeNotReady:
			t.Errorf("%s: refused as %s: %v", s.ID, problem.Code, problem)
			return
		default:
			pause(ctx, away)
		}
	}
}

func makeTokens(ctx context.Context, t *testing.T, who *servertest.Person, tokens *atomic.Int64) {
	for n := 0; ctx.Err() == nil; n++ {
		status, problem, err := who.Do("POST", "/api/enroll-tokens", map[string]any{"note": fmt.Sprint(n), "uses": 1, "life_seconds": 3600}, nil)
		switch {
		case err != nil || status >= 500:
			pause(ctx, away)
		case problem != nil:
			t.Errorf("making a token: %d %v", status, problem)
			return
		default:
			tokens.Add(1)
			pause(ctx, away) // the API is for people: 200 calls a second at most
		}
	}
}
