package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// figures is what a phase measured and what went wrong at once. It is safe for
// concurrent use.
type figures struct {
	mu        sync.Mutex
	notes     []string
	failures  []string
	kills     map[string]int // by target, then by target and kind
	points    map[string][2]int
	counts    map[string]int
	recovered map[string][]time.Duration
	answers   map[string]int
	hurt      []disturbance
}

// disturbance is a fault after which agents must find their way back.
type disturbance struct {
	at    time.Duration
	agent string // "" is every agent
}

func (f *figures) sayf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

func (f *figures) failf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func bump(m *map[string]int, key string) {
	if *m == nil {
		*m = map[string]int{}
	}
	(*m)[key]++
}

func (f *figures) killed(target, kind string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bump(&f.kills, target)
	bump(&f.kills, target+" "+kind)
}

func (f *figures) count(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bump(&f.counts, what)
}

func (f *figures) point(name string, reached bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.points == nil {
		f.points = map[string][2]int{}
	}
	n := f.points[name]
	n[0]++
	if reached {
		n[1]++
	}
	f.points[name] = n
}

func (f *figures) back(what string, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.recovered == nil {
		f.recovered = map[string][]time.Duration{}
	}
	f.recovered[what] = append(f.recovered[what], took)
}

func (f *figures) disturbed(at time.Duration, agent string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hurt = append(f.hurt, disturbance{at, agent})
}

// lastHurt is when an agent was last given a reason to be away.
func (f *figures) lastHurt(agent string) (at time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.hurt {
		if d.agent == "" || d.agent == agent {
			at = max(at, d.at)
		}
	}
	return at
}

func (f *figures) add(o record.Op) {
	result := "refused"
	if o.Result == record.OK || o.Result == record.Unknown {
		result = o.Result
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	bump(&f.answers, o.Kind+" "+result)
}

// wayBack is, for each disturbance of an agent, how long it took until its next
// heartbeat was accepted, whatever else was broken meanwhile.
func (f *figures) wayBack(agent string, accepted []time.Duration) (took []time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.hurt {
		if d.agent != "" && d.agent != agent {
			continue
		}
		if i, _ := slices.BinarySearch(accepted, d.at); i < len(accepted) {
			took = append(took, accepted[i]-d.at)
		}
	}
	return took
}

// undisturbed is the longest time from a disturbance of an agent to its next
// accepted heartbeat, or to the end, with no other disturbance in between.
func (f *figures) undisturbed(agent string, accepted []time.Duration, end time.Duration) (longest time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var own []time.Duration
	for _, d := range f.hurt {
		if d.agent == "" || d.agent == agent {
			own = append(own, d.at)
		}
	}
	slices.Sort(own)
	for i, at := range own {
		until := end
		if n, _ := slices.BinarySearch(accepted, at); n < len(accepted) {
			until = accepted[n]
		}
		if i+1 == len(own) || own[i+1] > until {
			longest = max(longest, until-at)
		}
	}
	return longest
}

// busy is how busy the machine is, to be told beside a time that was missed.
func busy() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "the machine does not say how busy it is"
	}
	return "load average " + strings.Join(strings.Fields(string(data))[:3], " ")
}

// quantile of durations that are sorted by it.
func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))].Round(time.Millisecond)
}

// totalKills is the number of kills of a target, or of all.
func (f *figures) totalKills() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kills[toAgent] + f.kills[toServer] + f.kills[toPostgres]
}

// print writes the table of a phase.
func (f *figures) print(out io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer func() { _ = w.Flush() }()
	for _, k := range sorted(f.kills) {
		fmt.Fprintf(w, "  kills: %s\t%d\n", k, f.kills[k])
	}
	for _, k := range sorted(f.points) {
		fmt.Fprintf(w, "  failpoint %s\t%d of %d reached\n", k, f.points[k][1], f.points[k][0])
	}
	for _, k := range sorted(f.recovered) {
		took := f.recovered[k]
		fmt.Fprintf(w, "  back: %s\t%d times, median %v, p99 %v, worst %v\n", k, len(took), quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1))
	}
	for _, k := range sorted(f.answers) {
		fmt.Fprintf(w, "  answers: %s\t%d\n", k, f.answers[k])
	}
	for _, k := range sorted(f.counts) {
		fmt.Fprintf(w, "  %s\t%d\n", k, f.counts[k])
	}
	for _, n := range f.notes {
		fmt.Fprintf(w, "  note: %s\n", n)
	}
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
