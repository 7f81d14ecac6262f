package link

import (
	"math/rand/v2"
	"time"
)

const (
	// MaxInterval is the longest time between heartbeats.
	MaxInterval = time.Hour
	// DefaultInterval is used until the server has named one.
	DefaultInterval = time.Minute

	firstWithin  = time.Second // a first heartbeat comes soon, but not all devices' at one instant
	backOffFirst = time.Second
	backOffCap   = 5 * time.Minute // or the interval, if that is longer
	slowFactor   = 5
	maxAtOnce    = 3 // in a row
)

// Jitter is in [0, 1). Whoever guesses it knows when the next request comes, no
// more.
func Jitter() float64 { return rand.Float64() }

// pace turns reactions into waiting times. It has no clock.
type pace struct {
	interval time.Duration
	random   func() float64 // in [0, 1)
	failures int            // in a row
	atOnce   int            // in a row
}

func (p *pace) first() time.Duration { return p.part(firstWithin) }

// after is how long to wait. retryAfter is the least, if the server named one.
func (p *pace) after(r Reaction, retryAfter time.Duration) time.Duration {
	if r == AtOnce {
		if p.atOnce++; p.atOnce <= maxAtOnce {
			return 0
		}
		r = BackOff // a server that changes its epoch all the time is not well
	} else {
		p.atOnce = 0
	}
	if r != BackOff {
		p.failures = 0
	}
	switch r {
	case BackOff:
		p.failures++
		// The wait that was asked for, and then spread out: all were asked for the same.
		return retryAfter + p.part(p.backOffLimit())
	case Slowly:
		return max(retryAfter, p.nearly(min(slowFactor*p.interval, MaxInterval)))
	case Rarely:
		return max(retryAfter, p.nearly(MaxInterval))
	default:
		return p.nearly(p.interval)
	}
}

// backOffLimit doubles with every failure in a row.
func (p *pace) backOffLimit() time.Duration {
	limit := max(backOffCap, p.interval)
	if doublings := p.failures - 1; doublings < 16 {
		limit = min(limit, backOffFirst<<doublings)
	}
	return limit
}

// part is anything from 0 to d, nearly is 0.9 to 1.0 of d: never later than d, so
// that a server that counts missed heartbeats counts none.
func (p *pace) part(d time.Duration) time.Duration { return time.Duration(p.random() * float64(d)) }

func (p *pace) nearly(d time.Duration) time.Duration {
	return d - p.part(d/10)
}

// clamp holds what the server asks for to what the device allows. Asked for
// nothing, it keeps what it had.
func clamp(seconds int, before, least time.Duration) time.Duration {
	d := before
	if seconds > 0 {
		d = min(time.Duration(min(seconds, int(MaxInterval/time.Second)))*time.Second, MaxInterval)
	}
	return min(max(d, least), MaxInterval)
}
