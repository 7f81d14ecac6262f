package flow_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// randomSteps is how many of the steps of CMD-05 go through the databases; the
// rules alone take 100,000 (package command).
const randomSteps = 400

// CMD-05: devices acknowledge and answer what is theirs and what is not, twice and
// late; people cancel; time passes. Whatever the order, what ended stays as it
// ended, and nothing is stored that no device of its own said.
func TestRandomActsNeverChangeWhatHasEnded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		devices := []*agent{w.enrolled("edge-1"), w.enrolled("edge-2"), w.enrolled("edge-3")}
		var ids []string
		ended := map[string]string{}  // command and device -> all that is stored of it
		reported := map[string]bool{} // command and device, of results that were sent
		check := func(step int, did string) {
			t.Helper()
			var rows []command.Target
			w.must(w.d.Read().NewSelect().Model(&rows).Scan(t.Context()))
			for _, row := range rows {
				key := row.CommandID + " " + row.DeviceID
				all := fmt.Sprintf("%+v", row)
				if before, over := ended[key]; over && before != all {
					t.Fatalf("seed %d, step %d (%s): what had ended was changed\n%s\n%s", seed, step, did, before, all)
				}
				hasResult := len(row.Result) > 0
				spoke := row.State == command.TargetSucceeded || row.State == command.TargetFailed
				switch {
				case hasResult != spoke, hasResult && !reported[key], hasResult && row.AcknowledgedAt == 0,
					row.State.Final() && row.ClosedAt == 0, row.State == command.Acknowledged && row.DeliveredAt == 0,
					row.State.Final() && row.State != command.TargetSucceeded && row.Reason == "":
					t.Fatalf("seed %d, step %d (%s): %s", seed, step, did, all)
				}
				if row.State.Final() {
					ended[key] = all
				}
			}
		}
		for step := range randomSteps {
			a := devices[r.IntN(len(devices))]
			did := "send"
			if len(ids) == 0 || r.IntN(12) == 0 {
				ids = append(ids, w.ask(ping("edge-1", "edge-2")))
			} else {
				id := ids[max(0, len(ids)-1-r.IntN(4))]
				switch r.IntN(10) {
				case 0:
					did = "cancel"
					_, _ = w.CancelCommand(t.Context(), w.by, id, "test") // whether it may be is the rules' to say
				case 1:
					did = "time"
					w.clock.Add(time.Duration(r.IntN(20)) * time.Minute)
				case 2, 3:
					did = "round"
					w.round()
				default:
					did = "beat"
					for range r.IntN(3) {
						a.acks = append(a.acks, ids[r.IntN(len(ids))])
					}
					for range r.IntN(protocol.MaxResults) {
						id := ids[max(0, len(ids)-1-r.IntN(4))]
						a.results = append(a.results, a.result(id, func(res *signing.CommandResult) {
							if r.IntN(2) == 0 {
								res.Status, res.Reason = signing.Failed, "no-luck"
							}
						}))
						reported[id+" "+a.id] = true
					}
					a.acks = append(a.acks, given(a)...)
					sent := append([]json.RawMessage{}, a.results...)
					a.mustBeat()
					if len(sent) > 0 && len(a.answer.ResultsStored) != len(sent) {
						t.Fatalf("seed %d, step %d: %d results, %d named as stored", seed, step, len(sent), len(a.answer.ResultsStored))
					}
				}
			}
			check(step, did)
		}
	})
}

// given is what the device was given last; nothing before its first answer.
func given(a *agent) []string {
	if a.answer == nil {
		return nil
	}
	return a.given()
}
