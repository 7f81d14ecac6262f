package link

import (
	"context"
	"time"
)

// First is how long to wait for the first heartbeat. With Round and Sooner it is
// what Run is made of, for a simulation, whose time is its own.
func (l *Link) First() time.Duration { return l.pace.first() }

// Round is one heartbeat. It returns how long to wait for the next.
func (l *Link) Round(ctx context.Context) time.Duration { return l.round(ctx) }

// Sooner is how long to wait when something may have asked for a heartbeat.
func (l *Link) Sooner(wait time.Duration) time.Duration {
	select {
	case <-l.retried:
		return 0
	default:
	}
	select {
	case <-l.nudged:
		if l.last == Go {
			return min(wait, soonLeast+l.pace.part(soonMore))
		}
	default:
	}
	return wait
}
