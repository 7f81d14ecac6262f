package flow_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func TestACommandIsDeliveredUntilAcknowledgedAndEndsWithItsResult(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.enrolled("edge-1"), w.enrolled("edge-2")
		id := w.ask(ping("edge-1"))
		a.mustBeat()
		if len(a.answer.Commands) != 0 {
			t.Fatal("it went out before it was signed")
		}
		w.round()
		for n := range 2 {
			a.mustBeat()
			if !slices.Equal(a.given(), []string{id}) || w.target(id, "edge-1").Deliveries != int64(n+1) {
				t.Fatalf("delivery %d: %v", n+1, a.given())
			}
		}
		env, err := signing.ParseEnvelope(a.answer.Commands[0].Statement)
		w.must(err)
		fleet, err := w.policy.Fleet()
		w.must(err)
		if s, err := signing.VerifyCommand(env, fleet.Bundle); err != nil || s.Kind != "ping" || s.Requester != "Alice" || s.RootDigest != fleet.Root.Digest {
			t.Fatalf("%+v %v", s, err)
		}
		b.mustBeat()
		if len(b.answer.Commands) != 0 {
			t.Fatal("another device was given it")
		}
		a.acks = []string{id}
		a.mustBeat()
		w.expect(id, "edge-1", "acknowledged", "")
		if len(a.answer.Commands) != 0 || w.pending("edge-1") != 0 {
			t.Error("it is delivered after it was acknowledged")
		}
		a.results = []json.RawMessage{a.result(id, nil)}
		a.mustBeat()
		if !slices.Equal(a.answer.ResultsStored, []string{id}) {
			t.Errorf("stored: %v", a.answer.ResultsStored)
		}
		w.round()
		w.expect(id, "edge-1", "succeeded", "")
		if c := w.page(id); c.State != "done" || c.ClosedAt == 0 {
			t.Errorf("%+v", c.CommandRow)
		}
	})
}

// A statement for many names a tree, and each device gets the proof of its place.
func TestManyDevicesGetProofs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		var ids []string
		devices := map[string]*agent{}
		for i := range signing.MaxListedTargets + 1 {
			id := "edge-" + string(rune('a'+i))
			devices[id], ids = w.enrolled(id), append(ids, id)
		}
		id := w.sent(ids...)
		for _, a := range devices {
			a.mustBeat()
			if len(a.answer.Commands) != 1 {
				t.Fatalf("%s: %v", a.id, a.given())
			}
			env, err := signing.ParseEnvelope(a.answer.Commands[0].Statement)
			w.must(err)
			s, err := signing.ReadCommand(env.Payload)
			w.must(err)
			var proof signing.Proof
			w.must(json.Unmarshal(a.answer.Commands[0].Proof, &proof))
			if err := s.Targets.Includes(signing.Target{DeviceID: a.id, EnrollmentID: a.enrollmentID}, &proof); err != nil {
				t.Errorf("%s: %v", a.id, err)
			}
		}
		// A database that was changed gives nobody a proof that is none.
		second := w.sent(ids...)
		w.exec("UPDATE command_targets SET enrollment_id = ? WHERE command_id = ? AND device_id = 'edge-b'", db.NewID(w.clock.Now()), second)
		devices["edge-a"].acks = []string{id}
		devices["edge-a"].mustBeat()
		w.expect(second, "edge-a", "failed", "undeliverable")
	})
}

// The flag is what a device's next heartbeat asks by; it must not be lost between
// the node that signs and the one that answers.
func TestThePendingFlagIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dbtest.PostgresURL(t), nil)
	a := w.enrolled("edge-1")
	w.exec("UPDATE device_counters SET pending = 1")
	held, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() { // a heartbeat that has looked, and is about to unset the flag
		done <- w.d.Batch(context.Background(), func(ctx context.Context, tx db.Tx) error {
			if _, err := device.HoldPending(ctx, tx, "edge-1"); err != nil {
				return err
			}
			close(held)
			<-release
			return device.ClearPending(ctx, tx, "edge-1", device.PendingCommand)
		})
	}()
	<-held
	id := w.ask(ping("edge-1"))
	queued := make(chan error, 1)
	go func() { queued <- w.CommandRound(context.Background()) }()
	tries := int64(-1)
	for tries < 0 || w.begun.Load() < tries+5 { // it is signed; its flag cannot be raised, again and again
		if tries < 0 && w.page(id).State == "open" {
			tries = w.begun.Load()
		}
		select {
		case err := <-queued:
			t.Fatalf("the round ended while the row was held: %v", err)
		default:
		}
	}
	close(release)
	w.must(<-done)
	w.must(<-queued)
	a.mustBeat()
	if !slices.Equal(a.given(), []string{id}) {
		t.Error("the device was not told that a command waits")
	}
}

// Each statement asks the row itself: what was read before it may be old.
func TestEachStatementChecksTheStateItself(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		id := w.sent("edge-1")
		changed := func(what string, want bool, f func(ctx context.Context, tx db.Tx) (bool, error)) {
			t.Helper()
			var got bool
			w.must(w.d.Batch(t.Context(), func(ctx context.Context, tx db.Tx) (err error) { got, err = f(ctx, tx); return err }))
			if got != want {
				t.Errorf("%s: %t", what, got)
			}
		}
		deliver := func(ctx context.Context, tx db.Tx) (bool, error) { return command.MarkDelivered(ctx, tx, id, "edge-1") }
		acknowledge := func(ctx context.Context, tx db.Tx) (bool, error) {
			return command.MarkAcknowledged(ctx, tx, id, "edge-1")
		}
		end := func(e command.Event) func(ctx context.Context, tx db.Tx) (bool, error) {
			return func(ctx context.Context, tx db.Tx) (bool, error) {
				return command.Close(ctx, tx, id, "edge-1", e, "", nil)
			}
		}
		changed("acknowledged before it was delivered", false, acknowledge)
		changed("delivered", true, deliver)
		changed("acknowledged", true, acknowledge)
		changed("delivered after that", false, deliver)
		changed("cancelled after that", false, end(command.Cancel))
		changed("a result", true, end(command.Succeed))
		for what, f := range map[string]func(ctx context.Context, tx db.Tx) (bool, error){
			"delivered": deliver, "acknowledged": acknowledge, "a second result": end(command.Fail), "its time": end(command.Overdue), "a revocation": end(command.EndDevice),
		} {
			changed(what+" after it ended", false, f)
		}
		w.expect(id, "edge-1", "succeeded", "")
	})
}
