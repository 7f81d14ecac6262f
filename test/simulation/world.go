package simulation

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/simtest"
)

// World is one seed's fleet.
type World struct {
	ctx     context.Context //nolint:containedctx // a world is one call of Run
	seed    uint64
	rng     *rand.Rand
	dir     string
	faults  faults
	clock   int64 // virtual time, microseconds since epoch
	queue   queue
	serial  uint64
	steps   int
	current *process

	processes []*process
	server    server
	agents    []*agent
	oracle    oracle
	operator  operator
	commands  commands

	quiet  bool // faults are over
	images int  // of disks

	hash interface {
		Write([]byte) (int, error)
		Sum64() uint64
	}
	trace   []string
	failure string
}

// epoch is when every world begins: the template was founded an hour before.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (w *World) time(skew time.Duration) time.Time {
	return epoch.Add(time.Duration(w.clock) * time.Microsecond).Add(skew)
}

type event struct {
	at   int64
	tie  uint64
	nth  uint64
	name string
	run  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	a, b := &q[i], &q[j]
	if a.at != b.at {
		return a.at < b.at
	}
	if a.tie != b.tie {
		return a.tie < b.tie
	}
	return a.nth < b.nth
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) } //nolint:forcetypeassert // only at pushes
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// at runs f at a virtual time; a name is told in the trace.
func (w *World) at(when int64, name string, f func()) {
	w.serial++
	heap.Push(&w.queue, event{at: max(when, w.clock), tie: w.rng.Uint64(), nth: w.serial, name: name, run: f})
}

func (w *World) after(d time.Duration, f func()) {
	w.at(w.clock+d.Microseconds(), "", f)
}

// step runs the next event, and reports whether there was one.
func (w *World) step() bool {
	if len(w.queue) == 0 || w.failure != "" {
		return false
	}
	e, _ := heap.Pop(&w.queue).(event)
	w.clock = e.at
	w.steps++
	if e.name != "" {
		w.tellf("%s", e.name)
	}
	e.run()
	w.server.afterEvent(w)
	return w.failure == ""
}

// tellf adds to the trace. What it says must not depend on keys, ids or nonces.
func (w *World) tellf(format string, args ...any) {
	line := fmt.Sprintf("%9.3fs %s", float64(w.clock)/1e6, fmt.Sprintf(format, args...))
	_, _ = w.hash.Write([]byte(line))
	w.trace = append(w.trace, line)
}

// failf records the first thing that must not be.
func (w *World) failf(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
		w.tellf("FAILED: %s", w.failure)
	}
}

// chance is true with the probability p.
func (w *World) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// between is a duration in [a, b).
func (w *World) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

// Result is what became of a seed.
type Result struct {
	Seed    uint64
	Failure string // "" for none
	Hash    uint64
	Steps   int
	Beats   int // heartbeats accepted
	Trace   []string
}

func (r *Result) String() string {
	tail := r.Trace[max(0, len(r.Trace)-60):]
	return fmt.Sprintf("seed %d: %s\nlast events:\n  %s\nreplay it: make simulate SEED=%d TRACE=1", r.Seed, r.Failure, strings.Join(tail, "\n  "), r.Seed)
}

// Template is what every world begins with: a founded fleet, and one whose devices
// are enrolled. Keys are made for it once.
type Template struct{ founded, enrolled string }

// stuckAfter is how long a world may take of real time: it takes a tenth of a second.
const stuckAfter = time.Minute

// mostDevices of a world.
const mostDevices = 4

// NewTemplate founds a fleet below dir, and has devices enroll in a copy of it.
func NewTemplate(ctx context.Context, dir string) (*Template, error) {
	t := &Template{founded: filepath.Join(dir, "founded"), enrolled: filepath.Join(dir, "enrolled")}
	if err := simtest.Found(ctx, filepath.Join(t.founded, "server"), epoch.Add(-time.Hour)); err != nil {
		return nil, err
	}
	w := newWorld(ctx, t.enrolled, 0)
	w.clock = -(30 * time.Minute).Microseconds()
	if err := w.server.begin(w, t.founded); err != nil {
		return nil, err
	}
	for i := range mostDevices {
		w.power(w.newAgent(i))
	}
	w.operator.begin(w)
	for limit := 5000; w.step() && slices.ContainsFunc(w.agents, func(a *agent) bool { return !a.saw.Enrolled }); limit-- {
		if limit == 0 {
			w.failf("the devices do not enroll")
		}
	}
	w.end()
	if w.failure != "" {
		return nil, errors.New(strings.Join(w.trace[max(0, len(w.trace)-30):], "\n"))
	}
	return t, nil
}

func newWorld(ctx context.Context, dir string, seed uint64) *World {
	w := &World{
		ctx: ctx, seed: seed, rng: rand.New(rand.NewPCG(seed, 0x5e47)), dir: dir, hash: fnv.New64a(),
	}
	w.oracle.begin()
	w.commands.forged, w.commands.begun = map[string]string{}, map[string]int{}
	w.operator.made = map[string]int{}
	return w
}

// Run runs the world of a seed in a directory of its own below dir.
func (t *Template) Run(ctx context.Context, dir string, seed uint64) (*Result, error) {
	home, err := os.MkdirTemp(dir, "world-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(home) }()
	stuck := time.AfterFunc(stuckAfter, func() { panic(fmt.Sprintf("seed %d: a process waits for something that is not the scheduler", seed)) })
	defer stuck.Stop()
	w := newWorld(ctx, home, seed)
	w.faults = w.choose()
	from := t.founded
	if w.chance(0.7) {
		from = t.enrolled
	}
	if err := w.server.begin(w, from); err != nil {
		return nil, err
	}
	w.populate(from)
	w.live()
	w.settle()
	w.end()
	return &Result{Seed: seed, Failure: w.failure, Hash: w.hash.Sum64(), Steps: w.steps, Beats: w.oracle.beats, Trace: w.trace}, nil
}

// live lets the world have its time, with all its faults.
func (w *World) live() {
	until := w.clock + w.between(3*time.Minute, 12*time.Minute).Microseconds()
	for limit := 2500; limit > 0 && len(w.queue) > 0 && w.queue[0].at < until && w.step(); limit-- {
	}
}

// end stops whatever still runs.
func (w *World) end() {
	for _, p := range slices.Clone(w.processes) {
		w.kill(p)
	}
	w.server.close()
}
