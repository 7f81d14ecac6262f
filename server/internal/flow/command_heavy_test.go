//go:build heavy

package flow_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// CMD-11, at length: four devices, ten thousand races at ten rounds.
func TestManyCancelsRaceDelivery(t *testing.T) { raceCancel(t, 250*rounds.Of(t)) }

// A command for ten thousand devices is told to them while they send heartbeats:
// it takes seconds, and no heartbeat fails for it.
func TestTenThousandDevicesAreToldUnderHeartbeats(t *testing.T) {
	const devices, workers = 10_000, 32
	w := newWorld(t, dbtest.PostgresURL(t), func(s *flow.Settings) { s.BatchWindow, s.BatchSize = 3*time.Millisecond, 256 })
	template := w.enrolled("template")
	in, err := w.d.Instance(t.Context())
	w.must(err)
	w.fleetOf(devices, template)

	type node struct{ counter int64 }
	var mu sync.Mutex
	var took []time.Duration
	given := map[string]bool{}
	failed := 0
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for n := range workers {
		all.Go(func() {
			counters := map[int]*node{}
			nonces := map[int]string{}
			for d := n; ctx.Err() == nil; d += workers {
				if d >= devices {
					d = n
				}
				if counters[d] == nil {
					counters[d] = &node{}
				}
				counters[d].counter++
				id := fmt.Sprintf("d-%05d", d)
				h := &protocol.Heartbeat{Protocol: 1, DeviceID: id, EnrollmentID: fmt.Sprintf("00000000-0000-4000-8000-%012d", d), Counter: counters[d].counter,
					Epoch: in.Epoch, BootID: template.boot, AgentVersion: "1.0.0", Nonce: nonces[d]}
				begin := time.Now()
				answer, err := w.Heartbeat(context.Background(), certs.Identity{DeviceID: id, Fingerprint: fmt.Sprintf("f-%05d", d)}, h)
				mu.Lock()
				took = append(took, time.Since(begin))
				if err != nil {
					failed++
					t.Log(err)
				} else {
					nonces[d] = answer.Nonce
					if len(answer.Commands) > 0 {
						given[id] = true
					}
				}
				mu.Unlock()
			}
		})
	}
	measure := func(what string, f func()) {
		mu.Lock()
		took = nil
		mu.Unlock()
		begin := time.Now()
		f()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(took)
		if len(took) > 0 {
			t.Logf("%s: %s; %d heartbeats, p50 %s, p99 %s, longest %s, %d failed", what, time.Since(begin).Round(time.Millisecond), len(took),
				took[len(took)/2].Round(time.Microsecond), took[len(took)*99/100].Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond), failed)
		}
	}
	measure("before", func() { time.Sleep(3 * time.Second) })
	var id string
	measure("ask", func() { id = w.ask(flow.CommandAsk{Kind: "ping", Label: "all=yes", Life: time.Hour, Reason: "test"}) })
	measure("sign and queue", w.round)
	if n := w.count("device_counters", "pending = 0 AND device_id <> 'template' AND device_id NOT IN (SELECT device_id FROM command_targets WHERE deliveries > 0)"); n != 0 {
		t.Errorf("%d devices are not told", n)
	}
	measure("deliver", func() {
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			mu.Lock()
			n := len(given)
			mu.Unlock()
			if n == devices {
				return
			}
		}
		t.Error("not every device was given it")
	})
	measure("cancel", func() {
		done, err := w.CancelCommand(t.Context(), w.by, id, "enough")
		if err != nil || done.MayRun != devices {
			t.Errorf("%+v %v", done, err)
		}
	})
	stop()
	all.Wait()
	if failed > 0 {
		t.Errorf("%d heartbeats failed", failed)
	}
}

// fleetOf puts devices into the database as if they had enrolled.
func (w *world) fleetOf(n int, like *agent) {
	w.Helper()
	w.must(w.d.Batch(w.Context(), func(ctx context.Context, tx db.Tx) error {
		for _, q := range []string{
			`INSERT INTO enrollments SELECT '00000000-0000-4000-8000-' || lpad(i::text, 12, '0'), token_id, 'd-' || lpad(i::text, 5, '0'), state, csr, csr_digest, key_code, facts, source, approval_id, fingerprint, reason, created_at, expires_at, decided_at
			 FROM enrollments, generate_series(0, ?) AS i WHERE id = ?`,
			`INSERT INTO devices SELECT 'd-' || lpad(i::text, 5, '0'), '00000000-0000-4000-8000-' || lpad(i::text, 12, '0'), state, state_reason, state_by, state_at, held_reason, name, owner, sensitive, key_code, agent_version, policy_version, root_version, first_use, facts, enrolled_at
			 FROM devices, generate_series(0, ?) AS i WHERE enrollment_id = ?`,
			`INSERT INTO certificates SELECT 'f-' || lpad(i::text, 5, '0'), 's-' || i, kind, 'd-' || lpad(i::text, 5, '0'), enrollment_id, authority_id, der, not_before, not_after, issued_at
			 FROM certificates, generate_series(0, ?) AS i WHERE enrollment_id = ?`,
			`INSERT INTO device_counters (device_id, enrollment_id, fingerprint, gate, epoch) SELECT 'd-' || lpad(i::text, 5, '0'), '00000000-0000-4000-8000-' || lpad(i::text, 12, '0'), 'f-' || lpad(i::text, 5, '0'), 0, epoch
			 FROM device_counters, generate_series(0, ?) AS i WHERE enrollment_id = ?`,
			`INSERT INTO device_labels SELECT 'd-' || lpad(i::text, 5, '0'), 'all', 'yes' FROM devices, generate_series(0, ?) AS i WHERE enrollment_id = ?`,
		} {
			if _, err := tx.NewRaw(q, n-1, like.enrollmentID).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	}))
	_, err := w.d.Read().NewRaw("ANALYZE").Exec(w.Context())
	w.must(err)
}
