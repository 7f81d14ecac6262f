package link

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Party is someone on the device who takes part in the conversation: it adds to
// heartbeats and takes what answers bring. Its methods are called from the link's
// goroutine, one party after another in the order of Options.Parties, and do not
// wait for anything but the disk.
type Party interface {
	// Before may add to a heartbeat that is about to be sent. An error keeps it back.
	Before(ctx context.Context, hb *protocol.Heartbeat) error
	// After is told that the heartbeat was accepted, with what the answer brought.
	// The heartbeat counts whatever it returns.
	After(ctx context.Context, a *protocol.HeartbeatAnswer) error
	// Refused is told the code of a refusal.
	Refused(ctx context.Context, code protocol.Code)
}

const (
	// Work that is done is reported within these, not after the interval. They are
	// seconds, so that what ends together is reported together.
	soonLeast = time.Second
	soonMore  = 2 * time.Second
)

// Nudge asks for the next heartbeat soon, unless the server does not answer or
// refuses: then the pace stays. It may be called from any goroutine.
func (l *Link) Nudge() { poke(l.nudged) }

// Retry asks for a heartbeat now whatever the pace was, since what was refused is
// not what is shown next: another certificate.
func (l *Link) Retry() { poke(l.retried) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is asked for already
	}
}

// wait returns false when ctx is done.
func (l *Link) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	var soon <-chan time.Time
	for {
		select {
		case <-timer.C:
			return ctx.Err() == nil
		case <-soon:
			return ctx.Err() == nil
		case <-ctx.Done():
			return false
		case <-l.retried:
			return true
		case <-l.nudged:
			if soon == nil && l.last == Go {
				soon = time.After(soonLeast + l.pace.part(soonMore))
			}
		}
	}
}

// before lets every party add to a heartbeat.
func (l *Link) before(ctx context.Context, hb *protocol.Heartbeat) error {
	for _, p := range l.Parties {
		if err := p.Before(ctx, hb); err != nil {
			return err
		}
	}
	return nil
}

// after hands an answer to every party: what one cannot take does not keep the
// next from its part.
func (l *Link) after(ctx context.Context, a *protocol.HeartbeatAnswer) error {
	var errs []error
	for _, p := range l.Parties {
		errs = append(errs, p.After(ctx, a))
	}
	return errors.Join(errs...)
}

func (l *Link) refusedTo(ctx context.Context, err error) {
	refusal, ok := errors.AsType[*RefusalError](err)
	if !ok {
		return
	}
	for _, p := range l.Parties {
		p.Refused(ctx, refusal.Problem.Code)
	}
}
