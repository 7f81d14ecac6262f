package flow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func TestWithoutItsKeyInTheBundleNothingIsSigned(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		other, _, err := signing.GenerateEd25519(signing.PurposeCommand)
		w.must(err)
		w.command = other
		id := w.sent("edge-1")
		a.mustBeat()
		if w.page(id).State != "unsigned" || len(a.answer.Commands) != 0 || !errors.Is(w.CommandKey(w.Context()), flow.ErrCommandKey) {
			t.Errorf("%s %v", w.page(id).State, w.CommandKey(w.Context()))
		}
		w.publish(func(b *signing.PolicyBundle) { b.CommandKeys = append(b.CommandKeys, other.Key()) })
		w.round()
		if w.page(id).State != "open" || w.CommandKey(w.Context()) != nil {
			t.Errorf("%s %v", w.page(id).State, w.CommandKey(w.Context()))
		}
	})
}

// REL-06: a bundle that was published while the server's clock was ahead. Devices may not
// have it, and refuse for good what names it.
func TestUnderABundleThatIsStillToComeNoCommandIsTaken(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.clock.Add(2 * time.Minute)
		w.publish(nil)
		w.clock.Add(-time.Minute - time.Second)
		var refused *flow.AskError
		for _, dry := range []bool{true, false} {
			if _, err := w.SendCommand(t.Context(), w.by, ping("edge-1"), dry); !errors.As(err, &refused) || !strings.Contains(err.Error(), "clock") || !strings.Contains(err.Error(), "publish") {
				t.Errorf("dry: %t: %v", dry, err)
			}
		}
		w.clock.Add(time.Second)
		id := w.sent("edge-1")
		a.mustBeat()
		if w.page(id).State != "open" || len(a.answer.Commands) != 1 {
			t.Errorf("a minute before: %s, %d given", w.page(id).State, len(a.answer.Commands))
		}
	})
}

// REL-06: what was asked for while the server's clock was ahead is neither signed nor given
// to anybody before it is valid, and holds up nothing meanwhile.
func TestACommandOfAClockThatWasAheadWaits(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.enrolled("edge-1"), w.enrolled("edge-2")
		w.clock.Add(10 * time.Minute)
		signed := w.sent("edge-1", "edge-2")
		unsigned := w.ask(ping("edge-1"))
		w.clock.Add(-10 * time.Minute)
		w.round()
		for range 2 {
			for _, x := range []*agent{a, b} {
				x.mustBeat()
				if given := x.given(); len(given) != 0 {
					t.Fatalf("given %v before its time", given)
				}
			}
		}
		now := w.sent("edge-1")
		for range 2 { // it is not acknowledged
			a.mustBeat()
			if given := a.given(); len(given) != 1 || given[0] != now || w.page(unsigned).State != "unsigned" {
				t.Fatalf("given %v; %s", given, w.page(unsigned).State)
			}
		}
		w.clock.Add(9 * time.Minute)
		b.mustBeat()
		if !slices.Equal(b.given(), []string{signed}) {
			t.Errorf("given %v when it is due", b.given())
		}
		w.round()
		a.mustBeat()
		for _, id := range []string{signed, unsigned} {
			if !slices.Contains(a.given(), id) {
				t.Errorf("%s is not given when it is due: %v", id, a.given())
			}
		}
	})
}

// CMD-12
func TestAPoisonedCommandHoldsUpNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		var bad []string
		for range 12 {
			bad = append(bad, w.ask(ping("edge-1")))
			w.clock.Add(time.Millisecond)
		}
		w.exec("UPDATE commands SET statement = ? WHERE id = ?", []byte("{}"), bad[0])
		w.round()
		w.exec("UPDATE commands SET envelope = ? WHERE id = ?", []byte("not JSON"), bad[1])
		w.exec("UPDATE commands SET envelope = ? WHERE id = ?", []byte(`{"payload":"`+strings.Repeat("A", protocol.MaxStatement)+`"}`), bad[2])
		w.exec("UPDATE commands SET envelope = ? WHERE id = ?", []byte{}, bad[3])
		good := w.sent("edge-1")
		got := map[string]int{}
		for range 4 { // none of them is ever acknowledged
			a.mustBeat()
			for _, id := range a.given() {
				got[id]++
			}
		}
		if got[good] == 0 {
			t.Errorf("the one behind them was not delivered: %v", got)
		}
		w.round()
		w.expect(bad[0], "edge-1", "failed", "unsignable")
		for _, id := range bad[1:4] {
			w.expect(id, "edge-1", "failed", "undeliverable")
		}
		if w.page(bad[0]).State != "cancelled" || w.page(bad[1]).State != "done" || len(got) != 9 {
			t.Errorf("%s %s %v", w.page(bad[0]).State, w.page(bad[1]).State, got)
		}
	})
}

// broken is a signer whose key does not sign.
type broken struct {
	signing.Signer

	asked int
}

var errBroken = errors.New("the module is on fire")

func (b *broken) Sign(context.Context, []byte) ([]byte, error) { b.asked++; return nil, errBroken }

// CMD-12: what waits for a signer that takes its time to fail waits once, nothing of it
// leaves, and everybody is told without the reason, which is for the log.
func TestASignerThatFailsIsAskedOnceARound(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		good := w.command
		bad := &broken{Signer: good}
		w.command = bad
		ids := []string{w.ask(ping("edge-1")), w.ask(ping("edge-1")), w.ask(ping("edge-1"))}
		for round := 1; round <= 2; round++ {
			if err := w.CommandRound(w.Context()); !errors.Is(err, errBroken) || bad.asked != round {
				w.Fatalf("round %d: asked %d times: %v", round, bad.asked, err)
			}
		}
		if err := w.CommandKey(w.Context()); !errors.Is(err, flow.ErrCommandKey) || strings.Contains(err.Error(), "fire") || !strings.Contains(err.Error(), "keys check") {
			t.Errorf("%v", err)
		}
		a.mustBeat()
		if len(a.answer.Commands) != 0 || w.page(ids[0]).State != "unsigned" {
			t.Errorf("%v %s", a.answer.Commands, w.page(ids[0]).State)
		}
		w.command = good
		w.round()
		if err := w.CommandKey(w.Context()); err != nil {
			t.Errorf("it signs again: %v", err)
		}
		for _, id := range ids {
			if w.page(id).State != "open" {
				t.Errorf("%s: %s", id, w.page(id).State)
			}
		}
	})
}
