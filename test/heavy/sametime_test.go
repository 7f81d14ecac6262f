//go:build heavy

package heavy

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// The same counter arrives at two places at the same instant, and in every other
// pair the next one at one of them. Two places are two nodes on PostgreSQL, and
// two connections on SQLite, which has one node. At ten rounds it is 10,000
// pairs. HBT-03
func TestOfTwoEqualCountersOneIsAccepted(t *testing.T) {
	const devices = 10
	onBoth(t, func(t *testing.T, database string) {
		f := newFleet(t, database)
		other := f.Server
		if database != "" {
			other = f.Sibling()
		}
		pairs := 1000 * rounds.Of(t) / devices
		list := f.devices(devices)
		lengths := make([]int, devices)
		took := forAll(t, devices, devices, func(i int) error {
			r := &recorder{start: time.Now(), places: [2]*servertest.Device{list[i], list[i].At(other)}}
			for k := range pairs {
				step := int64(k % 2) // 0: the same counter, 1: this one and the next
				if err := r.pair(step); err != nil {
					return err
				}
			}
			lengths[i] = len(r.history)
			if err := explain(r.history); err != nil {
				return fmt.Errorf("%s: %w", list[i].ID, err)
			}
			return nil
		})
		operations := 0
		for _, n := range lengths {
			operations += n
		}
		if held := f.Count("device_counters", "gate <> 0"); held != 0 {
			t.Errorf("%d devices are held", held)
		}
		t.Logf("pairs: %s; %d operations in histories that are all explained", perSecond(pairs*devices, took), operations)
	})
}

// recorder sends heartbeats of one device from two places and keeps its history.
type recorder struct {
	start   time.Time
	places  [2]*servertest.Device
	history []operation
}

// pair sends the next counter at one place and that counter plus step at the
// other. The higher one must be accepted; of two equal ones, one.
func (r *recorder) pair(step int64) error {
	d := r.places[0]
	first := d.Heartbeat()
	second := *first
	second.Counter += step
	d.Counter = second.Counter

	var ops [2]operation
	var errs [2]error
	send := func(i int, h *protocol.Heartbeat) func() {
		return func() { ops[i], errs[i] = r.send(r.places[i], h) }
	}
	atOnce(send(0, first), send(1, &second))
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	r.history = append(r.history, ops[:]...)
	switch {
	case step == 0 && ops[0].accepted == ops[1].accepted:
		return fmt.Errorf("%s: of two heartbeats with counter %d, both or none were accepted", d.ID, first.Counter)
	case step > 0 && !ops[1].accepted:
		return fmt.Errorf("%s: counter %d was refused beside %d", d.ID, second.Counter, first.Counter)
	}
	return nil
}

func (r *recorder) send(at *servertest.Device, h *protocol.Heartbeat) (operation, error) {
	o := operation{counter: h.Counter, begin: time.Since(r.start)}
	problem, err := at.Post(protocol.PathHeartbeat, h, nil)
	o.end, o.accepted = time.Since(r.start), problem == nil
	if err == nil && problem != nil && problem.Code != protocol.CodeCounterStale {
		err = problem
	}
	return o, err
}
