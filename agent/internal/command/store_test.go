package command

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func open(t testing.TB, j keeper) *Store {
	t.Helper()
	s, err := OpenStore(j)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func statement(n int, kind string, notAfter time.Time) *signing.CommandStatement {
	return &signing.CommandStatement{ActionID: id(n), Kind: kind, NotBefore: day, NotAfter: notAfter}
}

func outcome(n int) signing.CommandResult {
	return signing.CommandResult{
		Type: "command-result", DeviceID: "edge-1", EnrollmentID: enrollment, ActionID: id(n), StatementDigest: signing.Digest([]byte(id(n))),
		Status: signing.Succeeded, Output: map[string]string{"echo": "<" + id(n) + ">"}, At: day,
	}
}

// whole takes ids through all their states.
func whole(t testing.TB, s *Store, notAfter time.Time, ids ...int) {
	t.Helper()
	for _, n := range ids {
		if err := errors.Join(
			s.Begin(statement(n, "ping", notAfter), signing.Digest([]byte(id(n))), boot, day),
			s.End(outcome(n)), s.Reported(id(n)),
		); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatWasBegunIsKnownAfterARestartAndNeverBegunAgain(t *testing.T) {
	t.Parallel()
	j := stateDir(t)
	s := open(t, j)
	whole(t, s, day.Add(time.Hour), 1)
	if err := s.Begin(statement(2, "collect-facts", day.Add(time.Hour)), signing.Digest(nil), boot, day); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{s, open(t, j)} {
		for n, want := range map[int][2]bool{1: {true, true}, 2: {true, false}, 3: {}} {
			if begun, ended, err := s.Known(id(n)); err != nil || begun != want[0] || ended != want[1] {
				t.Errorf("%d: %v %v %v", n, begun, ended, err)
			}
		}
		if err := s.Begin(statement(1, "ping", day.Add(time.Hour)), signing.Digest(nil), nextBoot, day); !errors.Is(err, errKnown) {
			t.Errorf("begun again: %v", err)
		}
		if list := s.Open(); len(list) != 1 || list[0].ActionID != id(2) || list[0].BootID != boot {
			t.Errorf("open: %+v", list)
		}
		if r, err := s.Result(id(1)); err != nil || r.Output["echo"] != outcome(1).Output["echo"] {
			t.Errorf("outcome: %+v, %v", r, err)
		}
	}
	if s, _ := j.State(); s.Enrolled.Commands != 2 {
		t.Errorf("the journal counts %d", s.Enrolled.Commands)
	}
}

func TestTheFirstOutcomeStays(t *testing.T) {
	t.Parallel()
	s := open(t, stateDir(t))
	whole(t, s, day.Add(time.Hour), 1)
	second := outcome(1)
	second.Status, second.Reason = signing.Failed, "other"
	if err := errors.Join(s.End(second), s.Reported(id(1)), s.Reported(id(9))); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Result(id(1)); err != nil || r.Status != signing.Succeeded || len(s.Unreported()) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// CMD-04: whatever write fails, before it reached the disk, half way, or after, an
// id is begun once, and one whose begin failed is not done.
func TestNoWriteThatFailsLetsAnIDBeginTwice(t *testing.T) {
	t.Parallel()
	boom := errors.New("the disk is full")
	faults := map[string]func(path string, data []byte, mode fs.FileMode) error{
		"before": func(string, []byte, fs.FileMode) error { return boom },
		"half way": func(path string, data []byte, mode fs.FileMode) error {
			return errors.Join(boom, files.Append(path, data[:len(data)/2], mode))
		},
		"after": func(path string, data []byte, mode fs.FileMode) error {
			return errors.Join(boom, files.Append(path, data, mode))
		},
	}
	for name, fault := range faults {
		for nth := range 6 { // begin, end and report of two ids
			t.Run(fmt.Sprintf("%s write %d", name, nth), func(t *testing.T) {
				t.Parallel()
				j := stateDir(t)
				s := open(t, j)
				writes := 0
				s.append = func(path string, data []byte, mode fs.FileMode) error {
					if writes++; writes == nth+1 {
						return fault(path, data, mode)
					}
					return files.Append(path, data, mode)
				}
				ran := map[string]int{}
				attempt := func(s *Store, n int) {
					known, _, err := s.Known(id(n))
					if err != nil {
						t.Fatal(err)
					}
					if !known && s.Begin(statement(n, "ping", day.Add(time.Hour)), signing.Digest([]byte(id(n))), boot, day) == nil {
						ran[id(n)]++
						_ = s.End(outcome(n))
						_ = s.Reported(id(n))
					}
				}
				for range 3 { // delivered again and again, in this process and the next
					attempt(s, 1)
					attempt(s, 2)
				}
				s = open(t, j)
				attempt(s, 1)
				attempt(s, 2)
				for n := 1; n <= 2; n++ {
					begun, _, err := s.Known(id(n))
					if err != nil || !begun || ran[id(n)] > 1 {
						t.Errorf("%d: begun %v, ran %d times, %v", n, begun, ran[id(n)], err)
					}
				}
			})
		}
	}
}

func TestATornLastLineIsMendedAndAnythingElseIsDamage(t *testing.T) {
	t.Parallel()
	good := func(t *testing.T) (*journal.Journal, string) {
		t.Helper()
		j := stateDir(t)
		whole(t, open(t, j), day.Add(time.Hour), 1, 2, 3)
		return j, filepath.Join(j.Dir(), fileName)
	}
	for name, c := range map[string]struct {
		spoil func(data string) string
		want  error
	}{
		"torn":                  {func(s string) string { return s + "0123456789abcdef {\"begun\":{" }, nil},
		"torn before any space": {func(s string) string { return s + "01" }, nil},
		"a flipped letter":      {func(s string) string { return strings.Replace(s, `"ping"`, `"pinG"`, 1) }, ErrDamaged},
		"an id that is another": {func(s string) string { return strings.Replace(s, id(1), id(4), 2) }, ErrDamaged},
		"a line is gone":        {func(s string) string { return without(s, 4) }, ErrDamaged},
		"the end is gone":       {func(s string) string { return strings.Join(strings.SplitAfter(s, "\n")[:4], "") }, ErrDamaged},
		"the beginning is gone": {func(s string) string { return without(s, 0) }, ErrDamaged},
		"a line stands twice":   {func(s string) string { return s + strings.SplitAfter(s, "\n")[1] }, ErrDamaged},
		"an outcome twice":      {func(s string) string { return s + strings.SplitAfter(s, "\n")[2] }, ErrDamaged},
		"garbage":               {func(s string) string { return s + "garbage\n" }, ErrDamaged},
		"empty":                 {func(string) string { return "" }, ErrDamaged},
		"a newer agent's":       {func(string) string { return "0 " + `{"head":{"format":2,"news":1}}` + "\n" }, ErrNewer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j, path := good(t)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoilt := c.spoil(string(data))
			if err := os.WriteFile(path, []byte(spoilt), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := OpenStore(j)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			after, _ := os.ReadFile(path)
			if c.want != nil && string(after) != spoilt {
				t.Error("what is damaged was changed")
			}
			if c.want == nil {
				whole(t, s, day.Add(time.Hour), 4)
				if begun, _, err := open(t, j).Known(id(4)); err != nil || !begun {
					t.Errorf("after mending: %v, %v", begun, err)
				}
			}
		})
	}
	// CMD-01: state that is lost, or put back from a copy, is noticed.
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		j, path := good(t)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(j); !errors.Is(err, ErrDamaged) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("put back", func(t *testing.T) {
		t.Parallel()
		j, path := good(t)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole(t, open(t, j), day.Add(time.Hour), 4)
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(j); !errors.Is(err, ErrDamaged) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("readable by others", func(t *testing.T) {
		t.Parallel()
		j, path := good(t)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(j); !errors.Is(err, journal.ErrLoose) {
			t.Fatalf("got %v", err)
		}
	})
}

// CMD-01: a crash while a new journal is begun leaves a device that begins it again, and
// what was lost is kept for a person to look at.
func TestBeginningAnewMayBeCutShort(t *testing.T) {
	t.Parallel()
	boom := errors.New("the disk is full")
	for name, cut := range map[string]func(j *failing, s *Store){
		"before anything": func(j *failing, _ *Store) { j.update = boom },
		"before the file": func(_ *failing, s *Store) { s.replace = func(string, []byte, fs.FileMode) error { return boom } },
		"after the file": func(_ *failing, s *Store) {
			s.replace = func(path string, data []byte, mode fs.FileMode) error {
				return errors.Join(boom, files.Replace(path, data, mode))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := &failing{keeper: stateDir(t)}
			whole(t, open(t, j), day.Add(time.Hour), 1, 2)
			path := filepath.Join(j.Dir(), fileName)
			if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newStore(j)
			cut(j, s)
			if err := s.anew(day.Add(time.Minute)); !errors.Is(err, boom) {
				t.Fatalf("got %v", err)
			}
			j.update = nil
			if s, err := OpenStore(j); err == nil {
				if known, _, err := s.Known(id(1)); known || err != nil {
					t.Errorf("it knows what was lost: %v", err)
				}
			} else if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			s, err := Anew(j, time.Time{}) // by a clock that was set back
			if err != nil {
				t.Fatal(err)
			}
			whole(t, s, day.Add(time.Hour), 3)
			state, err := j.State()
			if err != nil || state.Enrolled.Commands != 3 {
				t.Errorf("%d were begun, %v", state.Enrolled.Commands, err)
			}
			if !state.Enrolled.CommandsAfter.Equal(day) {
				t.Errorf("does what was made after %v", state.Enrolled.CommandsAfter)
			}
			if known, ended, err := open(t, j).Known(id(3)); !known || !ended || err != nil {
				t.Errorf("the new journal: %v %v %v", known, ended, err)
			}
			if err := Remove(j.Dir()); err != nil {
				t.Fatal(err)
			}
			if left, _ := filepath.Glob(filepath.Join(j.Dir(), fileName+"*")); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

// CMD-01: an agent of before did not keep when the statements were made that it began.
func TestTheJournalOfAnOlderAgentIsGoneByItsEnds(t *testing.T) {
	t.Parallel()
	j := &failing{keeper: stateDir(t)}
	s := open(t, j)
	j.forget = true
	whole(t, s, day.Add(2*time.Hour), 1)
	whole(t, s, day.Add(time.Hour), 2)
	j.forget = false
	open(t, j) // by an agent of now
	if err := os.Remove(filepath.Join(j.Dir(), fileName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Anew(j, day); err != nil {
		t.Fatal(err)
	}
	if state, err := j.State(); err != nil || !state.Enrolled.CommandsAfter.Equal(day.Add(2*time.Hour)) {
		t.Errorf("does what was made after %v, %v", state.Enrolled.CommandsAfter, err)
	}
}

// CMD-01: a disk that cannot be read now has lost nothing.
func TestAFileThatCannotBeReadIsNotTakenForDamaged(t *testing.T) {
	t.Parallel()
	j := stateDir(t)
	whole(t, open(t, j), day.Add(time.Hour), 1)
	path := filepath.Join(j.Dir(), fileName)
	if err := errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path)); err != nil { // not followed
		t.Fatal(err)
	}
	if _, err := OpenStore(j); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

// failing is a journal whose writes may fail, or of an agent of before.
type failing struct {
	keeper

	update error
	forget bool
}

func (f *failing) Update(change func(*journal.State)) error {
	if f.update != nil {
		return f.update
	}
	return f.keeper.Update(func(s *journal.State) {
		change(s)
		if f.forget {
			s.Enrolled.CommandsMade = time.Time{}
		}
	})
}

func without(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(slices.Delete(lines, n, n+1), "")
}

// CMD-01: an id is forgotten only once no clock can make its statement good again.
func TestForgettingRaisesTheTimeFloorFirst(t *testing.T) {
	t.Parallel()
	j := stateDir(t)
	s := open(t, j)
	soon, later := day.Add(time.Hour), day.Add(48*time.Hour)
	for n := range pruneAt {
		whole(t, s, soon, n)
	}
	whole(t, s, later, 100)
	if err := s.Begin(statement(101, "ping", soon), signing.Digest(nil), boot, day); err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(statement(102, "ping", soon), signing.Digest([]byte(id(102))), boot, day); err != nil {
		t.Fatal(err)
	}
	if err := s.End(outcome(102)); err != nil { // not reported
		t.Fatal(err)
	}
	if err := s.Prune(soon.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if begun, _, _ := s.Known(id(0)); !begun {
		t.Fatal("forgotten while its statement was good")
	}
	if err := s.Prune(soon.Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{s, open(t, j)} {
		for n, want := range map[int]bool{0: false, pruneAt - 1: false, 100: true, 101: true, 102: true} {
			if begun, _, err := s.Known(id(n)); err != nil || begun != want {
				t.Errorf("%d: %v, %v", n, begun, err)
			}
		}
		if r, err := s.Result(id(100)); err != nil || r.ActionID != id(100) {
			t.Errorf("the outcome of what stays: %+v, %v", r, err)
		}
	}
	if now := j.Now(day); now.Before(soon) {
		t.Fatalf("the clock may be %v again", now)
	}
	// A command that was forgotten is too late for good, with any clock.
	f := newFleet(t)
	f.now = j.Now(day)
	if _, reason := Judge(f.Deliver(t, f.statement(0, "ping")), f.device(), none); reason != Expired {
		t.Errorf("what was forgotten: %q", reason)
	}
	whole(t, s, later, 200)
	if begun, _, err := open(t, j).Known(id(200)); err != nil || !begun {
		t.Errorf("after the file was written anew: %v, %v", begun, err)
	}
}

// A crash between raising the floor and writing the file anew, or while that is
// written, loses nothing.
func TestForgettingMayBeCutShort(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, replace := range map[string]func(string, []byte, fs.FileMode) error{
		"before": func(string, []byte, fs.FileMode) error { return boom },
		"after": func(path string, data []byte, mode fs.FileMode) error {
			return errors.Join(boom, files.Replace(path, data, mode))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := stateDir(t)
			s := open(t, j)
			for n := range pruneAt {
				whole(t, s, day.Add(time.Hour), n)
			}
			whole(t, s, day.Add(48*time.Hour), 100)
			s.replace = replace
			if err := s.Prune(day.Add(2 * time.Hour)); !errors.Is(err, boom) {
				t.Fatalf("got %v", err)
			}
			for _, s := range []*Store{s, open(t, j)} {
				if begun, _, err := s.Known(id(100)); err != nil || !begun {
					t.Errorf("%v, %v", begun, err)
				}
			}
			if now := j.Now(day); now.Before(day.Add(time.Hour)) {
				t.Errorf("the floor is %v", now)
			}
		})
	}
}

func TestTheRateIsCountedOverRestartsAndWithAClockSetBack(t *testing.T) {
	t.Parallel()
	j := stateDir(t)
	s := open(t, j)
	for n := range 5 {
		if err := s.Begin(statement(n, "ping", day.Add(time.Hour)), signing.Digest(nil), boot, day.Add(time.Duration(n)*20*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*Store{s, open(t, j)} {
		past := s.Past()
		for since, want := range map[time.Duration]int{20 * time.Minute: 3, -time.Hour: 5, 2 * time.Hour: 0} {
			if n := past.Begun("ping", day.Add(since)); n != want {
				t.Errorf("since %s: %d, want %d", since, n, want)
			}
		}
		if n := past.Begun("collect-facts", day.Add(-time.Hour)); n != 0 || past.Full {
			t.Errorf("another kind: %d, full %v", n, past.Full)
		}
	}
}

func FuzzParse(f *testing.F) {
	j := stateDir(f)
	whole(f, open(f, j), day.Add(time.Hour), 1, 2)
	data, err := os.ReadFile(filepath.Join(j.Dir(), fileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-20])
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parse(data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatalf("an error that says nothing of what to do: %v", err)
			}
			return
		}
		if n := bytes.Count(data, []byte("\n")); len(p.entries) >= n {
			t.Fatalf("%d ids in %d lines", len(p.entries), n)
		}
	})
}
