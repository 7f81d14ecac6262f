package flow_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
)

// CMD-11: who cancels is told the truth.
func TestCancelEndsWhatDoesNotRunYet(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b, c := w.enrolled("edge-1"), w.enrolled("edge-2"), w.enrolled("edge-3")
		id := w.sent("edge-1", "edge-2", "edge-3")
		a.mustBeat()
		b.mustBeat()
		b.acks = []string{id}
		b.mustBeat()
		done, err := w.CancelCommand(t.Context(), w.by, id, "not needed")
		if err != nil || done != (flow.Withdrawal{Cancelled: 1, MayRun: 1, Running: 1}) {
			t.Fatalf("%+v %v", done, err)
		}
		c.mustBeat()
		a.acks = []string{id}
		a.mustBeat()
		if len(c.answer.Commands)+len(a.answer.Commands) != 0 {
			t.Error("it is delivered after it was cancelled")
		}
		a.results = []json.RawMessage{a.result(id, nil)}
		a.mustBeat()
		w.expect(id, "edge-1", "cancelled", "cancelled-after-delivery")
		w.expect(id, "edge-3", "cancelled", "cancelled")
		if w.page(id).State != "open" {
			t.Error("it ended while it runs somewhere")
		}
		if _, err := w.CancelCommand(t.Context(), w.by, id, "again"); !errors.Is(err, command.ErrOver) {
			t.Errorf("again: %v", err)
		}
		b.results = []json.RawMessage{b.result(id, nil)}
		b.mustBeat()
		w.round()
		w.expect(id, "edge-2", "succeeded", "")
		if p := w.page(id); p.State != "cancelled" || p.EndedBy != "alice" {
			t.Errorf("%+v", p)
		}

		running := w.sent("edge-2")
		b.mustBeat()
		b.acks = []string{running}
		b.mustBeat()
		if _, err := w.CancelCommand(t.Context(), w.by, running, "too late"); !errors.Is(err, command.ErrRunning) || w.page(running).Ending != "" {
			t.Errorf("cancel what runs: %v", err)
		}
		if _, err := w.CancelCommand(t.Context(), w.by, running, ""); !errors.Is(err, flow.ErrReason) {
			t.Errorf("without a reason: %v", err)
		}
		early := w.ask(ping("edge-1")) // not signed yet
		if done, err := w.CancelCommand(t.Context(), w.by, early, "no"); err != nil || done.Cancelled != 1 {
			t.Errorf("%+v %v", done, err)
		}
		w.round()
		if p := w.page(early); p.State != "cancelled" || p.SignedAt != 0 {
			t.Errorf("it was signed after it was cancelled: %+v", p)
		}
	})
}

// CMD-07
func TestWhatIsNotDoneInTimeExpires(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		never, silent, lost, late := w.enrolled("edge-1"), w.enrolled("edge-2"), w.enrolled("edge-3"), w.enrolled("edge-4")
		id := w.sent("edge-1", "edge-2", "edge-3", "edge-4")
		for _, a := range []*agent{silent, lost, late} {
			a.mustBeat()
		}
		lost.acks, late.acks = []string{id}, []string{id}
		lost.mustBeat()
		late.mustBeat()
		w.clock.Add(time.Hour)
		never.mustBeat()
		silent.mustBeat()
		if len(never.answer.Commands)+len(silent.answer.Commands) != 0 {
			t.Error("it is delivered after its time")
		}
		w.round()
		w.expect(id, "edge-1", "expired", "never-delivered")
		w.expect(id, "edge-2", "delivered", "")
		late.results = []json.RawMessage{late.result(id, nil)} // it began in time
		late.mustBeat()
		w.clock.Add(command.ReportGrace)
		w.round()
		w.expect(id, "edge-2", "expired", "no-acknowledgement")
		w.expect(id, "edge-3", "expired", "no-result")
		w.expect(id, "edge-4", "succeeded", "")
		if w.page(id).State != "expired" {
			t.Errorf("%+v", w.page(id).CommandRow)
		}
		lost.results = []json.RawMessage{lost.result(id, nil)}
		lost.mustBeat()
		if w.expect(id, "edge-3", "expired", "no-result"); !slices.Equal(lost.answer.ResultsStored, []string{id}) {
			t.Error("the device is not told to stop")
		}
	})
}

func TestARevokedDevicesCommandsEnd(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.enrolled("edge-2")
		running, waiting := w.sent("edge-1"), w.sent("edge-1", "edge-2")
		a.mustBeat()
		a.acks = []string{running}
		a.mustBeat()
		unsigned := w.ask(ping("edge-1"))
		w.must(w.Revoke(t.Context(), w.by, "edge-1", "stolen"))
		w.round()
		for _, id := range []string{running, waiting, unsigned} {
			w.expect(id, "edge-1", "cancelled", "device-revoked")
		}
		if w.page(running).State != "done" || w.page(waiting).State != "open" || !slices.Contains([]string{"done", "cancelled"}, w.page(unsigned).State) {
			t.Errorf("%s %s %s", w.page(running).State, w.page(waiting).State, w.page(unsigned).State)
		}
	})
}

func TestARestoreEndsWhatWasUnderWay(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		id := w.sent("edge-1")
		_, err := flow.MarkRestored(t.Context(), w.d, w.outside, w.by, nil)
		w.must(err)
		w.round()
		w.expect(id, "edge-1", "cancelled", "database-restored")
	})
}
