package simulation

import (
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/agentsim"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/simtest"
)

// agent is a device and what a person at it knows.
type agent struct {
	name    string // its device_id
	dir     string
	address string
	skew    time.Duration
	token   string // given by the operator, "" for none
	pinned  bool   // the digest of the fleet root came with the token

	p        *process
	spoiled  bool          // its disk was copied or put back, so that it may do again what it did
	steepest time.Duration // the most that its clock was ever ahead
	clone    bool          // a second machine with a copy of the state
	caught   bool          // a clone that was found: it is off for good
	earlier  string        // a copy of the state directory

	saw    agentsim.State // what it held on to when last looked at
	bodies [][]byte       // heartbeats that it sent, for whoever captured them
	chain  [][]byte       // what it presents
	before [][]byte       // what it presented before
}

// populate makes the devices and the people.
func (w *World) populate(from string) {
	for i := range 2 + w.rng.IntN(mostDevices-1) {
		a := w.newAgent(i)
		if err := simtest.Copy(a.dir, filepath.Join(from, a.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.failf("%s: %v", a.name, err)
		}
		w.after(w.between(0, time.Minute), func() { w.power(a) })
	}
	w.operator.begin(w)
	w.after(w.between(0, mishapsEvery), func() { w.mishaps() })
}

func (w *World) newAgent(i int) *agent {
	a := &agent{
		name: fmt.Sprintf("edge-%d", i+1), dir: filepath.Join(w.dir, fmt.Sprintf("edge-%d", i+1)),
		address: fmt.Sprintf("192.0.2.%d:4711", 10+i), pinned: w.chance(0.7),
	}
	w.agents = append(w.agents, a)
	return a
}

// power starts the agent's process.
func (w *World) power(a *agent) {
	if a.caught || a.p != nil && !a.p.ended {
		return
	}
	w.tellf("%s: starts", a.name)
	a.p = w.spawn(ofAgent, a.name, func(p *process) { w.work(a, p) })
	a.p.agent = a
	w.resume(a.p, nil)
}

// cut ends the agent's process where it stands.
func (w *World) cut(a *agent) {
	if a.p != nil {
		w.kill(a.p)
	}
}

// catch takes a clone away, also one that is about to start again.
func (w *World) catch(a *agent) {
	a.caught = true
	w.cut(a)
}

// software is the agent's code on this device.
func (w *World) software(a *agent, p *process) *agentsim.Process {
	return &agentsim.Process{
		Dir: a.dir, Server: "https://localhost:8443", Now: func() time.Time { return w.time(a.skew) }, Random: w.rng.Float64,
		Uptime: func() time.Duration { return time.Duration(w.clock) * time.Microsecond }, Log: slog.New(&ear{w: w, a: a, p: p}),
		Sleep:   func(d time.Duration) { p.yield(sleeping{w.clock + (d + time.Microsecond - 1).Microseconds()}) },
		Due:     func(c *x509.Certificate) time.Time { return due(a.name, c) },
		Network: wire{w, a}, Facts: func() map[string]string { return map[string]string{"os": "linux"} },
	}
}

// due is when a device renews: as the agent has it, with the seed's own draw.
func due(name string, c *x509.Certificate) time.Time {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, name, c.NotAfter.Unix())
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotBefore.Add(life*2/3 + time.Duration((float64(h.Sum32())/(1<<32)-0.5)/5*float64(life)))
}

// work is what a device does while it is on: it enrolls, then stays in touch.
func (w *World) work(a *agent, p *process) {
	code := w.software(a, p)
	for {
		s, err := agentsim.ReadState(a.dir)
		switch {
		case err != nil:
			w.failf("%s cannot read its state: %v", a.name, err)
			return
		case s.Enrolled:
			if err = code.Run(w.ctx); errors.Is(err, agentsim.ErrRestart) {
				w.tellf("%s: restarts, as it was told", a.name)
				code.Sleep(w.between(time.Second, 5*time.Second)) // its supervisor
				continue
			}
		case a.token == "" && !s.Begun:
			code.Sleep(w.between(5*time.Second, 30*time.Second))
			continue
		default:
			err = code.Enroll(w.ctx, w.told(a))
			if errors.Is(err, agentsim.ErrOver) {
				a.token = ""
			}
			if err == nil {
				w.tellf("%s: is enrolled", a.name)
				continue
			}
		}
		w.tellf("%s: its process ends: %v", a.name, plain(err))
		code.Sleep(w.between(10*time.Second, 60*time.Second))
	}
}

func (w *World) told(a *agent) agentsim.Enrollment {
	e := agentsim.Enrollment{DeviceID: a.name, Token: a.token, CAFingerprint: w.server.fingerprint, Wait: 10 * time.Minute}
	if a.pinned {
		e.FirstRoot = w.server.rootDigest
	}
	return e
}

// plain is an error's text without what differs between two runs.
func plain(err error) string {
	switch {
	case err == nil:
		return "without an error"
	case errors.Is(err, agentsim.ErrOver):
		return "the enrollment was refused"
	case errors.Is(err, agentsim.ErrPending):
		return "not decided yet"
	default:
		return "an error"
	}
}

// copyState is an image of the device's disk.
func (w *World) copyState(a *agent) {
	w.images++
	a.earlier = filepath.Join(w.dir, fmt.Sprintf("%s-image-%d", a.name, w.images))
	if _, err := os.Stat(a.dir); err != nil {
		a.earlier = ""
		return
	}
	if err := simtest.Copy(a.earlier, a.dir); err != nil {
		w.failf("copy: %v", err)
	}
}

// rollback puts an earlier image of the disk in place.
func (w *World) rollback(a *agent) {
	if a.earlier == "" {
		return
	}
	if s, err := agentsim.ReadState(a.earlier); err != nil || !s.Begun {
		return
	}
	w.cut(a)
	if err := errors.Join(os.RemoveAll(a.dir), simtest.Copy(a.dir, a.earlier)); err != nil {
		w.failf("roll back %s: %v", a.name, err)
		return
	}
	w.oracle.rolledBack(a)
	a.spoiled = true
	w.tellf("%s: is put back to an earlier state", a.name)
	w.after(w.between(0, time.Minute), func() { w.power(a) })
}

// cloneOf starts a second machine with a copy of the device's disk.
func (w *World) cloneOf(a *agent) {
	w.copyState(a)
	if a.earlier == "" {
		return
	}
	c := &agent{name: a.name, dir: a.earlier, address: "198.51.100.7:4711", clone: true, spoiled: true, pinned: a.pinned, skew: a.skew}
	a.earlier, a.spoiled = "", true
	w.agents = append(w.agents, c)
	w.tellf("%s: is cloned", a.name)
	w.after(w.between(0, time.Minute), func() { w.power(c) })
	w.after(w.between(time.Minute, 10*time.Minute), func() { w.tellf("%s: the clone is found", c.name); w.catch(c) })
}

// mishaps is a round of what happens to machines.
func (w *World) mishaps() {
	if w.quiet {
		return
	}
	f := w.faults
	if w.chance(f.serverCrash) && w.server.node != nil {
		w.server.crash(w, "crashed")
		w.after(w.between(time.Second, 2*time.Minute), func() { w.server.start(w) })
	}
	a := w.agents[w.rng.IntN(len(w.agents))]
	switch {
	case a.clone:
	case w.chance(f.agentCrash):
		w.tellf("%s: crashes", a.name)
		w.cut(a)
		w.after(w.between(0, 2*time.Minute), func() { w.power(a) })
	case w.chance(f.agentRollback):
		w.copyState(a)
		w.after(w.between(time.Minute, 6*time.Minute), func() {
			if !w.quiet {
				w.rollback(a)
			}
		})
	case w.chance(f.clone):
		w.cloneOf(a)
	}
	if w.chance(f.clockStep) {
		a.skew += w.between(-10*time.Minute, 10*time.Minute)
		if w.chance(0.1) {
			a.skew += w.between(-50*time.Hour, 50*time.Hour)
		}
		a.steepest = max(a.steepest, a.skew)
		w.tellf("%s: its clock is off by %s", a.name, a.skew)
	}
	if w.chance(f.clockStep / 3) {
		w.server.skew += w.between(-2*time.Minute, 3*time.Minute)
		w.tellf("server: its clock is off by %s", w.server.skew)
	}
	if w.chance(0.2) && len(w.server.backups) < 3 {
		w.server.backup(w)
	}
	if w.chance(f.restore) && len(w.server.backups) > 0 {
		w.server.restore(w, w.rng.IntN(len(w.server.backups)))
	}
	if w.chance(f.attack) {
		w.attack()
	}
	w.after(w.between(mishapsEvery/2, mishapsEvery*3/2), func() { w.mishaps() })
}
