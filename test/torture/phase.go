package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/check"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/history"
)

const (
	calmEvery    = 25               // faults
	acceptedIn   = 60 * time.Second // of calm
	oneCommitOf  = 50               // is cut
	settlingTime = 500 * time.Millisecond
)

// phase tortures one installation and says what broke.
func phase(ctx context.Context, o options, database, bin, dir string, kills int, out io.Writer) (failures []string, done int, err error) {
	schedule := newSchedule(o, database, kills)
	s, err := newSite(o, database, bin, dir, rand.New(rand.NewPCG(o.seed, 7)))
	if err != nil {
		return nil, 0, err
	}
	defer s.close()
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() { s.watch(stop); close(watched) }()
	busy, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := s.startLoad(busy)
	if err == nil {
		err = s.births(o.kills, rand.New(rand.NewPCG(o.seed, 11)))
	}
	if err == nil {
		err = s.follow(ctx, schedule, out)
	}
	if err != nil {
		s.figures.failf("%v", err)
	}
	cancel()
	if l != nil {
		l.group.Wait()
	}
	if err == nil {
		<-time.After(settlingTime)
	}
	close(stop)
	<-watched
	s.ended = s.since()
	s.stop()
	s.judge()
	s.figures.print(out)
	if len(s.figures.failures) > 0 && s.disk != nil {
		if err := s.disk.keep(filepath.Join(dir, "kept")); err != nil {
			s.figures.failf("%v", err)
		}
	}
	return s.figures.failures, s.figures.totalKills(), nil
}

// follow performs the schedule, with calm now and then.
func (s *site) follow(ctx context.Context, schedule []fault, out io.Writer) error {
	log, err := os.Create(filepath.Join(s.dir, "faults.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	if s.cutter != nil {
		s.cutter.cutOneOf(oneCommitOf)
	}
	for i, f := range schedule {
		if !pause(ctx, f.After) {
			return fmt.Errorf("stopped by a signal before fault %d", i)
		}
		fmt.Fprintf(log, "%v %d %s\n", s.since(), i, f)
		if err := s.perform(f); err != nil {
			return fmt.Errorf("fault %d, %s: %w", i, f, err)
		}
		if (i+1)%calmEvery == 0 || i == len(schedule)-1 {
			if err := s.calm(); err != nil {
				return fmt.Errorf("after fault %d, %s: %w", i, f, err)
			}
			fmt.Fprintf(out, "  %s: %d of %d faults, %d kills, %v\n", s.name, i+1, len(schedule), s.figures.totalKills(), s.since().Round(time.Second))
		}
	}
	return nil
}

// calm waits until every agent's heartbeat was accepted again.
func (s *site) calm() error {
	if s.cutter != nil {
		s.cutter.cutOneOf(0)
		defer s.cutter.cutOneOf(oneCommitOf)
	}
	begin := s.since()
	for _, a := range s.agents {
		for {
			if at, ok := a.acceptedSince(s.figures.lastHurt(a.id)); ok {
				s.figures.back("agents in calm", max(0, at-begin))
				break
			}
			if s.since()-begin > acceptedIn {
				return fmt.Errorf("no heartbeat of %s was accepted within %v of calm (%s); see %s", a.id, acceptedIn, busy(), a.logPath())
			}
			<-time.After(50 * time.Millisecond)
		}
	}
	return nil
}

// judge looks at all that is left.
func (s *site) judge() {
	for _, a := range s.agents {
		for _, took := range s.figures.wayBack(a.id, a.acceptances) {
			s.figures.back("agents through all faults", took)
		}
		if took := s.figures.undisturbed(a.id, a.acceptances, s.ended); took > acceptedIn {
			s.figures.failf("%s: %v passed from a fault to the next heartbeat that was accepted, and nothing else stood in its way", a.id, took.Round(time.Millisecond))
		}
		for _, t := range a.troubles() {
			s.figures.failf("%s", t)
		}
	}
	for _, n := range s.nodes {
		for _, t := range n.troubles() {
			s.figures.failf("%s", t)
		}
	}
	if s.cutter != nil {
		s.figures.sayf("%d commits cut before they passed, %d after they were answered", s.cutter.before.Load(), s.cutter.after.Load())
	}
	if s.postgres != nil && !s.postgres.answers() {
		if err := s.postgres.again(30 * time.Second); err != nil {
			s.figures.failf("%v", err)
			return
		}
	}
	e, err := s.evidence()
	if err != nil {
		s.figures.failf("the evidence cannot be read: %v", err)
		return
	}
	for _, v := range check.Violations(e) {
		s.figures.failf("%v", v)
	}
	s.figures.sayf("%d invariants checked over %d operations, %d journal snapshots, %d audit entries, %d devices", len(check.Rules()), len(e.Ops), len(e.Snapshots), len(e.Audit), len(e.Devices))
	for name, r := range map[string]history.Result{"counters": history.Counters(e.Ops), "tokens": history.Tokens(e.Ops), "renewals": history.Renewals(e.Ops)} {
		s.figures.sayf("porcupine: %d histories of %s with %d operations", r.Histories, name, r.Operations)
		for _, b := range r.Broken {
			s.figures.failf("not linearizable: %s", b)
		}
		if r.Undecided > 0 {
			s.figures.failf("%d histories of %s could not be decided", r.Undecided, name)
		}
	}
}

var errBroken = errors.New("something does not hold")
