//go:build heavy

package heavy

import (
	"fmt"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// Everything that devices ever said was recorded, and is said again by somebody
// who holds their keys: at once, after a restart, after a restore. Nothing of it is
// accepted, nobody honest is stopped by it. At twenty rounds it is 10,000
// devices. HBT-01, HBT-02, HBT-07
//
//nolint:tparallel // the subtests that onBoth starts are parallel
func TestNoCapturedHeartbeatIsAcceptedAgain(t *testing.T) {
	t.Parallel() // with tests that mostly wait
	n := min(500*rounds.Of(t), 10_000)
	onBoth(t, func(t *testing.T, database string) {
		t.Parallel()
		f := newFleet(t, database)
		list := f.devices(n)
		captured := make([][]byte, n)
		stage := func(name string, want protocol.Code, honest func(i int) error) {
			t.Helper()
			took := forAll(t, n, beating, func(i int) error {
				d := list[i]
				defer d.Hangup() // ten thousand connections are more than a test may hold
				if captured[i] == nil {
					h := d.Heartbeat()
					captured[i] = bytesOf(t, h)
					if problem, err := d.Send(h); err != nil || problem != nil {
						return fmt.Errorf("%s: %v %v", d.ID, problem, err)
					}
				}
				if err := replay(d, captured[i], want); err != nil {
					return err
				}
				return honest(i)
			})
			t.Logf("%s: 0 of %d replays accepted, %d of %d devices went on; devices %s", name, n, n, n, perSecond(n, took))
		}
		again := func() {
			f.Server = f.Again()
			for i, d := range list {
				list[i] = d.At(f.Server)
			}
		}

		stage("at once", protocol.CodeCounterStale, func(i int) error { return accepted(list[i]) })

		f.Stop()
		again()
		stage("after a restart", protocol.CodeCounterStale, func(i int) error { return accepted(list[i]) })

		f.MarkRestored()
		again()
		stage("after a restore", protocol.CodeEpochChanged, func(i int) error {
			if problem, err := list[i].Beat(); err != nil || problem == nil || problem.Code != protocol.CodeEpochChanged {
				return fmt.Errorf("%s: in the epoch of before: %v %v", list[i].ID, problem, err)
			}
			return accepted(list[i])
		})
		stage("once all went on after a restore", protocol.CodeEpochChanged, func(i int) error { return accepted(list[i]) })

		// What the device counted is what stands: nothing else raised a counter.
		if stand := f.Count("device_counters", "counter = 6 AND gate = 0"); stand != n {
			t.Errorf("%d of %d devices stand where they should", stand, n)
		}
		if held := f.Count("devices", "held_reason <> ''"); held != 0 {
			t.Errorf("%d devices are held", held)
		}
		if held := f.Count("audit_entries", "action = 'device.hold'"); held != 0 {
			t.Errorf("%d devices were held in between", held)
		}
	})
}
