package deviceapi_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// revocationLimit is the promise: refused everywhere after this time.
const revocationLimit = 5 * time.Second

// PKI-03, REV-01. It measures, and so runs beside no other test of this package.
func TestARevokedDeviceIsRefusedAtEveryNodeOnTheConnectionThatWasOpen(t *testing.T) {
	t.Run("two nodes on postgres", func(t *testing.T) {
		w := newWorld(t, dbtest.PostgresURL(t), servertest.Options{})
		revokeAll(t, w, 100, w.Server, w.Sibling())
	})
	t.Run("one node on sqlite", func(t *testing.T) {
		w := newWorld(t, "sqlite:", servertest.Options{})
		revokeAll(t, w, 25, w.Server)
	})
}

// revokeAll holds a connection of each device to each node open, revokes the
// devices at the first node, and measures how long the last node accepts one.
func revokeAll(t *testing.T, w *world, devices int, nodes ...*servertest.Server) {
	t.Helper()
	token := w.operator.EnrollToken(devices + 1)
	control := w.Enroll("control", token, w.reviewer)
	fleet := make([][]*servertest.Device, devices)
	dials := make([]*atomic.Int32, 0, devices*len(nodes))
	for i := range fleet {
		d := w.Enroll(fmt.Sprintf("edge-%d", i), token, w.reviewer)
		for _, n := range nodes {
			last := d
			d = d.At(n)
			d.Counter, d.Nonce, d.Receipt = last.Counter, last.Nonce, last.Receipt
			dials = append(dials, countDials(d))
			d.MustBeat()
			fleet[i] = append(fleet[i], d)
		}
	}

	var mu sync.Mutex
	var slowest time.Duration
	refused := 0
	var wg sync.WaitGroup
	work := make(chan []*servertest.Device)
	for range 8 {
		wg.Go(func() {
			for at := range work {
				begin := time.Now()
				status, problem, err := w.operator.Do("POST", "/api/devices/"+at[0].ID+"/certificate/revoke", map[string]string{"reason": "lost"}, nil)
				if err != nil || problem != nil {
					t.Errorf("revoke %s: %d %v %v", at[0].ID, status, problem, err)
					continue
				}
				good := true
				for n, d := range at {
					d.Counter += 100 // above whatever the other node has stored: only the revocation is in its way
					problem, err := d.Beat()
					if err != nil || problem == nil || problem.Code != protocol.CodeDeviceRevoked {
						t.Errorf("%s at node %d after its revocation: %v %v", d.ID, n, problem, err)
						good = false
					}
					if _, problem, err := d.SendWish(d.Wish(false)); err != nil || problem == nil || problem.Code != protocol.CodeDeviceRevoked {
						t.Errorf("%s renews at node %d after its revocation: %v %v", d.ID, n, problem, err)
						good = false
					}
				}
				mu.Lock()
				if slowest = max(slowest, time.Since(begin)); good {
					refused++
				}
				mu.Unlock()
			}
		})
	}
	for _, at := range fleet {
		work <- at
	}
	close(work)
	wg.Wait()

	if refused != devices || slowest > revocationLimit {
		t.Errorf("%d of %d refused at all nodes, the slowest after %v", refused, devices, slowest)
	}
	t.Logf("%d of %d refused at %d node(s), on the connections that were open; from the call to the last refusal at most %v",
		refused, devices, len(nodes), slowest.Round(time.Millisecond))
	for i, n := range dials {
		if n.Load() != 1 {
			t.Errorf("connection %d was opened %d times", i, n.Load())
		}
	}
	if n := w.Count("device_counters", "gate = 3 AND counter = ?", len(nodes)); n != devices {
		t.Errorf("%d devices stand as they were", n)
	}
	// A new connection changes nothing, and who was not revoked goes on.
	fleet[0][0].Hangup()
	if p, err := fleet[0][0].Beat(); err != nil || p == nil || p.Code != protocol.CodeDeviceRevoked {
		t.Errorf("on a new connection: %v %v", p, err)
	}
	control.MustBeat()
}
