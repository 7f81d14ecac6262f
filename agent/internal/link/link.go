package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Options are what a Link works with. All are needed but Parties.
type Options struct {
	Journal     *journal.Journal
	Client      *Client
	BootID      string
	Version     string
	MinInterval time.Duration
	Facts       func() protocol.Facts
	Now         func() time.Time
	Random      func() float64 // in [0, 1), for jitter
	Log         *slog.Logger
	Parties     []Party
}

// Link keeps the heartbeat going. It is used by one goroutine.
type Link struct {
	Options
	pace     pace
	last     Reaction
	reported bool // last is, in the log
	skewed   bool

	nudged, retried chan struct{} // see Nudge and Retry
}

// New reads the interval that the server named last. journal.ErrNotEnrolled if
// the device is not.
func New(o Options) (*Link, error) {
	s, err := o.Journal.State()
	if err != nil {
		return nil, err
	}
	if s.Enrolled == nil {
		return nil, journal.ErrNotEnrolled
	}
	interval := clamp(s.Enrolled.Interval, DefaultInterval, o.MinInterval)
	return &Link{
		Options: o, pace: pace{interval: interval, random: o.Random},
		nudged: make(chan struct{}, 1), retried: make(chan struct{}, 1),
	}, nil
}

// Run sends heartbeats until ctx is done, and returns nil then.
func (l *Link) Run(ctx context.Context) error {
	for wait := l.pace.first(); l.wait(ctx, wait); {
		wait = l.round(ctx)
	}
	return nil
}

// round is one heartbeat; it returns how long to wait for the next.
func (l *Link) round(ctx context.Context) time.Duration {
	err := l.beat(ctx)
	if ctx.Err() != nil {
		return 0
	}
	reaction := React(err)
	var retryAfter time.Duration
	if refusal, ok := errors.AsType[*RefusalError](err); ok {
		retryAfter = refusal.RetryAfter
	}
	wait := l.pace.after(reaction, retryAfter)
	l.report(ctx, err, reaction, wait)
	return wait
}

// Once sends one heartbeat, and after a change of epoch a few more. It returns
// nil if one was accepted.
func (l *Link) Once(ctx context.Context) error {
	err := l.beat(ctx)
	for try := 0; React(err) == AtOnce && try < maxAtOnce; try++ {
		err = l.beat(ctx)
	}
	return err
}

// beat sends one heartbeat, and stores what came of it.
func (l *Link) beat(ctx context.Context) error {
	counter, err := l.Journal.Next()
	if err != nil {
		return err
	}
	failpoint.Here("link.counter-stored")
	s, err := l.Journal.State()
	if err != nil {
		return err
	}
	facts := Tidy(l.Facts())
	sum := digest(facts)
	message := l.message(&s, counter)
	if sum != s.Enrolled.Facts {
		message.Facts = facts
	}
	if err := l.before(ctx, message); err != nil {
		return err
	}
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("write a heartbeat: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, fmt.Errorf("%w within %s", ErrNoAnswer, requestTimeout))
	defer cancel()
	var answer protocol.HeartbeatAnswer
	err = l.Client.Post(ctx, protocol.PathHeartbeat, body, &answer)
	failpoint.Here("link.answered")
	if err == nil {
		err = check(&answer, counter)
	}
	if err != nil {
		l.refusedTo(ctx, err)
		return l.refused(err)
	}
	if err := l.accepted(ctx, &answer, sum); err != nil {
		return err
	}
	if err := l.after(ctx, &answer); err != nil {
		// It is accepted all the same: what could not be taken comes again.
		l.Log.ErrorContext(ctx, "what the server sent could not be taken", "error", err.Error())
	}
	return nil
}

func (l *Link) message(s *journal.State, counter int64) *protocol.Heartbeat {
	e := s.Enrolled
	return &protocol.Heartbeat{
		Protocol: protocol.Version, DeviceID: s.DeviceID, EnrollmentID: s.EnrollmentID,
		Counter: counter, Epoch: e.Epoch, BootID: l.BootID, AgentVersion: l.Version,
		PolicyVersion: e.Policy.Version, RootVersion: e.Root.Version, FirstUse: e.FirstUse,
		Nonce: e.Nonce, Receipt: e.Receipt,
	}
}

// check holds an answer to form.
func check(a *protocol.HeartbeatAnswer, counter int64) error {
	switch {
	case a.Counter != counter:
		return fmt.Errorf("%w: it is about another heartbeat", ErrBadAnswer)
	case protocol.CheckID(a.Epoch) != nil:
		return fmt.Errorf("%w: its epoch is not an id", ErrBadAnswer)
	case len(a.Nonce) > protocol.MaxOpaque || len(a.Receipt) > protocol.MaxOpaque:
		return fmt.Errorf("%w: its nonce or receipt is too long", ErrBadAnswer)
	}
	return nil
}

// accepted stores the answer. The server's time is compared, never taken.
func (l *Link) accepted(ctx context.Context, a *protocol.HeartbeatAnswer, facts string) error {
	now := l.Now().UTC().Truncate(time.Second)
	l.pace.interval = clamp(a.IntervalSeconds, l.pace.interval, l.MinInterval)
	l.compareClocks(ctx, now, a.ServerTime)
	return l.Journal.Update(func(s *journal.State) {
		e := s.Enrolled
		e.Epoch, e.Nonce, e.Receipt, e.Facts = a.Epoch, a.Nonce, a.Receipt, facts
		e.Interval = int(l.pace.interval / time.Second)
		e.Accepted = &journal.Accepted{At: now, Counter: a.Counter}
		e.Refusal = nil
	})
}

// refused stores what a refusal changes, and returns err, or what makes it worse.
func (l *Link) refused(err error) error {
	var refusal *RefusalError
	if !errors.As(err, &refusal) {
		return err
	}
	p := refusal.Problem
	switch reaction := React(err); {
	case reaction == AtOnce && p.Epoch == "":
		return fmt.Errorf("%w: a change of epoch that names none", ErrBadAnswer)
	case reaction == AtOnce:
		if stored := l.Journal.Update(func(s *journal.State) {
			e := s.Enrolled
			e.Epoch, e.Nonce, e.Counter = p.Epoch, p.Nonce, lift(e.Counter, p.Counter)
		}); stored != nil {
			return stored
		}
	case reaction.Lasting():
		return errors.Join(err, l.remember(p.Code))
	}
	return err
}

// lift is the counter to go on above: the server's own, when an operator resynced
// a device that was put back to an earlier state. It only rises, and no further
// than one heartbeat may, so that no server can use up the range.
func lift(own, server int64) int64 {
	if server <= own || server-own > protocol.MaxCounterJump {
		return own
	}
	return server
}

// remember keeps a refusal for `status`, once for as long as it stays the same.
func (l *Link) remember(code protocol.Code) error {
	s, err := l.Journal.State()
	if err != nil || s.Enrolled.Refusal != nil && s.Enrolled.Refusal.Code == code {
		return err
	}
	now := l.Now().UTC().Truncate(time.Second)
	return l.Journal.Update(func(s *journal.State) { s.Enrolled.Refusal = &journal.Refusal{At: now, Code: code} })
}
