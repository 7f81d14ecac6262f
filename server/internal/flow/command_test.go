package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
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

// CMD-05
func TestWhatDoesNotFitIsRefusedAndTheFirstResultStands(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.enrolled("edge-1"), w.enrolled("edge-2")
		id := w.sent("edge-1")
		stored := func(who *agent, want ...string) {
			t.Helper()
			who.mustBeat()
			if !slices.Equal(who.answer.ResultsStored, want) {
				t.Errorf("named as stored: %v, not %v", who.answer.ResultsStored, want)
			}
		}
		refused := func(reason string) {
			t.Helper()
			if w.count("audit_entries", "action = 'command.result' AND result = 'refused' AND reason = ?", reason) == 0 {
				t.Errorf("no entry of %s", reason)
			}
		}
		a.acks = []string{id} // of what was not delivered
		a.mustBeat()
		refused("command-not-delivered")
		a.mustBeat()
		b.acks = []string{id}
		b.mustBeat()
		refused("command-foreign")
		b.results = []json.RawMessage{b.result(id, nil)} // signed honestly, for another device's command
		stored(b, id)
		b.results = []json.RawMessage{b.result(id, func(r *signing.CommandResult) { r.DeviceID, r.EnrollmentID = "edge-1", a.enrollmentID })}
		stored(b, id)
		refused("result-of-another")
		own := a.key
		a.key = b.key
		a.results = []json.RawMessage{a.result(id, nil)}
		a.key = own
		stored(a, id)
		refused("result-invalid")
		a.results = []json.RawMessage{a.result(id, func(r *signing.CommandResult) { r.StatementDigest = strings.Repeat("a", 64) })}
		stored(a, id)
		refused("result-digest")
		a.results = []json.RawMessage{[]byte(`{}`)}
		stored(a)
		a.results = []json.RawMessage{a.result(id, func(r *signing.CommandResult) { r.EnrollmentID = b.enrollmentID })}
		stored(a, id)
		w.expect(id, "edge-1", "delivered", "")

		a.results = []json.RawMessage{a.result(id, func(r *signing.CommandResult) { r.Status, r.Reason = signing.Failed, "no-disk" })}
		again := a.result(id, func(r *signing.CommandResult) { r.Status, r.Reason = signing.Failed, "no-disk" })
		stored(a, id)
		w.expect(id, "edge-1", "failed", "no-disk")
		before := w.count("audit_entries", "action = 'command.result'")
		a.results, a.acks = []json.RawMessage{again}, []string{id}
		stored(a, id)
		if now := w.count("audit_entries", "action = 'command.result'"); now != before {
			t.Errorf("the same again made %d entries", now-before)
		}
		a.results = []json.RawMessage{a.result(id, nil)} // another one
		stored(a, id)
		refused("command-over")
		w.expect(id, "edge-1", "failed", "no-disk")
	})
}

func TestARefusalOfAForgedStatementIsKept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		for what, forge := range map[string]func(s *signing.CommandStatement){
			"the same statement":    func(*signing.CommandStatement) {},
			"another statement":     func(s *signing.CommandStatement) { s.Kind = "restart-agent" },
			"one for other devices": func(s *signing.CommandStatement) { s.Targets.Devices[0].DeviceID = "edge-9" },
		} {
			id := w.sent("edge-1")
			c, err := command.Get(t.Context(), w.d.Read(), id)
			w.must(err)
			s, err := signing.ReadCommand(c.Statement)
			w.must(err)
			forge(s)
			payload, err := s.Payload()
			w.must(err)
			thief, _, err := signing.GenerateEd25519(signing.PurposeCommand)
			w.must(err)
			env, err := signing.SignCommand(t.Context(), payload, thief)
			w.must(err)
			data, err := env.Marshal()
			w.must(err)
			w.exec("UPDATE commands SET envelope = ? WHERE id = ?", data, id)
			a.mustBeat()
			if len(a.answer.Commands) != 1 || string(a.answer.Commands[0].Statement) != string(data) {
				t.Fatalf("%s: given %+v", what, a.answer.Commands)
			}
			a.results = []json.RawMessage{a.result(id, func(r *signing.CommandResult) {
				r.StatementDigest, r.Status, r.Reason = signing.Digest(payload), signing.Refused, "unknown-signer"
			})}
			a.mustBeat()
			w.expect(id, "edge-1", "failed", "refused-unknown-signer")
		}
	})
}

func (w *world) exec(query string, args ...any) {
	w.Helper()
	w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { _, err := tx.ExecContext(ctx, query, args...); return err }))
}

// CMD-03
func TestNothingMeansNobody(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		w.enrolled("edge-2")
		w.must(w.Suspend(t.Context(), w.by, "edge-2", "test"))
		w.exec("INSERT INTO device_labels (device_id, key, value) VALUES ('edge-1', 'site', 'x')")
		for name, c := range map[string]struct {
			ids   []string
			label string
		}{
			"nothing": {}, "an empty list": {ids: []string{}}, "an empty id": {ids: []string{""}}, "a star": {ids: []string{"*"}}, "all": {ids: []string{"all"}},
			"an unknown device": {ids: []string{"edge-1", "edge-9"}}, "a device twice": {ids: []string{"edge-1", "edge-1"}}, "a suspended device": {ids: []string{"edge-2"}},
			"both": {ids: []string{"edge-1"}, label: "site=x"}, "no key": {label: "=x"}, "no value": {label: "site="}, "a label of one word": {label: "site"},
			"any value": {label: "site=*"}, "any key": {label: "*=x"}, "a star alone": {label: "*"}, "a pattern": {label: "site=%"}, "a label nobody has": {label: "site=nowhere"},
		} {
			ask := ping(c.ids...)
			ask.Label = c.label
			_, err := w.SendCommand(t.Context(), w.by, ask, false)
			if _, ok := errors.AsType[*flow.AskError](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := w.count("commands", "1 = 1") + w.count("command_targets", "1 = 1"); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestAGroupIsResolvedWhenItIsAskedFor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		for _, id := range []string{"edge-1", "edge-2", "edge-3"} {
			a := w.agent(id)
			secret, _ := w.token(enroll.NewToken{Labels: map[string]string{"site": "berlin"}})
			w.must(a.ask(secret))
			w.approve(a)
			_, err := a.poll()
			w.must(err)
		}
		w.must(w.Revoke(t.Context(), w.by, "edge-3", "test"))
		ask := flow.CommandAsk{Kind: "ping", Label: "site=berlin", Life: time.Hour, Reason: "test"}
		plan, err := w.SendCommand(t.Context(), w.by, ask, true)
		w.must(err)
		if plan.Targets != 2 || !slices.Equal(plan.First, []string{"edge-1", "edge-2"}) || plan.Command != nil || w.count("commands", "1 = 1") != 0 {
			t.Errorf("the dry run: %+v", plan)
		}
		id := w.ask(ask)
		w.exec("INSERT INTO device_labels (device_id, key, value) SELECT device_id, 'late', 'yes' FROM devices")
		if c := w.page(id); c.Targets != 2 {
			t.Errorf("%+v", c)
		}
	})
}

func TestWhatDevicesWouldRefuseIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		w.publish(func(b *signing.PolicyBundle) {
			b.Kinds = []signing.KindRule{{Kind: "ping", Limits: map[string]int64{"echo": 4}}, {Kind: "restart-agent", Approvals: 1}}
		})
		for name, change := range map[string]func(*flow.CommandAsk){
			"an unknown kind":      func(a *flow.CommandAsk) { a.Kind = "run-shell" },
			"an unknown parameter": func(a *flow.CommandAsk) { a.Parameters = map[string]signing.Parameter{"x": signing.Text("y")} },
			"a parameter's type":   func(a *flow.CommandAsk) { a.Parameters = map[string]signing.Parameter{"echo": signing.Number(1)} },
			"no life":              func(a *flow.CommandAsk) { a.Life = 0 },
			"more than seven days": func(a *flow.CommandAsk) { a.Life = signing.MaxCommandLife + 1 },
			"a bundle's limit":     func(a *flow.CommandAsk) { a.Parameters = map[string]signing.Parameter{"echo": signing.Text("12345")} },
			"approvals by devices": func(a *flow.CommandAsk) { a.Kind = "restart-agent" },
			"what is not allowed":  func(a *flow.CommandAsk) { a.Kind = "collect-facts" },
			"a line break":         func(a *flow.CommandAsk) { a.Parameters = map[string]signing.Parameter{"echo": signing.Text("a\nb")} },
		} {
			ask := ping("edge-1")
			change(&ask)
			_, err := w.SendCommand(t.Context(), w.by, ask, false)
			if _, ok := errors.AsType[*flow.AskError](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
		}
		ask := ping("edge-1")
		ask.Reason = ""
		if _, err := w.SendCommand(t.Context(), w.by, ask, false); !errors.Is(err, flow.ErrReason) {
			t.Errorf("no reason: %v", err)
		}
	})
}

func TestACommandThatIsReviewedIsSignedAsItWasShown(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.ReviewCommands = true })
		a := w.enrolled("edge-1")
		bob, alias := person("bob", "b1", "Bob"), person("alice2", "a2", "Alice")
		id := w.sent("edge-1")
		digest := w.page(id).Digest
		a.mustBeat()
		if len(a.answer.Commands) != 0 || w.page(id).State != "review" {
			t.Fatal("it went out without a review")
		}
		yes := flow.Decision{Approve: true, Digest: digest, Reason: "fine"}
		for who, want := range map[string]error{"alice": approval.ErrOwn, "alice2": approval.ErrOwn} {
			by := w.by
			if who == "alice2" {
				by = alias
			}
			if _, err := w.ReviewCommand(t.Context(), by, id, yes); !errors.Is(err, want) {
				t.Errorf("%s approves what Alice asked for: %v", who, err)
			}
		}
		if _, err := w.ReviewCommand(t.Context(), bob, id, flow.Decision{Approve: true, Digest: strings.Repeat("0", 64), Reason: "fine"}); !errors.Is(err, approval.ErrDigest) {
			t.Errorf("another digest: %v", err)
		}
		statement := "UPDATE commands SET statement = ?, digest = ? WHERE id = ?"
		c, err := command.Get(t.Context(), w.d.Read(), id)
		w.must(err)
		w.exec(statement, []byte(`{}`), digest, id)
		if _, err := w.ReviewCommand(t.Context(), bob, id, yes); !errors.Is(err, approval.ErrDigest) {
			t.Errorf("the statement was changed after it was asked for: %v", err)
		}
		w.exec(statement, c.Statement, digest, id)
		if state, err := w.ReviewCommand(t.Context(), bob, id, yes); err != nil || state != command.Unsigned {
			t.Fatalf("%s %v", state, err)
		}
		if _, err := w.ReviewCommand(t.Context(), bob, id, yes); !errors.Is(err, approval.ErrClosed) {
			t.Errorf("again: %v", err)
		}
		w.round()
		a.mustBeat()
		if !slices.Equal(a.given(), []string{id}) {
			t.Error("it was not delivered after its review")
		}

		second := w.sent("edge-1")
		if state, err := w.ReviewCommand(t.Context(), bob, second, flow.Decision{Digest: w.page(second).Digest, Reason: "no"}); err != nil || state != command.Rejected {
			t.Fatalf("%s %v", state, err)
		}
		w.expect(second, "edge-1", "cancelled", "rejected")
		if c := w.page(second); c.State != "rejected" || c.EndedReason != "no" {
			t.Errorf("%+v", c)
		}
		third := w.sent("edge-1")
		w.clock.Add(time.Hour)
		if _, err := w.ReviewCommand(t.Context(), bob, third, flow.Decision{Approve: true, Digest: w.page(third).Digest, Reason: "late"}); !errors.Is(err, approval.ErrExpired) {
			t.Errorf("a review after its time: %v", err)
		}
		w.round()
		w.expect(third, "edge-1", "expired", "never-delivered")
		if w.page(third).State != "expired" || w.count("approvals", "subject_id = ? AND state = 'expired'", third) != 1 {
			t.Errorf("%+v", w.page(third))
		}
	})
}

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
	for w.page(id).State != "open" { // it is signed; its flag cannot be raised yet
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

func TestDocumentsGoToWhoeverIsBehind(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		said := func(root, bundle int64) *protocol.HeartbeatAnswer {
			t.Helper()
			h := a.heartbeat()
			h.RootVersion, h.PolicyVersion = root, bundle
			w.must(a.send(h))
			return a.answer
		}
		w.publish(nil)
		w.publish(nil)
		if got := said(1, 1); len(got.PolicyBundles) != 1 || got.PolicyVersion != 3 {
			t.Errorf("one that is behind: %d bundles, version %d", len(got.PolicyBundles), got.PolicyVersion)
		}
		if got := said(1, 3); len(got.PolicyBundles) != 0 || len(got.FleetRoots) != 0 {
			t.Error("one that has them is sent them")
		}
		if got := said(0, 0); len(got.PolicyBundles) != 0 || len(got.FleetRoots) != 0 {
			t.Error("one that says nothing is sent something")
		}
	})
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
