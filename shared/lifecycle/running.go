package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
)

// running is a part whose goroutine was started.
type running struct {
	Part
	asked  atomic.Bool
	cancel context.CancelFunc
	done   chan struct{}
	err    error // to be read after done is closed
}

func launch(ctx context.Context, log *slog.Logger, p Part, ended chan<- *running) *running {
	// The end of ctx must not reach the part: the supervisor decides on the order.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{Part: p, cancel: cancel, done: make(chan struct{})}
	go func() {
		// Without this mark runtime.Goexit would look like a return of nil.
		err := errors.New("left its goroutine without returning")
		defer func() {
			if v := recover(); v != nil {
				log.Error("part panicked", "part", p.Name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				err = fmt.Errorf("%w: %v", ErrPanic, v)
			}
			if r.asked.Load() && errors.Is(err, context.Canceled) {
				err = nil
			}
			r.err = err
			cancel()
			close(r.done)
			ended <- r
		}()
		err = p.Run(own)
	}()
	return r
}

func (r *running) ask() {
	r.asked.Store(true)
	r.cancel()
}

func (r *running) isDone() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}
