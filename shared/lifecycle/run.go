package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

var (
	// ErrPanic is wrapped by the error of a part that panicked. The stack is in
	// the log only.
	ErrPanic = errors.New("panicked")
	// ErrLate is wrapped by the error that names the parts still running after
	// the grace. Their goroutines are left behind: the process should exit.
	ErrLate = errors.New("did not stop in time")
	// ErrParts says that the list of parts itself is wrong; nothing was started.
	ErrParts = errors.New("parts cannot be run")
)

// Part is one named piece of a program.
type Part struct {
	// Name is unique among the parts of a Run; it stands in logs and errors.
	Name string
	// Run works until ctx is done, then cleans up and returns. After ctx is done
	// nil and context.Canceled mean the same. Returning nil earlier ends this
	// part quietly; returning an error earlier stops everything.
	Run func(ctx context.Context) error
	// Ready, if not nil, is closed by the part once the next may start.
	Ready <-chan struct{}
}

// Run starts the parts in order, each after the one before is ready, and
// returns when all have ended. It returns nil after an orderly stop, otherwise
// the first failure joined with whatever else went wrong while stopping, each
// with the name of its part.
//
// Each part has a context of its own, which ctx's end does not cancel: parts are
// asked to stop one after another, the last started first. The grace is for all
// of them together. Once it is used up, the parts that are left are asked all at
// once and get a tenth of the grace more; those still running then are named in
// an error that wraps ErrLate.
func Run(ctx context.Context, log *slog.Logger, grace time.Duration, parts ...Part) error {
	if err := check(parts); err != nil {
		return err
	}
	s := &supervisor{log: log, ended: make(chan *running, len(parts))}
	failed := s.start(ctx, parts)
	if failed == nil {
		failed = s.watch(ctx)
	}
	return s.stop(failed, grace)
}

func check(parts []Part) error {
	seen := make(map[string]bool, len(parts))
	for i, p := range parts {
		switch {
		case p.Name == "":
			return fmt.Errorf("%w: part %d has no name", ErrParts, i+1)
		case p.Run == nil:
			return fmt.Errorf("%w: %s has nothing to run", ErrParts, p.Name)
		case seen[p.Name]:
			return fmt.Errorf("%w: two are named %s", ErrParts, p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// supervisor is used by one goroutine, that of Run; parts report through ended.
type supervisor struct {
	log   *slog.Logger
	parts []*running
	alive int
	ended chan *running // each part once; its capacity lets no part wait
}

// start returns the part that failed meanwhile, or nil. With ctx done it starts
// no further part.
func (s *supervisor) start(ctx context.Context, parts []Part) *running {
	for _, p := range parts {
		if ctx.Err() != nil {
			return nil
		}
		r := launch(ctx, s.log, p, s.ended)
		s.parts = append(s.parts, r)
		s.alive++
		if failed := s.await(ctx, r); failed != nil {
			return failed
		}
	}
	return nil
}

// await returns when r is ready or has ended, or ctx is done; or, with the part
// that failed, when any did.
func (s *supervisor) await(ctx context.Context, r *running) *running {
	ready := r.Ready
	if ready == nil {
		now := make(chan struct{})
		close(now)
		ready = now
	}
	for {
		select {
		case <-ready:
			s.log.DebugContext(ctx, "part ready", "part", r.Name)
			return nil
		case <-ctx.Done():
			return nil
		case e := <-s.ended:
			s.alive--
			if e.err != nil {
				return e
			}
			if e == r {
				return nil
			}
		}
	}
}

// watch returns the first part that failed, or nil when ctx is done or every
// part has ended by itself.
func (s *supervisor) watch(ctx context.Context) *running {
	for s.alive > 0 {
		select {
		case <-ctx.Done():
			return nil
		case e := <-s.ended:
			s.alive--
			if e.err != nil {
				return e
			}
		}
	}
	return nil
}

// stop ends the parts in reverse and gathers what went wrong, the first failure
// first.
func (s *supervisor) stop(failed *running, grace time.Duration) error {
	var errs []error
	if failed != nil {
		s.log.Error("part failed, stopping everything", "part", failed.Name, "error", failed.err)
		errs = append(errs, fmt.Errorf("%s: %w", failed.Name, failed.err))
	}
	if !s.stopInOrder(time.After(grace)) {
		s.stopTogether(time.After(grace / 10))
	}
	var late []string
	for _, r := range slices.Backward(s.parts) {
		switch {
		case !r.isDone():
			late = append(late, r.Name)
		case r != failed && r.err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", r.Name, r.err))
		}
	}
	if late != nil {
		s.log.Error("parts did not stop in time", "parts", late, "grace", grace)
		errs = append(errs, fmt.Errorf("%w: %s", ErrLate, strings.Join(late, ", ")))
	}
	return errors.Join(errs...)
}

// stopInOrder asks the parts one after another; false means that the grace ran
// out on the way.
func (s *supervisor) stopInOrder(over <-chan time.Time) bool {
	for _, r := range slices.Backward(s.parts) {
		r.ask()
		select {
		case <-r.done:
			s.log.Debug("part ended", "part", r.Name)
		case <-over:
			s.log.Warn("part is late, stopping the others without it", "part", r.Name)
			return false
		}
	}
	return true
}

func (s *supervisor) stopTogether(over <-chan time.Time) {
	for _, r := range s.parts {
		r.ask()
	}
	for _, r := range s.parts {
		select {
		case <-r.done:
		case <-over:
			return
		}
	}
}
