package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/programs"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/check"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// agent is a real one, with its state directory.
type agent struct {
	*process
	s     *site
	id    string
	state string

	mu       sync.Mutex
	last     record.Snapshot
	accepted time.Duration // when its journal said so last

	acceptances []time.Duration // all of those
}

// killsOfEnroll is how often an agent is killed while it enrolls.
const killsOfEnroll = 4

// letAgentsIn enrolls agents that are killed while they do, and starts them.
func (s *site) letAgentsIn(n int) error {
	for i := range n {
		a := &agent{s: s, id: fmt.Sprintf("agent-%d", i), state: filepath.Join(s.dir, fmt.Sprintf("agent-%d", i))}
		a.process = &process{name: a.id, dir: s.dir, path: filepath.Join(s.bin, "sentinel-agent")}
		note := "of " + a.id
		secret, result := s.operator.newToken(0, note, 1, false)
		if result != record.OK {
			return fmt.Errorf("a token for %s: %s", a.id, result)
		}
		a.args = []string{
			"enroll", "--state-dir", a.state, "--server", fmt.Sprintf("https://localhost:%d", s.balancer.port()), "--ca-fingerprint", s.fingerprint,
			"--fleet-root", s.root, "--token", secret, "--device-id", a.id, "--wait", "30s",
		}
		if err := a.enroll(s.random); err != nil {
			return err
		}
		a.args = []string{"run", "--state-dir", a.state, "--min-interval", "1s", "--log-level", "debug"}
		if err := a.start(); err != nil {
			return err
		}
		s.agents = append(s.agents, a)
	}
	return nil
}

// enroll runs the command again and again, killed each time but the last.
func (a *agent) enroll(random *rand.Rand) error {
	for range killsOfEnroll {
		if err := a.start(); err != nil {
			return err
		}
		select {
		case <-a.gone():
		case <-time.After(time.Duration(random.Int64N(int64(150 * time.Millisecond)))):
			a.kill()
			a.s.figures.killed("agent", "while it enrolls")
		}
	}
	out, err := run(a.path, nil, a.args...)
	// Killed after it was let in, it has nothing left to do and says so.
	if _, journal := check.ReadJournal(a.state); err != nil && journal != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// watch looks at the agents' journals until stop is closed.
func (s *site) watch(stop <-chan struct{}) {
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-stop:
			return
		case <-every.C:
		}
		for _, a := range s.agents {
			a.look()
		}
	}
}

func (a *agent) look() {
	now, err := check.ReadJournal(a.state)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			a.s.figures.failf("%s: its journal cannot be read: %v", a.id, err)
		}
		return
	}
	now.At = a.s.since()
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Accepted != a.last.Accepted {
		a.accepted = now.At
		a.acceptances = append(a.acceptances, now.At)
	}
	if before := a.last; now.Counter != before.Counter || now.Accepted != before.Accepted || now.Refusal != before.Refusal || now.Root != before.Root || now.Policy != before.Policy ||
		now.Epoch != before.Epoch || now.Slot != before.Slot || now.Request != before.Request || now.Tried != before.Tried {
		a.s.journals.Add(now)
	}
	a.last = now
}

// acceptedSince says whether a heartbeat was accepted after an instant, and when
// that was seen.
func (a *agent) acceptedSince(at time.Duration) (time.Duration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.accepted, a.accepted > at
}

// binaries builds both programs with their failpoints.
func binaries(root, dir string, race bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if race {
		return programs.BuildRace(root, dir, "failpoints")
	}
	return programs.Build(root, dir, "failpoints")
}
