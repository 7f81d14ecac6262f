package flow

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
)

// BeatStretch is how finely heartbeats are counted for people to look at.
const BeatStretch = 10 * time.Minute

// keepBeatCounts is how long they can be looked at.
const keepBeatCounts = 8 * 24 * time.Hour

// beatCount adds up heartbeats in memory, so that counting them costs no write of
// its own. What a crash loses is some seconds of a picture.
type beatCount struct {
	mu     sync.Mutex
	counts map[db.Micros]device.BeatCount
}

// add counts one heartbeat by what became of it. One that was given up by its
// sender, or met the server's stopping, is none.
func (c *beatCount) add(at time.Time, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errStopping) {
		return
	}
	stretch := db.At(at.Truncate(BeatStretch))
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[stretch]
	if n.At = stretch; err == nil {
		n.Accepted++
	} else {
		n.Refused++
	}
	if c.counts == nil {
		c.counts = map[db.Micros]device.BeatCount{}
	}
	c.counts[stretch] = n
}

// take empties the count.
func (c *beatCount) take() map[db.Micros]device.BeatCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	c.counts = nil
	return counts
}

// give puts back what could not be written.
func (c *beatCount) give(counts map[db.Micros]device.BeatCount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[db.Micros]device.BeatCount{}
	}
	for at, n := range counts {
		now := c.counts[at]
		c.counts[at] = device.BeatCount{At: at, Accepted: now.Accepted + n.Accepted, Refused: now.Refused + n.Refused}
	}
}

// FlushBeatCounts writes down what was counted, and forgets what is old.
func (f *Flow) FlushBeatCounts(ctx context.Context) error {
	counts := f.beatCount.take()
	if len(counts) == 0 {
		return nil
	}
	err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		for _, n := range counts {
			if err := device.AddBeats(ctx, tx, n); err != nil {
				return err
			}
		}
		return device.ForgetBeats(ctx, tx, tx.At().Add(-keepBeatCounts))
	})
	if err != nil {
		f.beatCount.give(counts)
	}
	return err
}
