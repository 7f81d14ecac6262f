package renew

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	requestTimeout = 45 * time.Second
	startWithin    = 10 * time.Second // devices that start together do not ask together
	longest        = time.Hour        // between two looks at the clock
	failFirst      = time.Minute
	pendingLeast   = 10 * time.Second
	pollLeast      = 2 * time.Minute // a person decides
	afresh         = 6 * time.Hour   // after a request that came to nothing
	afreshRecovery = 24 * time.Hour
	onItsWay       = 2 * requestTimeout // a copy of a request may be under way for as long, and be the other one
	pending        = "renewal-pending"
	hintEvery      = 15 * time.Minute // a server that says "renew" all the time is heard this often
	startShare     = 60               // of a life: devices whose certificates are short start closer together
)

// Disk is where a renewal leaves its steps. Each is durable when it returns.
type Disk interface {
	State() (journal.State, error)
	Update(change func(*journal.State)) error
	CreateKey(slot journal.Slot) (crypto.Signer, error)
	LoadKey(slot journal.Slot) (crypto.Signer, error)
	LoadIdentity(slot journal.Slot) (*identity.Identity, error)
	StoreChain(slot journal.Slot, chain [][]byte) error
	Clear(slot journal.Slot) error
}

type disk struct {
	*journal.Journal

	place identity.Place
}

// OnDisk is the state directory that the journal holds. New keys are made at place.
func OnDisk(j *journal.Journal, place identity.Place) Disk { return disk{j, place} }

func (d disk) CreateKey(s journal.Slot) (crypto.Signer, error) {
	return d.place.Create(d.Dir(), s)
}
func (d disk) LoadKey(s journal.Slot) (crypto.Signer, error) { return identity.LoadKeyIn(d.Dir(), s) }
func (d disk) LoadIdentity(s journal.Slot) (*identity.Identity, error) {
	return identity.LoadIn(d.Dir(), s)
}
func (d disk) StoreChain(s journal.Slot, chain [][]byte) error {
	return identity.StoreChainIn(d.Dir(), s, chain)
}
func (d disk) Clear(s journal.Slot) error { return identity.Clear(d.Dir(), s) }

// Server is who is asked.
type Server interface {
	Post(ctx context.Context, path string, body []byte, answer any) error
	Issuer() string // see link.Client
}

// Options are what a Renewer works with. All but Due are needed.
type Options struct {
	Disk    Disk
	Server  Server
	Keeper  *pins.Keeper
	Facts   func() protocol.Facts
	Shown   func() journal.Slot // whose certificate is shown to the server
	Changed func()              // another certificate is to be shown, at once
	Now     func() time.Time    // never below the time floor
	Random  func() float64      // in [0, 1), for jitter
	Due     func(*x509.Certificate) time.Time
	Log     *slog.Logger
}

// Renewer renews. Run is one goroutine; as a party of the link it is called in
// another.
type Renewer struct {
	Options

	kick   chan struct{}
	inline bool // see Inline

	mu        sync.Mutex
	forced    bool // renew whatever the certificate's age
	waiters   []chan string
	notBefore time.Time // for whatever is next
	dates     dates     // of the certificate in use
	hinted    time.Time
	failures  int  // in a row
	submitted bool // the recovery, since the agent started
}

// New makes a Renewer; it renews when Due says, if nothing else does. It clears away what a crash left in the slot that nothing needs.
func New(o Options) (*Renewer, error) {
	if o.Due == nil {
		o.Due = Due
	}
	r := &Renewer{Options: o, kick: make(chan struct{}, 1)}
	s, err := o.Disk.State()
	if err != nil {
		return nil, err
	}
	if s.Enrolled == nil {
		return nil, journal.ErrNotEnrolled
	}
	if id, err := o.Disk.LoadIdentity(s.Enrolled.Slot); err == nil { // otherwise the first round says what is wrong
		r.dates = datesOf(id.Leaf)
	}
	if s.Enrolled.Renewal == nil {
		err = o.Disk.Clear(s.Enrolled.Slot.Other())
	}
	return r, err
}

// Run renews when it is time, until ctx is done.
func (r *Renewer) Run(ctx context.Context) error {
	wait := r.startWait()
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-r.kick:
		case <-timer.C:
		}
		timer.Stop()
		wait = r.Round(ctx)
	}
}

// Round does what is due, and returns how long to wait until something may be due
// again.
func (r *Renewer) Round(ctx context.Context) time.Duration {
	wait, err := r.round(ctx)
	if err != nil && ctx.Err() == nil {
		wait = r.failed(ctx, err)
	}
	return min(max(wait, time.Second), longest)
}

func (r *Renewer) round(ctx context.Context) (time.Duration, error) {
	s, err := r.Disk.State()
	if err != nil {
		return 0, err
	}
	e := s.Enrolled
	id, err := r.Disk.LoadIdentity(e.Slot)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	r.dates = datesOf(id.Leaf)
	r.mu.Unlock()
	if s.Outside { // its authority gives it another, see Files
		r.tell("issued-elsewhere")
		return longest, nil
	}
	now := r.Now()
	if wait := r.held(now); wait > 0 {
		return wait, nil
	}
	expired := now.After(id.Leaf.NotAfter)
	switch {
	case e.Renewal != nil && e.Renewal.Tried:
		return longest, nil // the link finds out
	case e.Renewal != nil && e.Renewal.Recovery != (expired || e.Lost):
		// The other way is the right one now: time went on, or a clock was put right.
		return 0, r.drop()
	case e.Renewal != nil && e.Renewal.Recovery:
		return r.recover(ctx, &s, id)
	case e.Renewal != nil:
		return r.ask(ctx, &s, id)
	case (expired || e.Lost) && e.Closed != nil:
		r.tell("recovery-closed")
		return longest, nil
	case expired:
		r.Log.WarnContext(ctx, "the device's certificate has expired; asking to be let in again", "expired_at", id.Leaf.NotAfter.UTC())
		return 0, r.begin(&s, true)
	case e.Lost:
		r.Log.WarnContext(ctx, "the server lost the device's certificate by a restore; asking to be let in again")
		return 0, r.begin(&s, true)
	}
	if due := r.Due(id.Leaf); !r.isForced() && now.Before(due) {
		return due.Sub(now), nil
	}
	return 0, r.begin(&s, false)
}

// begin makes a key and the request for its certificate. Until the journal names
// it, nothing has happened.
func (r *Renewer) begin(s *journal.State, recovery bool) error {
	other := s.Enrolled.Slot.Other()
	if err := r.Disk.Clear(other); err != nil {
		return err
	}
	key, err := r.Disk.CreateKey(other)
	if err != nil {
		return err
	}
	failpoint.Here("renew.key-stored")
	asked, err := newRequest(s.DeviceID, key, recovery, r.Now())
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.submitted = false
	r.mu.Unlock()
	defer failpoint.Here("renew.request-stored")
	return r.Disk.Update(func(s *journal.State) { s.Enrolled.Renewal = asked })
}

// drop gives up the request that is under way. The journal first: a key that no
// request names is cleared away sooner or later, a request without its key is stuck.
func (r *Renewer) drop() error {
	s, err := r.Disk.State()
	if err != nil {
		return err
	}
	if err := r.Disk.Update(func(s *journal.State) { s.Enrolled.Renewal = nil }); err != nil {
		return err
	}
	return r.Disk.Clear(s.Enrolled.Slot.Other())
}

// Renew asks for another certificate now, and waits for it. It returns "" when it
// was issued, otherwise why not, as a code.
func (r *Renewer) Renew(ctx context.Context) string {
	told := make(chan string, 1)
	r.mu.Lock()
	r.forced, r.notBefore, r.waiters = true, time.Time{}, append(r.waiters, told)
	r.mu.Unlock()
	if r.inline {
		return r.here(ctx, told)
	}
	r.poke()
	select {
	case reason := <-told:
		return reason
	case <-ctx.Done():
		return pending
	}
}

// tell ends what was waited for.
func (r *Renewer) tell(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.waiters {
		w <- reason // has room for one
	}
	r.waiters, r.forced = nil, false
}

func (r *Renewer) isForced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forced
}

// held is how long nothing is to be done yet. A clock that was set back does not
// make it longer than it was meant.
func (r *Renewer) held(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := r.notBefore.Sub(now)
	if wait > afreshRecovery*2 {
		r.notBefore, wait = time.Time{}, 0
	}
	return wait
}

// hold lets nothing be done for d, and up to a fifth longer, but not beyond the end
// of the certificate in use: the way back begins there.
func (r *Renewer) hold(d time.Duration) time.Duration { return r.wait(d, 0, false) }

// retry is hold for what only has to be tried again: several times, however short
// the rest of the certificate's life is, but not before the time that the server
// asked for.
func (r *Renewer) retry(d, asked time.Duration) time.Duration { return r.wait(d, asked, true) }

func (r *Renewer) wait(d, asked time.Duration, often bool) time.Duration {
	d += r.part(d / 5)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	if often {
		d = min(d, r.dates.share(now))
	}
	d = min(max(d, asked), r.dates.left(now))
	r.notBefore = now.Add(d)
	return d
}

// startWait is a while for devices that start together.
func (r *Renewer) startWait() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dates.life > 0 {
		return r.part(min(startWithin, r.dates.life/startShare))
	}
	return r.part(startWithin)
}

// failed is how long to wait after an error that may go away by itself.
func (r *Renewer) failed(ctx context.Context, err error) time.Duration {
	r.mu.Lock()
	r.failures++
	limit := min(failFirst<<min(r.failures-1, 10), longest)
	first := r.failures == 1
	r.mu.Unlock()
	var retryAfter time.Duration
	reason := "no-answer"
	if refusal, ok := errors.AsType[*link.RefusalError](err); ok {
		retryAfter, reason = refusal.RetryAfter, code(refusal.Problem.Code)
	}
	wait := r.retry(limit/2+r.part(limit/2), retryAfter)
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	r.Log.Log(ctx, level, "the certificate could not be renewed yet", "error", err.Error(), "next_in", wait.Round(time.Second).String())
	r.tell(reason)
	return wait
}

func (r *Renewer) part(d time.Duration) time.Duration { return time.Duration(r.Random() * float64(d)) }

func (r *Renewer) poke() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}
