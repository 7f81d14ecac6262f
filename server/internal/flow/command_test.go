package flow_test

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func ping(devices ...string) flow.CommandAsk {
	return flow.CommandAsk{Kind: "ping", DeviceIDs: devices, Life: time.Hour, Reason: "test"}
}

// send asks for a command and returns its id; round signs and queues it.
func (w *world) ask(ask flow.CommandAsk) string {
	w.Helper()
	plan, err := w.SendCommand(w.Context(), w.by, ask, false)
	w.must(err)
	return plan.Command.ID
}

func (w *world) round() { w.Helper(); w.must(w.CommandRound(w.Context())) }

func (w *world) sent(devices ...string) string {
	w.Helper()
	id := w.ask(ping(devices...))
	w.round()
	return id
}

func (w *world) page(id string) *view.Command {
	w.Helper()
	c, err := view.CommandPage(w.Context(), w.d.Read(), id)
	w.must(err)
	return c
}

// target is how a command stands with a device.
func (w *world) target(id, device string) view.CommandTarget {
	w.Helper()
	for _, t := range w.page(id).FirstTargets {
		if t.DeviceID == device {
			return t
		}
	}
	w.Fatalf("%s is no target of %s", device, id)
	return view.CommandTarget{}
}

func (w *world) expect(id, device, state, reason string) {
	w.Helper()
	if t := w.target(id, device); t.State != state || t.Reason != reason {
		w.Errorf("%s: %s %q, and should be %s %q", device, t.State, t.Reason, state, reason)
	}
}

func (a *agent) mustBeat() {
	a.w.Helper()
	a.w.must(a.beat())
}

// given are the action ids in the last answer.
func (a *agent) given() (ids []string) {
	for _, c := range a.answer.Commands {
		ids = append(ids, c.ActionID)
	}
	return ids
}

// result is what the device says of a command, honestly unless changed.
func (a *agent) result(id string, change func(*signing.CommandResult)) json.RawMessage {
	a.w.Helper()
	c, err := command.Get(a.w.Context(), a.w.d.Read(), id)
	digest := strings.Repeat("0", 64)
	if err == nil {
		digest = c.Digest
	}
	r := signing.CommandResult{DeviceID: a.id, EnrollmentID: a.enrollmentID, ActionID: id, StatementDigest: digest, Status: signing.Succeeded, At: a.w.clock.Now()}
	if change != nil {
		change(&r)
	}
	env, err := signing.SignResult(context.Background(), r, a.key)
	a.w.must(err)
	data, err := env.Marshal()
	a.w.must(err)
	return data
}

func (w *world) pending(device string) int {
	return w.count("device_counters", "device_id = ? AND pending <> 0", device)
}
