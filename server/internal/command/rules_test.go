package command

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func TestWhatEachEventDoesToEachState(t *testing.T) {
	t.Parallel()
	type result struct {
		to     TargetState
		reason string
		err    error
	}
	no := func(err error) result { return result{err: err} }
	for e, want := range map[Event][3]result{ // queued, delivered, acknowledged
		Deliver:       {{Delivered, "", nil}, {Delivered, "", nil}, no(ErrAgain)},
		Acknowledge:   {no(ErrNotDelivered), {Acknowledged, "", nil}, no(ErrAgain)},
		Succeed:       {{TargetSucceeded, "", nil}, {TargetSucceeded, "", nil}, {TargetSucceeded, "", nil}},
		Fail:          {{TargetFailed, "", nil}, {TargetFailed, "", nil}, {TargetFailed, "", nil}},
		Cancel:        {{TargetCancelled, "cancelled", nil}, {TargetCancelled, "cancelled-after-delivery", nil}, no(ErrRunning)},
		Reject:        {{TargetCancelled, "rejected", nil}, no(ErrRunning), no(ErrRunning)},
		NotSignable:   {{TargetFailed, "unsignable", nil}, no(ErrRunning), no(ErrRunning)},
		Restore:       {{TargetCancelled, "database-restored", nil}, {TargetCancelled, "database-restored", nil}, no(ErrRunning)},
		EndDevice:     {{TargetCancelled, "device-revoked", nil}, {TargetCancelled, "device-revoked", nil}, {TargetCancelled, "device-revoked", nil}},
		Undeliverable: {{TargetFailed, "undeliverable", nil}, {TargetFailed, "undeliverable", nil}, no(ErrRunning)},
		NotAfter:      {{TargetExpired, "never-delivered", nil}, no(ErrNotDue), no(ErrNotDue)},
		Overdue:       {{TargetExpired, "never-delivered", nil}, {TargetExpired, "no-acknowledgement", nil}, {TargetExpired, "no-result", nil}},
	} {
		for i, from := range []TargetState{Queued, Delivered, Acknowledged} {
			to, reason, err := Next(from, e)
			if !errors.Is(err, want[i].err) || err == nil && (to != want[i].to || reason != want[i].reason) || err != nil && to != from {
				t.Errorf("%s of %s: %s %q %v", e, from, to, reason, err)
			}
		}
		for _, from := range []TargetState{TargetSucceeded, TargetFailed, TargetExpired, TargetCancelled} {
			if to, _, err := Next(from, e); to != from || !errors.Is(err, ErrOver) {
				t.Errorf("%s of %s: %s %v", e, from, to, err)
			}
		}
	}
	if _, _, err := Next(Queued, "else"); err == nil {
		t.Error("an unknown event counted")
	}
}

var events = []Event{Deliver, Acknowledge, Succeed, Fail, Cancel, Reject, NotSignable, Restore, EndDevice, Undeliverable, NotAfter, Overdue}

// CMD-05: whatever comes in whatever order, a target ends once, with a reason unless
// the device spoke, and is acknowledged only after it was delivered.
func TestRandomSequencesEndOnce(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	steps, ended := 0, map[TargetState]int{}
	for steps < 100_000 {
		state, reason, results, delivered := Queued, "", 0, false
		over := false
		for range 30 {
			e := events[r.IntN(len(events))]
			if r.IntN(3) > 0 { // more of what is usual, or few would live long
				e = []Event{Deliver, Deliver, Acknowledge, Acknowledge, Succeed}[r.IntN(5)]
			}
			to, why, err := Next(state, e)
			steps++
			switch {
			case err != nil && to != state:
				t.Fatalf("seed %d: %s was refused, and moved from %s to %s", seed, e, state, to)
			case over && (err == nil || to != state):
				t.Fatalf("seed %d: %s left the final state %s", seed, e, state)
			case err != nil:
				continue
			case to == Acknowledged && !delivered:
				t.Fatalf("seed %d: acknowledged before it was delivered", seed)
			}
			delivered = delivered || e == Deliver
			if e == Succeed || e == Fail {
				results++
			}
			state, reason = to, why
			if over = to.Final(); over {
				ended[to]++
			}
		}
		if results > 1 || over && results == 0 && reason == "" {
			t.Fatalf("seed %d: %d results, ended as %s with the reason %q", seed, results, state, reason)
		}
	}
	for _, s := range []TargetState{TargetSucceeded, TargetFailed, TargetExpired, TargetCancelled} {
		if ended[s] == 0 {
			t.Errorf("seed %d: nothing ended as %s", seed, s)
		}
	}
}

func TestWhenTargetsAreDueAndHowACommandEnds(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		ending Ending
		now    time.Time
		want   []Event
	}{
		"in its time":                 {"", end.Add(-1), nil},
		"at its end":                  {"", end, []Event{NotAfter}},
		"while devices may report":    {"", end.Add(ReportGrace - 1), []Event{NotAfter}},
		"when they may not any more":  {"", end.Add(ReportGrace), []Event{Overdue}},
		"cancelled":                   {EndCancelled, end.Add(-1), []Event{Cancel}},
		"rejected":                    {EndRejected, end.Add(-1), []Event{Reject}},
		"unsignable":                  {EndUnsignable, end.Add(-1), []Event{NotSignable}},
		"after a restore":             {EndRestored, end.Add(-1), []Event{Restore}},
		"cancelled, and over as well": {EndCancelled, end.Add(ReportGrace), []Event{Cancel, Overdue}},
	} {
		if got := Due(c.ending, end, c.now); len(got) != len(c.want) || len(got) > 0 && (got[0] != c.want[0] || got[len(got)-1] != c.want[len(c.want)-1]) {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, c := range map[string]struct {
		from    State
		ending  Ending
		expired bool
		want    State
	}{
		"every target ended":            {Open, "", false, Done},
		"one was late":                  {Open, "", true, Expired},
		"nobody reviewed it":            {Review, "", true, Expired},
		"it was rejected":               {Review, EndRejected, false, Rejected},
		"it was cancelled":              {Open, EndCancelled, true, Cancelled},
		"it could not be signed":        {Unsigned, EndUnsignable, false, Cancelled},
		"its devices were revoked":      {Unsigned, "", false, Cancelled},
		"the database came from backup": {Open, EndRestored, false, Cancelled},
	} {
		if got := Last(c.from, c.ending, c.expired); got != c.want || !got.Final() {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestTheReasonOfAResultIsTheDevicesOwn(t *testing.T) {
	t.Parallel()
	for status, want := range map[signing.ResultStatus]struct {
		e      Event
		reason string
	}{
		signing.Succeeded: {Succeed, "x"}, signing.Failed: {Fail, "x"}, signing.Refused: {Fail, "refused-x"}, signing.Unknown: {Fail, "outcome-unknown"},
	} {
		if e, reason := Outcome(&signing.CommandResult{Status: status, Reason: "x"}); e != want.e || reason != want.reason {
			t.Errorf("%s: %s %s", status, e, reason)
		}
	}
}
