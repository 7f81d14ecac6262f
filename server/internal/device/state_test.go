package device_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
)

func TestOnlyAnActiveDeviceThatIsNotHeldHasAnOpenGate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state device.State
		held  bool
		want  device.Gate
	}{
		{device.Active, false, device.GateOpen},
		{device.Active, true, device.GateHeld},
		{device.Suspended, false, device.GateSuspended},
		{device.Suspended, true, device.GateSuspended},
		{device.Revoked, false, device.GateRevoked},
		{device.Revoked, true, device.GateRevoked},
		{device.Retired, false, device.GateRevoked},
		{"", false, device.GateRevoked},
		{"Active", false, device.GateRevoked},
		{"a state of a later version", false, device.GateRevoked},
	} {
		if got := device.GateOf(c.state, c.held); got != c.want {
			t.Errorf("%q, held %v: gate %d, want %d", c.state, c.held, got, c.want)
		}
	}
}

// REV-07
func TestNoChangeLeadsOutOfAFinalState(t *testing.T) {
	t.Parallel()
	states := []device.State{device.Active, device.Suspended, device.Revoked, device.Retired}
	for _, from := range states {
		for _, to := range states {
			var want error
			switch {
			case from == device.Revoked || from == device.Retired:
				want = device.ErrFinal
			case from == to:
				want = device.ErrAlready
			}
			if err := device.Change(from, to); !errors.Is(err, want) {
				t.Errorf("%s to %s: %v, want %v", from, to, err, want)
			}
		}
	}
}

func add(t *testing.T, d *db.DB, id string) {
	t.Helper()
	write(t, d, func(ctx context.Context, tx db.Tx) error {
		epoch, err := tx.Epoch(ctx)
		if err != nil {
			return err
		}
		return device.Add(ctx, tx, &device.Device{DeviceID: id, EnrollmentID: tx.NewID()}, map[string]string{"site": "b"}, "f1", epoch)
	})
}

// ENR-03: whatever the caller checked before.
func TestADeviceIDIsAddedOnce(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d := open(t, url)
		add(t, d, "edge-1")
		err := d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
			return device.Add(ctx, tx, &device.Device{DeviceID: "edge-1", EnrollmentID: tx.NewID()}, nil, "f2", "e")
		})
		if !errors.Is(err, device.ErrExists) {
			t.Fatalf("a second time: %v", err)
		}
		c, err := device.GetCounter(t.Context(), d.Read(), "edge-1")
		if err != nil || c.Fingerprint != "f1" {
			t.Fatalf("the first one's counter: %+v, %v", c, err)
		}
	})
}

// REV-07: from revoked, no sequence of acts opens the gate or ends the state.
func TestNoSequenceOfActsBringsARevokedDeviceBack(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d := open(t, url)
		add(t, d, "edge-1")
		acts := []func(ctx context.Context, tx db.Tx) (*device.Device, error){
			func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Suspend(ctx, tx, "edge-1", "x", "x")
			},
			func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Resume(ctx, tx, "edge-1", "x", "x")
			},
			func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Hold(ctx, tx, "edge-1", "x")
			},
			func(ctx context.Context, tx db.Tx) (*device.Device, error) { return device.Resync(ctx, tx, "edge-1") },
			func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Revoke(ctx, tx, "edge-1", "x", "again")
			},
		}
		// Held and suspended first, so that there is something to end.
		for _, i := range []int{2, 0} {
			write(t, d, func(ctx context.Context, tx db.Tx) error { _, err := acts[i](ctx, tx); return err })
		}
		write(t, d, func(ctx context.Context, tx db.Tx) error {
			_, err := device.Revoke(ctx, tx, "edge-1", "alice", "stolen")
			return err
		})
		choose := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			i := choose.IntN(len(acts))
			err := d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { _, err := acts[i](ctx, tx); return err })
			if err == nil {
				t.Fatalf("act %d on a revoked device was done", i)
			}
		}
		got, err := device.Get(t.Context(), d.Read(), "edge-1")
		if err != nil || got.State != device.Revoked || got.StateReason != "stolen" || got.StateBy != "alice" {
			t.Errorf("the device is %+v, %v", got, err)
		}
		c, err := device.GetCounter(t.Context(), d.Read(), "edge-1")
		if err != nil || c.Gate != device.GateRevoked {
			t.Errorf("its gate is %+v, %v", c, err)
		}
	})
}

func TestTheGateFollowsStateAndHold(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d := open(t, url)
		add(t, d, "edge-1")
		for _, step := range []struct {
			name string
			act  func(ctx context.Context, tx db.Tx) (*device.Device, error)
			want device.Gate
			err  error
		}{
			{"hold", func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Hold(ctx, tx, "edge-1", "it went back")
			}, device.GateHeld, nil},
			{"hold again", func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Hold(ctx, tx, "edge-1", "another reason")
			}, device.GateHeld, device.ErrAlready},
			{"suspend", func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Suspend(ctx, tx, "edge-1", "x", "x")
			}, device.GateSuspended, nil},
			{"resume: the hold stays", func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Resume(ctx, tx, "edge-1", "x", "x")
			}, device.GateHeld, nil},
			{"resync", func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Resync(ctx, tx, "edge-1")
			}, device.GateOpen, nil},
			{"resync again", func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Resync(ctx, tx, "edge-1")
			}, device.GateOpen, device.ErrNotHeld},
			{"resume of an active one", func(ctx context.Context, tx db.Tx) (*device.Device, error) {
				return device.Resume(ctx, tx, "edge-1", "x", "x")
			}, device.GateOpen, device.ErrAlready},
		} {
			err := d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { _, err := step.act(ctx, tx); return err })
			if !errors.Is(err, step.err) {
				t.Fatalf("%s: %v", step.name, err)
			}
			c, err := device.GetCounter(t.Context(), d.Read(), "edge-1")
			if err != nil || c.Gate != step.want {
				t.Fatalf("%s: gate %d, want %d, %v", step.name, c.Gate, step.want, err)
			}
		}
		if c, _ := device.GetCounter(t.Context(), d.Read(), "edge-1"); c.Epoch != "" || c.BootID != "" {
			t.Errorf("a resync left epoch %q and boot %q: a captured beat would count", c.Epoch, c.BootID)
		}
	})
}
