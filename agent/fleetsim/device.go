package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// Waits of a device that cannot go on as usual. The agent's are longer; a run of
// the simulator is short.
const (
	backOffLeast = 500 * time.Millisecond
	backOffMost  = 10 * time.Second
	comeBackMost = time.Second // between tries in a storm
)

// device is one device of the fleet. Its life is one goroutine.
type device struct {
	id        string
	fleet     *fleet
	journal   *journal.Journal
	identity  *identity.Identity
	transport *http.Transport
	client    *link.Client
	link      *link.Link
	bad       string // a kind, "" for an honest device
	took      time.Duration
	sent      []byte // the last body, kept by bad ones
	rounds    int    // accepted, or acts of a bad one
	failures  int    // in a row
}

// openDevice reads and verifies a device's state as the agent does when it starts.
func (f *fleet) openDevice(id string) (_ *device, err error) {
	d := &device{id: id, fleet: f}
	if d.journal, err = journal.OpenWithin(f.dirOf(id)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = d.journal.Close()
		}
	}()
	s, err := d.journal.State()
	if err != nil {
		return nil, err
	}
	if d.identity, err = identity.Load(f.dirOf(id)); err != nil {
		return nil, err
	}
	believed, err := pins.Load(f.dirOf(id), s.Enrolled, time.Now())
	if err != nil {
		return nil, err
	}
	target := link.Target{Server: f.server, Present: d.identity.Present, Now: time.Now, Dial: f.line.dial}
	f.mu.Lock() // one copy for all devices with the same root
	if target.CAs = f.cas[s.Enrolled.Root.Digest]; target.CAs == nil {
		target.CAs, err = believed.ServerCAs()
		f.cas[s.Enrolled.Root.Digest] = target.CAs
	}
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if d.transport, err = link.NewTransport(target); err != nil {
		return nil, err
	}
	d.client = link.NewClient(f.server, d)
	facts := factsOf(id)
	d.link, err = link.New(link.Options{
		Journal: d.journal, Client: d.client, BootID: journal.NewID(time.Now()), Version: version.String(),
		MinInterval: time.Second, Facts: func() protocol.Facts { return facts },
		Now: time.Now, Random: rand.Float64, Log: slog.New(slog.DiscardHandler),
	})
	return d, err
}

func (d *device) close() {
	d.transport.CloseIdleConnections()
	_ = d.journal.Close()
}

// RoundTrip sends a request of the device's and notes how long the server took.
// The journal's part of a heartbeat is not in that.
func (d *device) RoundTrip(req *http.Request) (*http.Response, error) {
	if d.bad != "" && req.GetBody != nil {
		if body, err := req.GetBody(); err == nil {
			d.sent, _ = io.ReadAll(body) // from memory
		}
	}
	begin := time.Now()
	res, err := d.transport.RoundTrip(req)
	d.took = time.Since(begin)
	return res, err
}

// live sends heartbeats, or does what a bad device does, until ctx ends. The first
// comes at this part of an interval.
func (d *device) live(ctx context.Context, part float64) {
	storm := d.fleet.storming
	first := max(d.interval(), time.Second)
	wait := time.Duration(part * float64(first))
	for !d.finished(storm) {
		end := waited
		if wait > 0 {
			end = pause(ctx, wait, storm)
		}
		if end == ended || ctx.Err() != nil {
			return
		}
		switch {
		case d.bad != "":
			wait = d.misbehave(ctx)
		case end == woken:
			storm = nil
			d.comeBack(ctx)
			wait = d.next()
		default:
			wait = d.beat(ctx)
		}
	}
}

// finished says whether a run by rounds has what it wants of this device: a storm
// that is still to come is nil once it was met, and no storm is nobody's.
func (d *device) finished(storm <-chan struct{}) bool {
	waits := storm != nil && d.fleet.storm > 0 && d.bad == ""
	return d.fleet.rounds > 0 && d.rounds >= d.fleet.rounds && !waits
}

// interval is the one asked for, or the server's.
func (d *device) interval() time.Duration {
	if d.fleet.paced {
		return d.fleet.interval
	}
	if s, err := d.journal.State(); err == nil && s.Enrolled != nil && s.Enrolled.Interval > 0 {
		return time.Duration(s.Enrolled.Interval) * time.Second
	}
	return link.DefaultInterval
}

func (d *device) next() time.Duration {
	i := d.interval()
	return i - time.Duration(d.fleet.jitter*rand.Float64()*float64(i))
}

// beat is one heartbeat of an honest device; it returns how long to wait then.
func (d *device) beat(ctx context.Context) time.Duration {
	if !d.enter(ctx) {
		return 0
	}
	err := d.link.Once(ctx)
	d.leave()
	switch {
	case ctx.Err() != nil:
		return 0
	case err == nil:
		d.failures = 0
		d.rounds++
		d.fleet.tally.accepted(d.took)
		return d.next()
	}
	d.fleet.tally.failed(err)
	return d.afterFailure(err, backOffMost)
}

func (d *device) afterFailure(err error, most time.Duration) time.Duration {
	wait := min(backOffLeast<<min(d.failures, 10), most)
	d.failures++
	wait = time.Duration(rand.Float64() * float64(wait))
	if refusal, ok := errors.AsType[*link.RefusalError](err); ok {
		wait += refusal.RetryAfter
	}
	return wait
}

// enter takes a slot when there is a limit, and says whether the run goes on.
func (d *device) enter(ctx context.Context) bool {
	if d.fleet.slots == nil {
		return true
	}
	select {
	case d.fleet.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *device) leave() {
	if d.fleet.slots != nil {
		<-d.fleet.slots
	}
}

// comeBack is what a device does whose connection was dropped, except that it
// waits no time before its first try: the worst that can happen to a server.
func (d *device) comeBack(ctx context.Context) {
	d.transport.CloseIdleConnections()
	for ctx.Err() == nil {
		err := d.link.Once(ctx)
		if err == nil {
			d.failures = 0
			d.rounds++
			d.fleet.tally.accepted(d.took)
			d.fleet.tally.storm.served(time.Now())
			return
		}
		if ctx.Err() != nil {
			return
		}
		d.fleet.tally.failed(err)
		if pause(ctx, d.afterFailure(err, comeBackMost), nil) == ended {
			return
		}
	}
}
