package flow_test

import (
	"errors"
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
		if w.page(id).State != "unsigned" || len(a.answer.Commands) != 0 || !errors.Is(w.CommandKey(), flow.ErrCommandKey) {
			t.Errorf("%s %v", w.page(id).State, w.CommandKey())
		}
		w.publish(func(b *signing.PolicyBundle) { b.CommandKeys = append(b.CommandKeys, other.Key()) })
		w.round()
		if w.page(id).State != "open" || w.CommandKey() != nil {
			t.Errorf("%s %v", w.page(id).State, w.CommandKey())
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
