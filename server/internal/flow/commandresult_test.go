package flow_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

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
