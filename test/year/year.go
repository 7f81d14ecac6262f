package year

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Plan is how large and how fine the year is.
type Plan struct {
	Devices int
	Life    time.Duration // of a device certificate
	Span    time.Duration // of the year, 120 days at least

	// Dir keeps the year after each chapter, so that whoever names it again goes on
	// there; "" keeps nothing.
	Dir      string
	Chapters int // how many to live now; 0 is all
}

const (
	day      = 24 * time.Hour
	atOnce   = 32
	downFor  = 7 * day
	sleepFor = 30 * day
)

// clock is a time that only the year moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

type fleet struct {
	testing.TB
	plan    Plan
	clock   *clock
	server  *servertest.Server
	devices []*device

	renewals, beats      atomic.Int64
	recoveries, sleepers int
}

// device is one of the fleet, with what the year does to it.
type device struct {
	*servertest.Device
	asleep bool
	ends   time.Time // last second of its certificate, as it knows it
}

// Live lives the plan's year and fails when a device is lost, has a gap that the
// rules do not give it, or needs a person where they say that it needs none. It says
// whether the year is over: one that is kept may be lived in parts.
func Live(tb testing.TB, plan Plan) (over bool) {
	tb.Helper()
	f := &fleet{TB: tb, plan: plan, clock: &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	chapters := f.chapters()
	done := f.recall()
	last := len(chapters)
	if plan.Chapters > 0 {
		last = min(last, done+plan.Chapters)
	}
	if f.server == nil {
		f.server = servertest.Start(tb, f.options(f.dir()))
	}
	for ; done < last; done++ {
		began := time.Now()
		chapters[done]()
		if plan.Dir != "" {
			f.keep(done + 1)
			f.Logf("%d of %d chapters, %s, %d renewals, %v", done+1, len(chapters), f.clock.Now().Format(time.DateOnly), f.renewals.Load(), time.Since(began).Round(time.Second))
		}
	}
	if plan.Dir != "" {
		f.server.Stop() // the next part goes on with what is kept
	}
	return done == len(chapters)
}

func (f *fleet) options(dir string) servertest.Options {
	return servertest.Options{Dir: dir, Now: f.clock.Now, Settings: map[string]string{
		"SENTINEL_DEVICE_CERT_LIFETIME": f.plan.Life.String(), "SENTINEL_HEARTBEAT_BATCH_WINDOW": "1ms",
		"SENTINEL_MAX_PENDING_ENROLLMENTS": "100000",
	}}
}

// chapters are the year in order. A long time is several, of thirty lives of a
// certificate: what is kept is kept between two.
func (f *fleet) chapters() (list []func()) {
	then := func(act func()) { list = append(list, act) }
	days := func(span time.Duration) {
		for ; span > 0; span -= 30 * f.plan.Life {
			part := min(span, 30*f.plan.Life)
			then(func() { f.days(part) })
		}
	}
	quarter := f.plan.Span / 4

	then(func() {
		for _, role := range []string{"operator", "approver"} {
			f.server.Person(role, role)
		}
		f.enroll()
	})
	days(quarter - sleepFor/2)
	then(func() { f.sleep(max(1, f.plan.Devices/100)) })
	days(sleepFor / 2)

	first, second := "the first change of authorities, while some sleep", "the second change of authorities"
	then(func() { f.publish(first, nil); f.days(f.plan.Life) }) // each renews once, and learns of it
	days(sleepFor / 2)
	then(f.wake)
	then(func() { f.changeServers(first) })
	days(quarter - sleepFor/2)

	then(func() {
		f.server.Stop()
		f.clock.add(downFor)
		f.again(f.server.Again())
		f.back("the server was down for a week", f.devices)
	})
	days(quarter)

	then(func() { f.publish(second, f.server.Retired()); f.days(f.plan.Life) })
	then(func() { f.changeServers(second) })
	days(quarter)
	then(f.judge)
	return list
}

// enroll lets everybody in.
func (f *fleet) enroll() {
	f.Helper()
	operator, approver := f.server.SignIn("operator"), f.server.SignIn("approver")
	token := operator.EnrollToken(f.plan.Devices)
	f.devices = make([]*device, f.plan.Devices)
	f.each(func(i int) error {
		d := &device{Device: f.server.NewDevice(fmt.Sprintf("edge-%d", i))}
		f.devices[i] = d
		if problem, err := d.Ask(token); problem != nil || err != nil {
			return fmt.Errorf("%s asks: %w", d.ID, why(problem, err))
		}
		approver.Approve(d.EnrollmentID)
		r, problem, err := d.Poll()
		if problem != nil || err != nil || r.State != protocol.EnrollIssued {
			return fmt.Errorf("%s polls: %w", d.ID, why(problem, err))
		}
		d.Trust(r.FleetRoots)
		d.ends = f.clock.Now().Add(f.plan.Life)
		return f.beat(d)
	})
}

// each does one thing for every device, some at once.
func (f *fleet) each(act func(i int) error) {
	f.Helper()
	f.times(len(f.devices), act)
}

func (f *fleet) times(n int, act func(i int) error) {
	f.Helper()
	var all sync.WaitGroup
	var next atomic.Int64
	failures := make(chan error, atOnce)
	for range atOnce {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := act(i); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failures:
		f.Fatalf("after %s: %v", f.clock.Now().Format(time.DateTime), err)
	default:
	}
}

// days lets time pass in steps of five eighths of a certificate's life: whoever is
// awake renews when its certificate would not last for another, and goes on at once.
func (f *fleet) days(span time.Duration) {
	f.Helper()
	step := f.plan.Life * 5 / 8
	rounds := 0
	for ; span > 0; span -= step {
		f.clock.add(min(step, span))
		f.each(func(i int) error {
			d := f.devices[i]
			if d.asleep {
				return nil
			}
			if left := d.ends.Sub(f.clock.Now()); left > step && !d.Answer.Renew {
				return f.beat(d)
			}
			return f.renew(d)
		})
		if rounds++; rounds%16 == 0 {
			f.server.Round()
		}
	}
	f.server.Round()
}

// unheard reports whether an agent asks again: the server is overloaded, which on a busy
// machine it may be, or gave the connection up before its answer was heard.
func unheard(problem *protocol.Problem, err error) bool {
	return problem != nil && problem.Code == protocol.CodeNotReady || err != nil
}

// tries is how often an unheard device asks.
const tries = 10

// renew sends a request, and the same again while it is not heard.
func (f *fleet) renew(d *device) error {
	w := d.Wish(false)
	answer, problem, err := d.SendWish(w)
	for n := 1; unheard(problem, err) && n < tries; n++ {
		answer, problem, err = d.SendWish(w)
	}
	if problem != nil || err != nil || answer.State != protocol.EnrollIssued {
		return fmt.Errorf("%s renews: %w", d.ID, why(problem, err))
	}
	d.Use(w, answer.Certificates)
	d.Trust(answer.FleetRoots)
	f.renewals.Add(1)
	d.ends = f.clock.Now().Add(f.plan.Life)
	return f.beat(d)
}

func (f *fleet) beat(d *device) error {
	problem, err := d.Beat()
	for n := 1; unheard(problem, err) && n < tries; n++ {
		problem, err = d.Beat() // with the next counter: the one before may have been stored
	}
	if problem != nil || err != nil {
		return fmt.Errorf("%s beats: %w", d.ID, why(problem, err))
	}
	f.beats.Add(1)
	return nil
}

// errState says that what a device asked for is not what it was given.
var errState = errors.New("the answer is not a certificate")

// why is what went wrong, when something did.
func why(problem *protocol.Problem, err error) error {
	switch {
	case err != nil:
		return err
	case problem != nil:
		return problem
	}
	return errState
}

// move is the device at the server that was started anew.
func (d *device) move(s *servertest.Server) {
	roots := d.Roots
	d.Device = d.At(s)
	d.Trust(roots)
}

// again goes on at a server that was started anew.
func (f *fleet) again(s *servertest.Server) {
	f.server = s
	for _, d := range f.devices {
		d.move(s)
	}
}

func (f *fleet) sleep(n int) {
	for _, d := range f.devices[:n] {
		d.asleep = true
	}
	f.sleepers = n
}

func (f *fleet) wake() {
	f.Helper()
	for _, d := range f.devices[:f.sleepers] {
		d.asleep = false
		d.Hangup()
	}
	f.back("some were asleep for a month", f.devices[:f.sleepers])
}

// back is the way back of devices whose certificates have expired: each is told
// so, asks, and a person agrees.
func (f *fleet) back(after string, list []*device) {
	f.Helper()
	approver := f.server.SignIn("approver")
	f.times(len(list), func(i int) error {
		d := list[i]
		_, problem, err := d.Renew()
		if err != nil || problem == nil || problem.Code != protocol.CodeCertificateExpired {
			return fmt.Errorf("%s: %s is told: %w", after, d.ID, why(problem, err))
		}
		lost, problem, err := d.Recover()
		if err != nil || problem != nil {
			return fmt.Errorf("%s: %s asks for the way back: %w", after, d.ID, why(problem, err))
		}
		approver.Agree(d.ID)
		r, problem, err := d.PollLost(lost)
		if err != nil || problem != nil || r.State != protocol.EnrollIssued {
			return fmt.Errorf("%s: %s comes back: %w", after, d.ID, why(problem, err))
		}
		d.ends = f.clock.Now().Add(f.plan.Life)
		return f.beat(d)
	})
	f.recoveries += len(list)
}

// publish makes both authorities that are to follow known. The server's own waits
// until every device that may come back knows it.
func (f *fleet) publish(what string, drop []string) {
	f.Helper()
	if err := f.server.Publish(drop, certs.KindDevice, certs.KindServer); err != nil {
		f.Fatalf("%s: %v", what, err)
	}
	if err := f.server.Activate(certs.KindDevice, false); err != nil {
		f.Fatalf("%s: %v", what, err)
	}
	if err := f.server.Activate(certs.KindServer, false); err == nil {
		f.Fatalf("%s: the server's authority changed before devices knew it", what)
	}
}

func (f *fleet) changeServers(what string) {
	f.Helper()
	if err := f.server.Activate(certs.KindServer, false); err != nil {
		f.Fatalf("%s: %v", what, err)
	}
	for _, d := range f.devices {
		d.Hangup() // the next connection meets the new authority
	}
}

// judge is the end of the year.
func (f *fleet) judge() {
	f.Helper()
	for _, d := range f.devices {
		d.Hangup()
		if err := f.beat(d); err != nil {
			f.Error(err)
		}
		if d.Answer.Renew || d.Root.Root.Version != 3 {
			f.Errorf("%s is of an authority of before, or knows fleet root %d", d.ID, d.Root.Root.Version)
		}
	}
	if want := f.sleepers + len(f.devices); f.recoveries != want {
		f.Errorf("%d came back by a person's word, want %d", f.recoveries, want)
	}
	for what, n := range map[string]int{
		"devices that do not go on":      f.server.Count("device_counters", "gate <> 0 OR next_fingerprint <> ''"),
		"renewals that a person decided": f.server.Count("identity_requests", "kind = 'renewal' AND approval_id <> ''"),
		"requests that were not used":    f.server.Count("identity_requests", "state <> 'used'"),
		"devices that are not trusted":   f.server.Count("trust_verdicts", "verdict = 'untrusted'"),
	} {
		if n != 0 {
			f.Errorf("%d %s", n, what)
		}
	}
	if n := f.server.Count("certificates", "kind = 'device' AND revoked_at = 0"); n != len(f.devices) {
		f.Errorf("%d certificates in force for %d devices", n, len(f.devices))
	}
	f.Logf("%d devices, %d renewals, %d heartbeats, %d recoveries", len(f.devices), f.renewals.Load(), f.beats.Load(), f.recoveries)
}
