package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/check"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// How much goes on beside the faults, fit for two cores that run everything else
// too.
const (
	honest       = 8 // devices that beat as an agent would, only faster
	racing       = 3 // devices that beat twice at once
	watched      = 5 // devices whose renewals a person decides on
	beatPause    = 60 * time.Millisecond
	actPause     = 100 * time.Millisecond
	commandPause = 300 * time.Millisecond
	reviewPause  = 300 * time.Millisecond
	commandsFast = 5
	commandsMost = 1000
	rotateOne    = 20 // of the commands
	joinPause    = 400 * time.Millisecond
	tokenUses    = 2 // of a token that four ask for
	tokenCrowd   = 4
)

// load is what goes on.
type load struct {
	s     *site
	group sync.WaitGroup
	mu    sync.Mutex
	fresh []*device // that enrolled, and may be suspended and revoked
}

// startLoad lets the first devices in, then keeps everyone busy until ctx ends.
func (s *site) startLoad(ctx context.Context) (*load, error) {
	l := &load{s: s}
	seed := s.random.Uint64()
	for i := range honest + watched + racing {
		name := fmt.Sprintf("edge-%d", i)
		if i >= honest+watched {
			name = fmt.Sprintf("%s%d", check.Racing, i)
		}
		d, err := s.letIn(name, i >= honest && i < honest+watched)
		if err != nil {
			return nil, err
		}
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		if i < honest+watched {
			l.group.Go(func() { l.beatOn(ctx, d, random) })
		} else {
			l.group.Go(func() { l.race(ctx, d, random) })
		}
	}
	l.group.Go(func() { l.reviewOn(ctx, rand.New(rand.NewPCG(seed, 1003))) })
	l.group.Go(func() { l.joinOn(ctx, rand.New(rand.NewPCG(seed, 1000))) })
	l.group.Go(func() { l.actOn(ctx, rand.New(rand.NewPCG(seed, 1001))) })
	l.group.Go(func() { l.commandOn(ctx, rand.New(rand.NewPCG(seed, 1002))) })
	return l, nil
}

// commandOn has agents do what needs no approval.
func (l *load) commandOn(ctx context.Context, random *rand.Rand) {
	for n := range commandsMost {
		// Fast at first, then slower: an agent does so many commands an hour, and those
		// that the faults wait for are among them.
		if !pause(ctx, time.Duration(random.Int64N(int64(2*commandPause)))*time.Duration(1+n/commandsFast)) {
			return
		}
		kind := []string{"ping", "ping", "collect-facts"}[random.IntN(3)]
		if random.IntN(rotateOne) == 0 {
			kind = rotate
		}
		l.s.operator.command(random.IntN(len(l.s.nodes)), kind, l.s.agents[random.IntN(len(l.s.agents))].id)
	}
}

// letIn lets one device in before anything is broken.
func (s *site) letIn(id string, sensitive bool) (*device, error) {
	d, err := s.newDevice(id)
	if err != nil {
		return nil, err
	}
	secret, result := s.operator.newToken(0, "of "+id, 1, sensitive)
	if result == record.OK {
		result = d.ask(0, "of "+id, secret)
	}
	if result == record.OK && sensitive {
		result = s.reviewer.letIn(0, d.enrollment)
	}
	if result == record.OK {
		result = d.fetch(0)
	}
	if result != record.OK {
		return nil, fmt.Errorf("%s is not let in: %s", id, result)
	}
	return d, nil
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// beatOn is an honest device: one beat after the other, each with a new counter,
// by any node.
func (l *load) beatOn(ctx context.Context, d *device, random *rand.Rand) {
	defer d.close()
	for pause(ctx, time.Duration(random.Int64N(int64(2*beatPause)))) {
		result := d.beat(d.shown(), random.IntN(len(l.s.nodes)), d.counter.Add(1), true)
		d.learn(result)
		switch protocol.Code(result) {
		case protocol.CodeDeviceHeld, protocol.CodeCounterStale:
			l.resync(ctx, d, random)
		case protocol.CodeCertificateExpired:
			l.s.figures.failf("%s could not renew its certificate in time", d.id)
			return
		}
		d.renewOn(random)
	}
}

// resync has a person end a hold, so that the load goes on; that there was one is
// for the checks to judge.
func (l *load) resync(ctx context.Context, d *device, random *rand.Rand) {
	if pause(ctx, 300*time.Millisecond) {
		l.s.guard.act(random.IntN(len(l.s.nodes)), record.Resync, d.id)
	}
}

// race beats twice at once with two counters, by two nodes if there are two: the
// lower one may come too late.
func (l *load) race(ctx context.Context, d *device, random *rand.Rand) {
	defer d.close()
	for pause(ctx, time.Duration(random.Int64N(int64(2*beatPause)))) {
		low := d.counter.Add(2) - 1
		if random.IntN(4) == 0 { // the very same, twice
			low++
		}
		var other string
		var both sync.WaitGroup
		both.Go(func() { other = d.beat(d.shown(), random.IntN(len(l.s.nodes)), low, false) })
		result := d.beat(d.shown(), int(low)%len(l.s.nodes), d.counter.Load(), false)
		both.Wait()
		d.learn(result, other)
		switch {
		case held(result) || held(other):
			l.resync(ctx, d, random)
			d.learn(d.beat(d.shown(), 0, d.counter.Add(1), true)) // takes the nonce to go on with
		case result == string(protocol.CodeEpochChanged) || other == string(protocol.CodeEpochChanged):
			d.learn(d.beat(d.shown(), 0, d.counter.Add(1), true))
		}
		d.renewOn(random)
	}
}

func held(result string) bool { return protocol.Code(result) == protocol.CodeDeviceHeld }

// joinOn lets crowds race for a token that has less uses than they are.
func (l *load) joinOn(ctx context.Context, random *rand.Rand) {
	for n := 0; pause(ctx, time.Duration(random.Int64N(int64(2*joinPause)))); n++ {
		note := fmt.Sprintf("crowd %d", n)
		secret, result := l.s.operator.newToken(random.IntN(len(l.s.nodes)), note, tokenUses, false)
		if result != record.OK {
			continue
		}
		var crowd sync.WaitGroup
		for i := range tokenCrowd {
			d, err := l.s.newDevice(fmt.Sprintf("crowd-%d-%d", n, i))
			if err != nil {
				l.s.figures.failf("%v", err)
				return
			}
			own := rand.New(rand.NewPCG(random.Uint64(), uint64(i)))
			crowd.Go(func() { l.join(ctx, d, note, secret, own) })
		}
		crowd.Wait()
	}
}

// tries is how often a device that was not answered asks again.
const tries = 3

func (l *load) join(ctx context.Context, d *device, note, secret string, random *rand.Rand) {
	defer d.close()
	result := record.Unknown
	for try := 0; try < tries && result == record.Unknown; try++ {
		result = d.ask(random.IntN(len(l.s.nodes)), note, secret)
		if result == record.Unknown && !pause(ctx, 100*time.Millisecond) {
			return
		}
	}
	if result != record.OK {
		return
	}
	for range 3 * tries {
		switch d.fetch(random.IntN(len(l.s.nodes))) {
		case record.OK:
			d.beat(d.used, random.IntN(len(l.s.nodes)), d.counter.Add(1), true)
			l.mu.Lock()
			l.fresh = append(l.fresh, d)
			l.mu.Unlock()
			return
		case record.Unknown:
		default:
			return
		}
		if !pause(ctx, 200*time.Millisecond) {
			return
		}
	}
}

// keepFresh is how many devices that were let in are acted on, at most.
const keepFresh = 40

// actOn suspends, resumes and revokes, and lets a revoked device try its luck.
func (l *load) actOn(ctx context.Context, random *rand.Rand) {
	var revoked []*device
	for pause(ctx, time.Duration(random.Int64N(int64(2*actPause)))) {
		node := random.IntN(len(l.s.nodes))
		if len(revoked) > 0 && random.IntN(3) == 0 {
			d := revoked[random.IntN(len(revoked))]
			d.learn(d.beat(d.shown(), node, d.counter.Add(1), true))
			d.renewOn(random)
			continue
		}
		l.mu.Lock()
		if extra := len(l.fresh) - keepFresh; extra > 0 {
			l.fresh = l.fresh[extra:]
		}
		var d *device
		if len(l.fresh) > 0 {
			d = l.fresh[random.IntN(len(l.fresh))]
		}
		l.mu.Unlock()
		if d == nil {
			continue
		}
		switch random.IntN(5) {
		case 0, 1:
			l.s.operator.act(node, record.Suspend, d.id)
		case 2:
			l.s.guard.act(node, record.Resume, d.id)
		case 3:
			d.learn(d.beat(d.shown(), node, d.counter.Add(1), true))
			d.renewOn(random)
		default:
			if l.s.operator.act(node, record.Revoke, d.id) == record.OK {
				if revoked = append(revoked, d); len(revoked) > keepFresh {
					revoked = revoked[1:]
				}
				l.mu.Lock()
				for i, f := range l.fresh {
					if f == d {
						l.fresh = append(l.fresh[:i:i], l.fresh[i+1:]...)
						break
					}
				}
				l.mu.Unlock()
			}
		}
	}
}
