package journal

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

var (
	day    = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	digest = strings.Repeat("ab", 32)
)

const anID = "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"

func enrolling() State {
	return State{Server: "https://s.example:8443", DeviceID: "edge-1", EnrollmentID: anID, StartedAt: day, ServerCA: []byte{1}}
}

func enrolled() State {
	s := enrolling()
	s.Enrolled = &Enrolled{
		At: day, FirstRoot: digest, Root: Mark{2, digest}, Policy: Mark{3, digest},
		TimeFloor: day, Epoch: anID, Interval: 60,
	}
	return s
}

// begun opens a journal with the content s in a directory of its own.
func begun(t *testing.T, s State) *Journal {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	if err := j.Begin(s); err != nil {
		t.Fatal(err)
	}
	return j
}

// again closes the journal and opens it anew, as a restart does.
func again(t *testing.T, j *Journal) *Journal {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := Open(j.Dir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = next.Close() })
	return next
}

func TestWhatIsStoredIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	want := enrolled()
	want.Enrolled.Counter = 9
	want.Enrolled.Accepted = &Accepted{At: day, Counter: 8}
	want.Enrolled.Refusal = &Refusal{At: day, Code: protocol.CodeDeviceHeld}
	j := again(t, begun(t, want))
	got, err := j.State()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if shown, err := Read(j.Dir()); err != nil || !reflect.DeepEqual(shown, want) {
		t.Fatalf("Read beside the running agent: %+v, %v", shown, err)
	}
}

func TestACounterIsGivenOutOnce(t *testing.T) {
	t.Parallel()
	j := begun(t, enrolled())
	last := int64(0)
	for round := range 5 {
		for range 5 {
			n, err := j.Next()
			if err != nil || n <= last {
				t.Fatalf("round %d: got %d after %d, %v", round, n, last, err)
			}
			last = n
		}
		j = again(t, j)
	}
}

func TestACounterWhoseWritingFailedIsLeftOut(t *testing.T) {
	t.Parallel()
	j := begun(t, enrolled())
	away := j.Dir() + ".away"
	if err := os.Rename(j.Dir(), away); err != nil {
		t.Fatal(err)
	}
	if n, err := j.Next(); err == nil {
		t.Fatalf("%d was given out without being stored", n)
	}
	if err := os.Rename(away, j.Dir()); err != nil {
		t.Fatal(err)
	}
	if n, err := j.Next(); err != nil || n != 2 {
		t.Fatalf("got %d, %v", n, err)
	}
}

func TestThereIsNoCounterPastTheLastOrBeforeTheFirst(t *testing.T) {
	t.Parallel()
	s := enrolled()
	s.Enrolled.Counter = protocol.MaxCounter
	if n, err := begun(t, s).Next(); !errors.Is(err, ErrExhausted) {
		t.Errorf("past the last: %d, %v", n, err)
	}
	if n, err := begun(t, enrolling()).Next(); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("before the device is enrolled: %d, %v", n, err)
	}
}

func TestTheJournalNeverGoesBack(t *testing.T) {
	t.Parallel()
	other := strings.Repeat("cd", 32)
	for name, change := range map[string]func(*State){
		"another device":              func(s *State) { s.DeviceID = "edge-2" },
		"another enrollment":          func(s *State) { s.EnrollmentID = "0198c1f0-7c1e-7cc2-8a5d-000000000000" },
		"not enrolled any more":       func(s *State) { s.Enrolled = nil },
		"a lower counter":             func(s *State) { s.Enrolled.Counter-- },
		"another first root":          func(s *State) { s.Enrolled.FirstRoot = other },
		"first use made up":           func(s *State) { s.Enrolled.FirstUse = true },
		"an older root":               func(s *State) { s.Enrolled.Root = Mark{1, digest} },
		"another root of the version": func(s *State) { s.Enrolled.Root.Digest = other },
		"an older policy":             func(s *State) { s.Enrolled.Policy = Mark{1, digest} },
		"an earlier time":             func(s *State) { s.Enrolled.TimeFloor = day.Add(-time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := enrolled()
			before.Enrolled.Counter = 5
			j := begun(t, before)
			if err := j.Update(change); !errors.Is(err, ErrBackwards) {
				t.Fatalf("got %v", err)
			}
			if now, _ := Read(j.Dir()); !reflect.DeepEqual(now, before) {
				t.Fatalf("it changed to %+v", now)
			}
		})
	}
	t.Run("a newer root and policy are taken", func(t *testing.T) {
		t.Parallel()
		j := begun(t, enrolled())
		if err := j.Update(func(s *State) { s.Enrolled.Root, s.Enrolled.Policy = Mark{3, other}, Mark{4, other} }); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWhatACallerDoesToItsCopyDoesNotReachTheJournal(t *testing.T) {
	t.Parallel()
	j := begun(t, enrolled())
	s, _ := j.State()
	s.Enrolled.Counter = 99
	if n, err := j.Next(); err != nil || n != 1 {
		t.Fatalf("got %d, %v", n, err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	j := begun(t, enrolled())
	if _, err := Open(j.Dir()); !errors.Is(err, ErrInUse) {
		t.Fatalf("a second one: %v", err)
	}
	if _, err := OpenToRemove(j.Dir()); !errors.Is(err, ErrInUse) {
		t.Fatalf("removing under a running one: %v", err)
	}
	again(t, j)
}

func TestAnEnrollmentIsNotBegunOverAnother(t *testing.T) {
	t.Parallel()
	if err := begun(t, enrolled()).Begin(enrolling()); !errors.Is(err, ErrExists) {
		t.Fatalf("got %v", err)
	}
}

func TestADamagedJournalIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	whole, err := encode(new(enrolled()))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content string
		want    error
	}{
		"empty":               {"", ErrDamaged},
		"cut short":           {string(whole[:len(whole)/2]), ErrDamaged},
		"an edited counter":   {strings.Replace(string(whole), `"counter":0`, `"counter":7`, 1), ErrDamaged},
		"of another agent":    {`{"format":4,"news":true}`, ErrNewer},
		"of no agent":         {`{"format":0}`, ErrDamaged},
		"written otherwise":   {" " + string(whole), ErrDamaged},
		"with something else": {strings.Replace(string(whole), `{"format"`, `{"x":1,"format"`, 1), ErrDamaged},
		"endless":             {strings.Repeat(" ", maxSize+1), ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := begun(t, enrolled())
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(j.Dir(), fileName)
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(j.Dir()); !errors.Is(err, c.want) {
				t.Fatalf("Open: %v, want %v", err, c.want)
			}
			if _, err := Read(j.Dir()); !errors.Is(err, c.want) {
				t.Fatalf("Read: %v, want %v", err, c.want)
			}
			if now, _ := os.ReadFile(path); string(now) != c.content {
				t.Fatal("it was changed")
			}
			gone, err := OpenToRemove(j.Dir())
			if err != nil {
				t.Fatalf("it cannot even be removed: %v", err)
			}
			if err := errors.Join(gone.Remove(), gone.Close()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// AGT-06: state that others may read or change is not used.
func TestALooseStateDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	loosen := map[string]func(t *testing.T, dir string){
		"readable by the group": func(t *testing.T, dir string) { chmod(t, dir, 0o750) },
		"open to all":           func(t *testing.T, dir string) { chmod(t, dir, 0o777) },
		"searchable by others":  func(t *testing.T, dir string) { chmod(t, dir, 0o701) },
		"a journal others read": func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, fileName), 0o644) },
		"a link to a directory": func(t *testing.T, dir string) {
			if err := errors.Join(os.Rename(dir, dir+".real"), os.Symlink(dir+".real", dir)); err != nil {
				t.Fatal(err)
			}
		},
		"a file": func(t *testing.T, dir string) {
			if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		},
	}
	if os.Geteuid() == 0 {
		loosen["another's directory"] = func(t *testing.T, dir string) {
			if err := os.Chown(dir, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, loosen := range loosen {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := begun(t, enrolled())
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			loosen(t, j.Dir())
			if _, err := Open(j.Dir()); !errors.Is(err, ErrLoose) {
				t.Errorf("Open: %v", err)
			}
			if _, err := Read(j.Dir()); !errors.Is(err, ErrLoose) {
				t.Errorf("Read: %v", err)
			}
		})
	}
}

func TestALinkInThePlaceOfTheLockIsNotFollowed(t *testing.T) {
	t.Parallel()
	j := begun(t, enrolled())
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	lock := filepath.Join(j.Dir(), lockName)
	if err := errors.Join(os.Remove(lock), os.Symlink(victim, lock)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(j.Dir()); err == nil {
		t.Error("opened through a link")
	}
	if _, err := os.Lstat(victim); err == nil {
		t.Error("the link's target was made")
	}
}

func TestWithoutAStateDirectoryTheDeviceIsNotEnrolled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := Open(dir); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("Open: %v", err)
	}
	if _, err := Read(dir); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("Read: %v", err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("looking made the directory")
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []State{enrolling(), enrolled()} {
		data, err := encode(&s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"format":4}`))
	f.Add([]byte(`{"format":1,"sum":"","state":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatalf("an error that says nothing of what to do: %v", err)
			}
			return
		}
		for f := oldest; f <= format; f++ {
			if again, err := encodeAs(s, f); err == nil && string(again) == string(data) {
				return
			}
		}
		t.Fatalf("read %q, which would not be written", data)
	})
}
