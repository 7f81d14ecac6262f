package command

import (
	"context"
	"time"
)

// Round does what waits, here and not in a goroutine of its own. With RestartAt it is what Run is made of, for a
// simulation, whose time is its own.
func (r *Runner) Round(ctx context.Context) error {
	r.inline = true
	select {
	case <-r.work:
	default:
	}
	return r.drain(ctx)
}

// RestartAt is when the agent was told to end, or the zero time.
func (r *Runner) RestartAt() time.Time { return r.restartAt }
