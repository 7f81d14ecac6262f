package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/cputime"
)

func beatOnce(ctx context.Context, c *caller) error { return c.beat(ctx) }

// heartbeat is line 1.
func heartbeat(ctx context.Context, b *bench) error {
	f, err := b.fleetOf(ctx, b.plan.devices)
	if err != nil {
		return err
	}
	for _, kind := range b.plan.databases {
		if err := b.heartbeatOn(ctx, f, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (b *bench) heartbeatOn(ctx context.Context, f *fleet, kind string) error {
	s, err := b.newSite(ctx, f, kind)
	if err != nil {
		return err
	}
	plain, err := b.newBare(ctx, f, kind, false)
	if err != nil {
		return err
	}
	signed, err := b.newBare(ctx, f, kind, true)
	if err != nil {
		return err
	}
	for _, start := range []func(context.Context) error{s.start, plain.start, signed.start} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	defer signed.stop()
	defer plain.stop()
	defer s.stop()
	// All at once are more files than one process may often open, so the references
	// share what is left.
	ours, bare, evidence := s.crew(), plain.crew(), signed.crew()
	defer ours.hangUp()
	cost := b.compare(1, "a heartbeat, CPU of server and database", kind, "µs", 1.5)
	rate := b.compare(1, "heartbeats a second (for orientation)", kind, "/s", 0)
	price := b.compare(1, "the reference with a signature checked, beside it without", kind, "µs", 0)
	return b.eachRound(ctx, func(int) error {
		var m [3]measured
		for i, one := range []struct {
			*crew
			pids []int
		}{{ours, s.pids()}, {bare, plain.pids()}, {evidence, signed.pids()}} {
			if err := one.warm(ctx); err != nil {
				return err
			}
			if m[i], err = one.load(ctx, b.plan.window, b.plan.inFlight, one.pids, beatOnce); err != nil {
				return err
			}
			one.hangUp()
		}
		cost.add(m[0].cpu, m[1].cpu)
		rate.add(m[0].perSecond, m[1].perSecond)
		price.add(m[2].cpu, m[1].cpu)
		return nil
	})
}

// batches is line 2.
func batches(ctx context.Context, b *bench) error {
	f, err := b.fleetOf(ctx, min(b.plan.devices, 1000))
	if err != nil {
		return err
	}
	for _, kind := range b.plan.databases {
		if err := b.batchesOn(ctx, f, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

// connectionsOfLine2 is said by the goal.
const connectionsOfLine2 = 32

func (b *bench) batchesOn(ctx context.Context, f *fleet, kind string) error {
	batched, err := b.newSite(ctx, f, kind)
	if err != nil {
		return err
	}
	single, err := b.newSite(ctx, f, kind, "SENTINEL_HEARTBEAT_BATCH_SIZE=1", "SENTINEL_HEARTBEAT_BATCH_WINDOW=0s")
	if err != nil {
		return err
	}
	for _, s := range []*site{batched, single} {
		if err := s.start(ctx); err != nil {
			return err
		}
		defer s.stop()
	}
	ours, one := batched.crew(), single.crew()
	defer ours.hangUp()
	defer one.hangUp()
	for _, c := range []*crew{ours, one} {
		if err := c.warm(ctx); err != nil {
			return err
		}
	}
	saves := b.compare(2, "one commit each costs, beside batches", kind, "µs", 1.8).atLeast()
	p99 := b.compare(2, "99 % answered within, at 32 connections, beside one commit each", kind, "ms", 1)
	err = b.eachRound(ctx, func(int) error {
		with, err := ours.load(ctx, b.plan.window, connectionsOfLine2, batched.pids(), beatOnce)
		if err != nil {
			return err
		}
		without, err := one.load(ctx, b.plan.window, connectionsOfLine2, single.pids(), beatOnce)
		if err != nil {
			return err
		}
		saves.add(without.cpu, with.cpu)
		p99.add(with.p99, without.p99)
		return nil
	})
	if err != nil {
		return err
	}
	return b.afterCommit(ctx, batched, ours)
}

// afterCommit kills the server in the middle of its work: what it answered must be
// in the database.
func (b *bench) afterCommit(ctx context.Context, s *site, c *crew) error {
	var killed atomic.Bool
	answered := make([]int64, len(c.callers))
	var wg sync.WaitGroup
	for i, one := range c.callers[:min(len(c.callers), connectionsOfLine2)] {
		wg.Go(func() {
			for one.beat(ctx) == nil {
				answered[i] = one.counter
			}
			if !killed.Load() {
				answered[i] = -1
			}
		})
	}
	pause(ctx, b.plan.window/2)
	killed.Store(true)
	_ = s.process.cmd.Process.Kill()
	wg.Wait()
	<-s.process.done
	d, err := s.open()
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	lost := 0
	for i, n := range answered {
		if n == 0 {
			continue
		}
		var stored int64
		id := c.callers[i].DeviceID // of our own making
		if err := d.QueryRowContext(ctx, "SELECT counter FROM device_counters WHERE device_id = '"+id+"'").Scan(&stored); err != nil {
			return err
		}
		if stored < n || n < 0 {
			lost++
		}
	}
	f := b.compare(2, "answered and not stored when the server is killed", s.kind, "devices", 0)
	f.alone(float64(lost))
	f.Met = lost == 0
	return nil
}

// connections is line 4.
func connections(ctx context.Context, b *bench) error {
	f, err := b.fleetOf(ctx, b.plan.devices)
	if err != nil {
		return err
	}
	for _, kind := range b.plan.databases {
		if err := b.connectionsOn(ctx, f, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (b *bench) connectionsOn(ctx context.Context, f *fleet, kind string) error {
	s, err := b.newSite(ctx, f, kind)
	if err != nil {
		return err
	}
	r, err := b.newBare(ctx, f, kind, false)
	if err != nil {
		return err
	}
	if err := errors.Join(s.start(ctx), r.start(ctx)); err != nil {
		return err
	}
	defer r.stop()
	defer s.stop()
	ours, bare := s.crew(), r.crew()
	defer ours.hangUp()
	defer bare.hangUp()
	if err := ours.warm(ctx); err != nil {
		return err
	}
	ours.hangUp()
	anew := func(ctx context.Context, c *caller) error {
		defer c.hangUp()
		return c.beat(ctx)
	}
	shake := func(ctx context.Context, c *caller) error {
		if err := c.connect(ctx); err != nil {
			return err
		}
		return c.post("/", nil, &answer{})
	}
	cost := b.compare(4, "a heartbeat on a new connection, CPU", kind, "µs", 1.2)
	storm := b.compare(4, fmt.Sprintf("%d devices back at once, beside bare handshakes", len(f.identities)), kind, "/s", 0.85).atLeast()
	lost := b.compare(4, "of those lost", kind, "devices", 0)
	return b.eachRound(ctx, func(int) error {
		const atOnce = 16
		m, err := ours.load(ctx, b.plan.window, atOnce, s.pids(), anew)
		if err != nil {
			return err
		}
		n, err := bare.load(ctx, b.plan.window, atOnce, r.pids(), anew)
		if err != nil {
			return err
		}
		cost.add(m.cpu, n.cpu)
		back, missing := ours.storm(ctx, beatOnce)
		ours.hangUp()
		shook, _ := bare.storm(ctx, shake)
		bare.hangUp()
		storm.add(back, shook)
		lost.alone(float64(missing))
		lost.Met = slices.Max(lost.Ours) == 0 // in every round
		return nil
	})
}

// stormLimit is how long a device tries to come back.
const stormLimit = 2 * time.Minute

// storm has all callers connect at the same moment, and again after a second at
// most when that fails, as the agent's first tries do. It returns how many a
// second came back, and how many never did.
func (c *crew) storm(ctx context.Context, f func(context.Context, *caller) error) (perSecond float64, lost int) {
	ctx, cancel := context.WithTimeout(ctx, stormLimit)
	defer cancel()
	begin := make(chan struct{})
	var missing atomic.Int64
	var wg sync.WaitGroup
	for i, one := range c.callers {
		wg.Go(func() {
			<-begin
			for f(ctx, one) != nil {
				one.hangUp()
				if !pause(ctx, time.Duration(i%100+1)*10*time.Millisecond) {
					missing.Add(1)
					return
				}
			}
		})
	}
	start := time.Now()
	close(begin)
	wg.Wait()
	return float64(len(c.callers)-int(missing.Load())) / time.Since(start).Seconds(), int(missing.Load())
}

// settle lets a process come to rest before its memory is read.
func (b *bench) settle(ctx context.Context) { pause(ctx, min(3*time.Second, b.plan.window)) }

// memory is line 5.
func memory(ctx context.Context, b *bench) error {
	large, err := b.fleetOf(ctx, b.plan.devices)
	if err != nil {
		return err
	}
	small, err := b.fleetOf(ctx, min(b.plan.devices, 1000))
	if err != nil {
		return err
	}
	for _, kind := range b.plan.databases {
		if err := b.idleOn(ctx, small, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if err := b.perConnection(ctx, large, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

const enrolledOfLine5 = 50_000

func (b *bench) idleOn(ctx context.Context, f *fleet, kind string) error {
	few, err := b.newSite(ctx, f, kind)
	if err != nil {
		return err
	}
	many, err := b.newSite(ctx, f, kind)
	if err != nil {
		return err
	}
	if err := many.fill(ctx, min(enrolledOfLine5, b.plan.bulk)); err != nil {
		return err
	}
	idle := b.compare(5, "idle server, resident", kind, "MB", 48)
	enrolled := b.compare(5, fmt.Sprintf("with %d enrolled, beside %d", min(enrolledOfLine5, b.plan.bulk), f.devices), kind, "MB", 1.2)
	return b.eachRound(ctx, func(int) error {
		var resident [2]float64
		for i, s := range []*site{few, many} {
			if err := s.start(ctx); err != nil {
				return err
			}
			b.settle(ctx)
			resident[i] = residentMB(s.process.pid())
			s.stop()
		}
		idle.alone(resident[0])
		enrolled.add(resident[1], resident[0])
		return nil
	})
}

func (b *bench) perConnection(ctx context.Context, f *fleet, kind string) error {
	s, err := b.newSite(ctx, f, kind)
	if err != nil {
		return err
	}
	r, err := b.newBare(ctx, f, kind, false)
	if err != nil {
		return err
	}
	each := b.compare(5, "for each idle connection", kind, "KB", 1.25)
	return b.eachRound(ctx, func(int) error {
		ours, err := b.connectionMemory(ctx, s.crew(), s.start, s.stop, func() int { return s.process.pid() })
		if err != nil {
			return err
		}
		bare, err := b.connectionMemory(ctx, r.crew(), r.start, r.stop, func() int { return r.process.pid() })
		if err != nil {
			return err
		}
		each.add(ours, bare)
		return nil
	})
}

// connectionMemory is what each connection adds to a process that was just started,
// after one heartbeat on each. Counters go on where the database has them.
func (b *bench) connectionMemory(ctx context.Context, c *crew, start func(context.Context) error, stop func(), pid func() int) (kb float64, err error) {
	if err := start(ctx); err != nil {
		return 0, err
	}
	defer stop()
	defer c.hangUp()
	b.settle(ctx)
	before := residentMB(pid())
	if err := c.advance(ctx); err != nil {
		return 0, err
	}
	b.settle(ctx)
	return (residentMB(pid()) - before) * 1024 / float64(len(c.callers)), nil
}

// million is line 6, coldStart line 7: both on the large database.
func million(ctx context.Context, b *bench) error {
	return b.onLarge(ctx, func(kind string, few, many *site) error {
		b.notef("line 6: campaigns are not there yet, so none is open (%s)", kind)
		if err := errors.Join(few.start(ctx), many.start(ctx)); err != nil {
			return err
		}
		defer few.stop()
		defer many.stop()
		small, large := few.crew(), many.crew()
		defer small.hangUp()
		defer large.hangUp()
		if err := errors.Join(small.advance(ctx), large.advance(ctx)); err != nil {
			return err
		}
		cost := b.compare(6, fmt.Sprintf("a heartbeat with %d devices in the database, CPU, beside %d", b.plan.bulk, few.fleet.devices), kind, "µs", 1.25)
		return b.eachRound(ctx, func(int) error {
			m, err := large.load(ctx, b.plan.window, b.plan.inFlight, many.pids(), beatOnce)
			if err != nil {
				return err
			}
			n, err := small.load(ctx, b.plan.window, b.plan.inFlight, few.pids(), beatOnce)
			if err != nil {
				return err
			}
			cost.add(m.cpu, n.cpu)
			return nil
		})
	})
}

// advance opens all connections with counters above those that the same devices
// used before in this run.
func (c *crew) advance(ctx context.Context) error {
	for _, one := range c.callers {
		one.counter = c.above()
	}
	return c.warm(ctx)
}

// above rises by one a millisecond, which no device does.
func (c *crew) above() int64 { return time.Since(c.began).Milliseconds() }

func coldStart(ctx context.Context, b *bench) error {
	return b.onLarge(ctx, func(kind string, few, many *site) error {
		r, err := b.newBare(ctx, few.fleet, kind, false)
		if err != nil {
			return err
		}
		// What a first start brings into the machine's memory is not the server's doing.
		for _, once := range []struct {
			c      *crew
			launch func() error
			stop   func()
		}{{few.crew(), few.launch, few.stop}, {many.crew(), many.launch, many.stop}, {r.crew(), r.launch, r.stop}} {
			if _, err := firstBeat(ctx, once.c, once.launch, once.stop); err != nil {
				return err
			}
		}
		bare := b.compare(7, "from start to the first heartbeat, beside bare", kind, "ms", 3)
		large := b.compare(7, fmt.Sprintf("the same with %d devices, beside %d", b.plan.bulk, few.fleet.devices), kind, "ms", 1.5)
		return b.eachRound(ctx, func(int) error {
			small, err := firstBeat(ctx, few.crew(), few.launch, few.stop)
			if err != nil {
				return err
			}
			big, err := firstBeat(ctx, many.crew(), many.launch, many.stop)
			if err != nil {
				return err
			}
			reference, err := firstBeat(ctx, r.crew(), r.launch, r.stop)
			if err != nil {
				return err
			}
			bare.add(small, reference)
			large.add(big, small)
			return nil
		})
	})
}

// firstBeat is how many milliseconds pass from the start of a process until it has
// accepted a heartbeat.
func firstBeat(ctx context.Context, c *crew, launch func() error, stop func()) (float64, error) {
	one := c.callers[0]
	one.counter = c.above()
	begin := time.Now()
	if err := launch(); err != nil {
		return 0, err
	}
	defer stop()
	defer one.hangUp()
	var last error
	if err := until(ctx, 2*time.Minute, time.Millisecond, func() bool {
		last = one.beat(ctx)
		return last == nil
	}); err != nil {
		return 0, errors.Join(err, last)
	}
	return float64(time.Since(begin).Microseconds()) / 1000, nil
}

// onLarge does f with two servers that are stopped: one with few devices in its
// database, one with a million.
func (b *bench) onLarge(ctx context.Context, f func(kind string, few, many *site) error) error {
	fleet, err := b.fleetOf(ctx, min(b.plan.devices, 1000))
	if err != nil {
		return err
	}
	for _, kind := range b.plan.databases {
		pair := b.large[kind]
		if pair[0] == nil {
			for i := range pair {
				if pair[i], err = b.newSite(ctx, fleet, kind); err != nil {
					return err
				}
			}
			if err := pair[1].fill(ctx, b.plan.bulk); err != nil {
				return err
			}
			b.large[kind] = pair
		}
		if err := f(kind, pair[0], pair[1]); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

// Limits of the agent.
const (
	agentMB    = 20
	agentBytes = 2048
	agentCPU   = 1 // ms a second: less cannot be told from nothing
	idleFor    = 15 * time.Second
)

// agent is line 8. The agent speaks through a wire that counts.
func agent(ctx context.Context, b *bench) error {
	f, err := b.fleetOf(ctx, min(b.plan.devices, 1000))
	if err != nil {
		return err
	}
	s, err := b.newSite(ctx, f, sqlite, "SENTINEL_HEARTBEAT_INTERVAL=5s")
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	w, err := newWire(s.machine)
	if err != nil {
		return err
	}
	defer w.close()
	token, err := s.enrollToken(ctx, 1)
	if err != nil {
		return err
	}
	state := filepath.Join(b.sims, "agent")
	cmd := exec.CommandContext(ctx, filepath.Join(b.plan.bin, "sentinel-agent"), "enroll", "--state-dir", state, "--server", s.url(),
		"--ca-fingerprint", f.fingerprint, "--fleet-root", f.rootDigest, "--token", "-", "--device-id", "real-agent")
	cmd.Stdin = strings.NewReader(token)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("enroll: %w\n%s", err, out)
	}
	p, err := b.start("the agent", []string{"SENTINEL_AGENT_MIN_INTERVAL=5s"}, filepath.Join(b.plan.bin, "sentinel-agent"), "run", "--state-dir", state, "--server", w.url())
	if err != nil {
		return err
	}
	defer p.stop()
	if err := until(ctx, time.Minute, 10*time.Millisecond, func() bool { return w.answers() >= 2 || p.ended() != nil }); err != nil {
		return errors.Join(err, p.ended())
	}
	resident := b.compare(8, "the agent, resident", "", "MB", agentMB)
	used := b.compare(8, "CPU of the agent with a heartbeat every 5 s", "", "ms/s", agentCPU)
	bytes := b.compare(8, "a heartbeat on the wire, both ways, TLS included", "", "bytes", agentBytes)
	idle := min(idleFor, 5*b.plan.window)
	return b.eachRound(ctx, func(int) error {
		cpu, begin := cputime.Of(p.pid()), time.Now()
		n, had := w.count(), w.answers()
		pause(ctx, idle)
		if err := until(ctx, time.Minute, 10*time.Millisecond, func() bool { return w.answers() > had }); err != nil {
			return err
		}
		pause(ctx, 100*time.Millisecond) // the last answer's end
		used.alone(float64((cputime.Of(p.pid()) - cpu).Microseconds()) / 1000 / time.Since(begin).Seconds())
		resident.alone(residentMB(p.pid()))
		bytes.alone(float64(w.count()-n) / float64(w.answers()-had))
		return p.ended()
	})
}
