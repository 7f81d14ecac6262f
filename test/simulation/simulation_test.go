package simulation

import (
	"context"
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// See the Makefile.
var (
	seeds = flag.Uint64("seeds", 0, "how many worlds to run; 0 is a short round")
	from  = flag.Uint64("from", 1, "the first seed")
	seed  = flag.Uint64("seed", 0, "the one seed to replay")
	tell  = flag.Bool("tell", false, "tell a replayed world event by event")
)

// short is how many worlds are a short round: a few seconds.
func short() uint64 {
	if raceEnabled {
		return 10
	}
	return 60
}

// home is a directory for worlds: in memory where there is one, since a world is
// thrown away.
func home(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "simulation-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func template(t *testing.T) (*Template, string) {
	t.Helper()
	dir := home(t)
	tmpl, err := NewTemplate(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl, dir
}

// mustHappen are words of the trace. Worlds in which nothing like it happens prove
// nothing about it.
var mustHappen = []string{
	"is enrolled", "the server accepted the new certificate", "review the recovery of", "review the renewal of", "begins rotate-certificate",
	"speaks for", "says what", "an old bundle", "is cloned", "is put back", "restored from backup", "a command is refused", "crashes in the middle", "in a commit",
}

// TestSeeds runs worlds, one after the other on each core, until one fails.
func TestSeeds(t *testing.T) {
	if *seed != 0 {
		t.Skip("one seed is replayed")
	}
	tmpl, dir := template(t)
	count := *seeds
	if count == 0 {
		count = short()
	}
	var next, failed, beats, steps atomic.Int64
	met := make([]atomic.Int64, len(mustHappen))
	begin, used := time.Now(), cpu()
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // worlds are short, and their garbage with them
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for failed.Load() == 0 {
				i := uint64(next.Add(1) - 1)
				if i >= count {
					return
				}
				r, err := tmpl.Run(context.Background(), dir, *from+i)
				if err != nil {
					t.Errorf("seed %d: %v", *from+i, err)
					failed.Add(1)
					return
				}
				beats.Add(int64(r.Beats))
				steps.Add(int64(r.Steps))
				for n, what := range mustHappen {
					met[n].Add(int64(strings.Count(strings.Join(r.Trace, "\n"), what)))
				}
				if r.Failure != "" {
					failed.Add(1)
					t.Error(r)
				}
			}
		})
	}
	workers.Wait()
	for n, what := range mustHappen {
		t.Logf("%6d times: %s", met[n].Load(), what)
		if count >= 60 && failed.Load() == 0 && met[n].Load() == 0 {
			t.Errorf("it never happened in %d worlds that %q: what would come of it is not shown", count, what)
		}
	}
	took := time.Since(begin)
	done := min(uint64(next.Load()), count)
	t.Logf("%d seeds from %d in %s: %.0f a minute, %s of CPU, %d events and %d accepted heartbeats a seed; %d failed",
		done, *from, took.Round(time.Millisecond), float64(done)/took.Minutes(), (cpu()-used)/time.Duration(done), steps.Load()/int64(done), beats.Load()/int64(done), failed.Load())
}

// cpu is what this process has used so far, so that a rate can be told on a machine
// that has other work too.
func cpu() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestOneSeed replays one world and tells it.
func TestOneSeed(t *testing.T) {
	if *seed == 0 {
		t.Skip("no seed is named")
	}
	tmpl, dir := template(t)
	r, err := tmpl.Run(t.Context(), dir, *seed)
	if err != nil {
		t.Fatal(err)
	}
	if *tell {
		for _, line := range r.Trace {
			t.Log(line)
		}
	}
	if r.Failure != "" {
		t.Fatal(r)
	}
	t.Logf("seed %d: %d events, %d accepted heartbeats, hash %016x", r.Seed, r.Steps, r.Beats, r.Hash)
}

// TestSeedsThatFailedOnce runs the worlds that once showed a fault.
func TestSeedsThatFailedOnce(t *testing.T) {
	tmpl, dir := template(t)
	data, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		text, _, _ := strings.Cut(line, "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		r, err := tmpl.Run(t.Context(), dir, n)
		if err != nil {
			t.Fatal(err)
		}
		if r.Failure != "" {
			t.Error(r)
		}
	}
}

// TestASeedIsAWorld proves that nothing but the seed decides what happens.
func TestASeedIsAWorld(t *testing.T) {
	tmpl, dir := template(t)
	count := uint64(10)
	if raceEnabled {
		count = 2
	}
	for n := *from; n < *from+count; n++ {
		first, err := tmpl.Run(t.Context(), dir, n)
		if err != nil {
			t.Fatal(err)
		}
		second, err := tmpl.Run(t.Context(), dir, n)
		if err != nil {
			t.Fatal(err)
		}
		if first.Hash == second.Hash {
			continue
		}
		for i := range min(len(first.Trace), len(second.Trace)) {
			if first.Trace[i] != second.Trace[i] {
				t.Fatalf("seed %d, event %d: once %q, once %q", n, i, first.Trace[i], second.Trace[i])
			}
		}
		t.Fatalf("seed %d: one run is longer", n)
	}
}
