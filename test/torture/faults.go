package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// reachedWithin is how long a failpoint is waited for. One that is not passed by
// then is not hurt: the process is killed where it is.
const (
	reachedWithin = 4 * time.Second
	renewsWithin  = 6 * time.Second // by order: it comes with one heartbeat, and is over with another
)

// perform does a fault to the site and lets it recover.
func (s *site) perform(f fault) error {
	switch f.Target {
	case toAgent:
		return s.hurtAgent(s.agents[f.Which%len(s.agents)], f)
	case toServer:
		return s.hurtServer(s.nodes[f.Which%len(s.nodes)], f)
	}
	return s.hurtPostgres(f)
}

// end ends a process as the fault says, and returns when that was.
func (s *site) end(p *process, f fault) (time.Duration, error) {
	switch f.Kind {
	case killAtPoint:
		died, err := p.dieAt(f.Point, f.Count, reachedWithin)
		s.figures.point(f.Point, died)
		if err != nil {
			return 0, err
		}
	case killStopped:
		p.signal(syscall.SIGSTOP)
		<-time.After(f.Hold)
	}
	at := s.since()
	p.kill()
	if f.Kind == killAtStart {
		s.figures.killed(f.Target, killNow)
		if err := s.endStart(p, f); err != nil {
			return 0, err
		}
	}
	s.figures.killed(f.Target, f.Kind)
	return at, nil
}

// endStart starts a process that was killed, and kills it before it runs.
func (s *site) endStart(p *process, f fault) error {
	limit := f.Start
	if f.Point != "" {
		if err := p.arm(f.Point, f.Count, "kill"); err != nil {
			return err
		}
		limit = reachedWithin
	}
	if err := p.start(); err != nil {
		return err
	}
	reached := false
	select {
	case <-p.gone():
		reached = true
	case <-time.After(limit):
		p.kill()
	}
	if f.Point != "" {
		s.figures.point(f.Point, reached)
	}
	return p.arm("", 0, "")
}

// still stops a process for a while.
func still(p *process, hold time.Duration) {
	p.signal(syscall.SIGSTOP)
	<-time.After(hold)
	p.signal(syscall.SIGCONT)
}

func (s *site) hurtAgent(a *agent, f fault) error {
	if kind := order(f.Point); kind != "" {
		// It comes with one of the next heartbeats. An agent that was told often enough
		// refuses it.
		s.operator.command(f.Which%len(s.nodes), kind, a.id)
	}
	switch f.Kind {
	case stopAwhile:
		still(a.process, f.Hold)
		return nil
	case pauseAt:
		return a.arm(f.Point, f.Count, "pause")
	}
	if f.Kind == killAtPoint && order(f.Point) == rotate {
		return s.endRenewal(a, f)
	}
	at, err := s.end(a.process, f)
	if err != nil {
		return err
	}
	s.figures.disturbed(at, a.id)
	return a.start()
}

// endRenewal ends whichever agent passes a point of its renewal next: they renew
// every few minutes by themselves, and by order a few times an hour only. If none
// does in time, the one that was chosen is killed where it is.
func (s *site) endRenewal(chosen *agent, f fault) error {
	for _, a := range s.agents {
		if err := a.arm(f.Point, f.Count, "kill"); err != nil {
			return err
		}
	}
	var ended []*agent
	for over := time.Now().Add(renewsWithin); len(ended) == 0 && time.Now().Before(over); <-time.After(10 * time.Millisecond) {
		ended = s.gone()
	}
	s.figures.point(f.Point, len(ended) > 0)
	for _, a := range s.agents {
		if err := a.arm("", 0, ""); err != nil {
			return err
		}
	}
	if len(ended) == 0 {
		chosen.kill()
	}
	for _, a := range s.gone() { // one more may have passed it
		s.figures.killed(toAgent, f.Kind)
		s.figures.disturbed(s.since(), a.id)
		if err := a.start(); err != nil {
			return err
		}
	}
	return nil
}

// gone are the agents that have ended.
func (s *site) gone() (list []*agent) {
	for _, a := range s.agents {
		select {
		case <-a.gone():
			list = append(list, a)
		default:
		}
	}
	return list
}

func (s *site) hurtServer(n *node, f fault) error {
	switch f.Kind {
	case stopAwhile:
		still(n.process, f.Hold)
		s.figures.disturbed(s.since(), "")
		return n.waitReady(readyWithin)
	case pauseAt:
		return n.arm(f.Point, f.Count, "pause")
	case secondStart:
		return s.second(n)
	case lateBeats:
		return s.restartAround(n, f)
	case fillDisk, limitWrites, fillAndKill:
		return s.hurtDisk(n, f)
	}
	at, err := s.end(n.process, f)
	if err != nil {
		return err
	}
	return s.back(n, at)
}

// restartAround restarts every agent while a node is stopped. What an agent sent
// before lies in the node's buffers and is read afterwards.
func (s *site) restartAround(n *node, f fault) error {
	n.signal(syscall.SIGSTOP)
	<-time.After(f.Hold)
	for _, a := range s.agents {
		a.kill()
		s.figures.killed(toAgent, f.Kind)
		if err := a.start(); err != nil {
			return err
		}
	}
	<-time.After(f.Hold)
	n.signal(syscall.SIGCONT)
	s.figures.disturbed(s.since(), "")
	return n.waitReady(readyWithin)
}

// back starts a node again and measures how long it was away.
func (s *site) back(n *node, at time.Duration) error {
	if err := n.start(); err != nil {
		return err
	}
	if err := n.waitReady(readyWithin - (s.since() - at)); err != nil {
		return err
	}
	s.figures.disturbed(at, "")
	s.figures.back(toServer, s.since()-at)
	return nil
}

// second starts another server on the data of one that runs: it must refuse.
func (s *site) second(n *node) error {
	done := make(chan error, 1)
	cmd := exec.Command(n.path, "serve")
	cmd.Env = append(os.Environ(), n.env...)
	cmd.Env = append(cmd.Env, "SENTINEL_PEOPLE_LISTEN=127.0.0.1:0", "SENTINEL_MACHINE_LISTEN=127.0.0.1:0")
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err == nil {
			return fmt.Errorf("a second server on %s ended without an error", n.data)
		}
		s.figures.count("second servers refused")
		return nil
	case <-time.After(readyWithin):
		_ = cmd.Process.Kill()
		return fmt.Errorf("a second server runs on %s", n.data)
	}
}

// hurtDisk lets writes fail for a while. The server need not be ready meanwhile,
// nor alive; it must be afterwards.
func (s *site) hurtDisk(n *node, f fault) error {
	if f.Kind == limitWrites || s.disk == nil {
		lift, err := s.limit(n)
		if err != nil {
			return err
		}
		<-time.After(f.Hold)
		if err := lift(); err != nil {
			return err
		}
		s.figures.count("times that files could not grow")
	} else {
		if err := s.disk.fill(); err != nil {
			return err
		}
		<-time.After(f.Hold)
		if f.Kind == fillAndKill {
			n.kill()
			s.figures.killed(toServer, f.Kind)
			if err := n.start(); err != nil { // which may end at once
				return err
			}
			<-time.After(f.Hold / 2)
		}
		if err := s.disk.free(); err != nil {
			return err
		}
		s.figures.count("times that the disk was full")
	}
	at := s.since()
	select {
	case <-n.gone():
		s.figures.count("times that the server ended by itself while it could not write")
		return s.back(n, at)
	default:
	}
	if err := n.waitReady(readyWithin); err != nil {
		return err
	}
	s.figures.disturbed(at, "")
	s.figures.back("disk", s.since()-at)
	return nil
}

// limit lets the write-ahead log grow no further.
func (s *site) limit(n *node) (func() error, error) {
	size := uint64(4 << 10)
	if info, err := os.Stat(filepath.Join(n.data, "sentinel.db-wal")); err == nil {
		size = uint64(info.Size()) / 2
	}
	return limitFiles(n.pid(), size)
}

func (s *site) hurtPostgres(f fault) error {
	if s.postgres == nil {
		return nil
	}
	at := s.since()
	switch f.Kind {
	case killNow:
		s.postgres.kill()
		s.figures.killed(toPostgres, f.Kind)
		if err := s.postgres.again(30 * time.Second); err != nil {
			return err
		}
		s.figures.back("PostgreSQL itself", s.since()-at)
	case killBackend:
		if s.postgres.killBackend(f.Which) {
			s.figures.killed(toPostgres, f.Kind)
		}
	case stopAwhile:
		still(s.postgres.process, f.Hold)
	}
	// The nodes go on by themselves.
	begin := s.since()
	for _, n := range s.nodes {
		if err := n.waitReady(readyWithin); err != nil {
			return err
		}
	}
	s.figures.disturbed(begin, "")
	s.figures.back("nodes after PostgreSQL", s.since()-begin)
	return nil
}
