package flow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
)

// restart is the same server after its settings were changed.
func (w *world) restart(people map[approval.Path]int) *world {
	w.Helper()
	settings := standard
	settings.People, settings.ApprovalDelay = people, time.Minute
	s := *w
	s.Flow = s.flow(settings)
	s.must(s.AdoptQuorums(w.Context()))
	return &s
}

func (w *world) number(path approval.Path) int {
	w.Helper()
	n, recorded, err := approval.InForce(w.Context(), w.d.Read(), path)
	w.must(err)
	if !recorded {
		w.Fatalf("no number of %s is recorded", path)
	}
	return n.People
}

func numbers(commands, certificates, identities int) map[approval.Path]int {
	return map[approval.Path]int{approval.Commands: commands, approval.Certificates: certificates, approval.Identities: identities}
}

// APR-08: a setting raises a number at once and lowers it never: that takes as many
// people as the old number says, and two at least.
func TestASettingLowersNoNumber(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		one := w.restart(numbers(3, 1, 1))
		w.enrolled("edge-1")
		before := one.ask(ping("edge-1"))
		low := w.restart(numbers(0, 1, 1))
		if low.number(approval.Commands) != 3 {
			w.Fatal("the setting lowered it")
		}
		if id := low.ask(ping("edge-1")); low.asked(id).Needs != 3 {
			w.Error("a node goes by its own setting")
		}
		shown := low.asked("commands")
		if shown.Needs != 3 || shown.Requester != "system:settings" {
			w.Errorf("%+v", shown)
		}
		if again := w.restart(numbers(0, 1, 1)).asked("commands"); again.ID != shown.ID {
			w.Error("each start asks anew")
		}
		for i, by := range []func() (approval.State, error){
			func() (approval.State, error) { return low.vote(low.by, shown) },
			func() (approval.State, error) { return low.vote(low.carol(), shown) },
			func() (approval.State, error) { return low.vote(low.dave(), shown) },
		} {
			want := approval.Open
			if i == 2 {
				want = approval.Approved
			}
			if state, err := by(); err != nil || state != want {
				w.Fatalf("vote %d: %s %v", i, state, err)
			}
		}
		if low.number(approval.Commands) != 3 {
			w.Error("it is lower before its delay is over")
		}
		w.clock.Add(time.Minute)
		w.must(low.ExecuteDue(w.Context()))
		if low.number(approval.Commands) != 0 {
			w.Error("it is not lower after people agreed")
		}
		if low.asked(before).Needs != 3 {
			w.Error("what was asked before needs fewer now")
		}
		if id := low.ask(ping("edge-1")); low.page(id).State != "unsigned" {
			w.Error("a new command waits for somebody")
		}
	})
}

func TestTwoAgreeThatOneIsEnough(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.restart(numbers(1, 1, 1))
		if shown := w.restart(numbers(0, 1, 1)).asked("commands"); shown.Needs != 2 {
			w.Errorf("%d people", shown.Needs)
		}
	})
}

// APR-08: raised and lowered between two votes, a number is never less than it was.
func TestARaisedNumberHoldsForWhatIsOpen(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		one := w.restart(numbers(0, 1, 1))
		w.enrolled("edge-1")
		w.must(one.Suspend(w.Context(), w.by, "edge-1", "lost"))
		_, err := one.Resume(w.Context(), w.by, "edge-1", "found")
		w.must(err)
		shown := one.asked("edge-1")
		two := w.restart(numbers(0, 2, 1))
		if two.asked("edge-1").Needs != 2 || two.number(approval.Certificates) != 2 {
			w.Error("it is not raised")
		}
		if state, err := one.vote(one.carol(), shown); err != nil || state != approval.Open {
			w.Errorf("%s %v", state, err)
		}
		back := w.restart(numbers(0, 1, 1))
		if back.asked("edge-1").Needs != 2 {
			w.Error("what is open needs fewer")
		}
		waits := back.asked("certificates")
		w.restart(numbers(0, 2, 1)) // the setting is what is in force again
		if got := back.asked("certificates"); got.ID != waits.ID || got.State != "void" {
			w.Errorf("the request to lower it is %s", got.State)
		}
		if _, err := back.vote(back.carol(), waits); !errors.Is(err, approval.ErrClosed) {
			w.Errorf("%v", err)
		}
	})
}

// A number that changed since voids what was asked about it, also where nobody
// noticed.
func TestANumberThatChangedVoidsItsRequest(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.People = numbers(2, 1, 1) })
		w.restart(numbers(2, 1, 1))
		low := w.restart(numbers(1, 1, 1))
		shown := low.asked("commands")
		w.exec("UPDATE approval_quorums SET people = 4 WHERE path = 'commands'")
		if _, err := low.vote(low.carol(), shown); !errors.Is(err, approval.ErrVoid) {
			w.Errorf("%v", err)
		}
		if low.number(approval.Commands) != 4 || low.asked("commands").State != "void" {
			w.Error("it was lowered")
		}
	})
}
