package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What an agent of before wrote opens, says the same, and is written anew in the
// form of now.
func TestAJournalOfTheFormatBeforeIsOpened(t *testing.T) {
	t.Parallel()
	old := enrolled()
	j := begun(t, old)
	data, err := encodeAs(&old, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(j.Dir(), fileName), data, 0o600); err != nil {
		t.Fatal(err)
	}
	j = again(t, j)
	s, err := j.State()
	if err != nil || s.Enrolled.Slot != SlotA || s.Enrolled.Renewal != nil || s.Enrolled.Commands != 0 {
		t.Fatalf("got %+v, %v", s.Enrolled, err)
	}
	if _, err := j.Next(); err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile(filepath.Join(j.Dir(), fileName)); err != nil || !strings.HasPrefix(string(data), `{"format":3,`) {
		t.Fatalf("written as %.20s, %v", data, err)
	}
}

func TestASlotIsTakenIntoUseOnlyAfterItWasTried(t *testing.T) {
	t.Parallel()
	j := begun(t, enrolled())
	jump := func(s *State) { s.Enrolled.Slot = SlotB }
	if err := j.Update(jump); !errors.Is(err, ErrBackwards) {
		t.Fatalf("without a renewal: %v", err)
	}
	asked := func(s *State) { s.Enrolled.Renewal = &Renewal{RequestID: anID, At: day, CSR: []byte{1}} }
	if err := j.Update(asked); err != nil {
		t.Fatal(err)
	}
	if err := j.Update(jump); !errors.Is(err, ErrBackwards) {
		t.Fatalf("while it is asked for: %v", err)
	}
	if s, _ := j.State(); s.Enrolled.Shown() != SlotA {
		t.Fatal("shown before it is there")
	}
	if err := j.Update(func(s *State) { s.Enrolled.Renewal.Tried = true }); err != nil {
		t.Fatal(err)
	}
	if s, _ := j.State(); s.Enrolled.Shown() != SlotB || s.Enrolled.Slot != SlotA {
		t.Fatalf("while it is tried: %+v", s.Enrolled)
	}
	if err := j.Update(func(s *State) { s.Enrolled.Settle() }); err != nil {
		t.Fatal(err)
	}
	if s, _ := again(t, j).State(); s.Enrolled.Slot != SlotB || s.Enrolled.Renewal != nil || s.Enrolled.Shown() != SlotB {
		t.Fatalf("after: %+v", s.Enrolled)
	}
}

func TestEarlierBundlesAreRememberedForAWhile(t *testing.T) {
	t.Parallel()
	e := enrolled().Enrolled
	first := e.Policy
	e.Believe(first)
	if len(e.Policies) != 0 {
		t.Fatal("the one in force is no earlier one")
	}
	for v := range int64(MaxPolicies + 3) {
		e.Believe(Mark{Version: first.Version + 1 + v, Digest: digest})
	}
	if n := len(e.Policies); n != MaxPolicies || e.Policies[n-1].Version != e.Policy.Version-1 || e.check() != nil {
		t.Fatalf("remembers %v under %v: %v", e.Policies, e.Policy, e.check())
	}
}

func TestTheFloorAndTheNumberOfCommandsOnlyRise(t *testing.T) {
	t.Parallel()
	j := begun(t, enrolled())
	if err := j.Update(func(s *State) { s.Enrolled.Floor(day.Add(time.Hour)); s.Enrolled.Commands = 4 }); err != nil {
		t.Fatal(err)
	}
	if err := j.Update(func(s *State) { s.Enrolled.Floor(day) }); err != nil {
		t.Fatal(err)
	}
	if now := j.Now(day); !now.Equal(day.Add(time.Hour)) {
		t.Errorf("a clock set back is believed: %v", now)
	}
	if now := j.Now(day.Add(2 * time.Hour)); !now.Equal(day.Add(2 * time.Hour)) {
		t.Errorf("a clock that goes on is not: %v", now)
	}
	if err := j.Update(func(s *State) { s.Enrolled.Commands = 3 }); !errors.Is(err, ErrBackwards) {
		t.Errorf("commands: %v", err)
	}
	for _, made := range []time.Time{day, day.Add(-time.Hour)} {
		if err := j.Update(func(s *State) { s.Enrolled.BeginCommand(5, made) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Update(func(s *State) { s.Enrolled.LoseCommands(day.Add(time.Hour)) }); err != nil {
		t.Fatal(err)
	}
	if s, _ := j.State(); s.Enrolled.Commands != 5 || !s.Enrolled.CommandsAfter.Equal(day) {
		t.Errorf("after the loss: %+v", s.Enrolled)
	}
	for name, back := range map[string]func(e *Enrolled){
		"made":  func(e *Enrolled) { e.CommandsMade = day.Add(-time.Microsecond) },
		"after": func(e *Enrolled) { e.CommandsAfter = time.Time{} },
	} {
		if err := j.Update(func(s *State) { back(s.Enrolled) }); !errors.Is(err, ErrBackwards) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An agent of before did not keep when the commands were made that it began.
func TestALossAfterAnOlderAgentGoesByTheClock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(e *Enrolled)
		want   time.Time
	}{
		"nothing was begun": {func(*Enrolled) {}, time.Time{}},
		"by an older agent": {func(e *Enrolled) { e.Commands = 3 }, day.Add(time.Hour)},
		"by this one":       {func(e *Enrolled) { e.BeginCommand(1, day) }, day},
	} {
		j := begun(t, enrolled())
		if err := j.Update(func(s *State) { c.change(s.Enrolled); s.Enrolled.LoseCommands(day.Add(time.Hour)) }); err != nil {
			t.Fatal(err)
		}
		if s, _ := j.State(); !s.Enrolled.CommandsAfter.Equal(c.want) {
			t.Errorf("%s: %v, want %v", name, s.Enrolled.CommandsAfter, c.want)
		}
	}
}
