package app

import (
	"context"
	"errors"
	"time"
)

// upkeepEvery is how often what time alone changes is looked after.
const upkeepEvery = 10 * time.Second

// markEvery is how many rounds pass between two marks of how far the database has
// come: what a restore may lose unnoticed is bounded by it, and by receipts.
const markEvery = 6

// upkeep does its rounds until ctx ends. A round that fails is logged and tried
// again with the next: it never ends the server.
func (s *Server) upkeep(ctx context.Context) error {
	every := time.NewTicker(upkeepEvery)
	defer every.Stop()
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			// What was gathered is written before the database is closed.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return errors.Join(s.Refusals.Flush(last, true), s.Flow.FlushBeatCounts(last), s.RaiseMark(last))
		case <-every.C:
		}
		s.Upkeep(ctx, round)
	}
}

// Upkeep does the round of this number.
func (c *Core) Upkeep(ctx context.Context, round int) {
	c.round(ctx, "reevaluate", c.Flow.Reevaluate)
	c.round(ctx, "judge by other baselines", c.Flow.Rejudge)
	c.round(ctx, "expire enrollments", c.Flow.ExpireEnrollments)
	c.round(ctx, "expire identity requests", c.Flow.ExpireIdentities)
	c.round(ctx, "expire approvals", c.Flow.ExpireApprovals)
	c.round(ctx, "what was approved and is due", c.Flow.ExecuteDue)
	c.round(ctx, "heartbeat counts", c.Flow.FlushBeatCounts)
	c.round(ctx, "refusals", func(ctx context.Context) error { return c.Refusals.Flush(ctx, false) })
	if round%markEvery == 0 {
		c.round(ctx, "mark", c.RaiseMark)
		c.round(ctx, "sessions", func(ctx context.Context) error { _, err := c.Admin.Prune(ctx); return err })
	}
}

// watchDocuments takes over fleet roots and policy bundles that other nodes install.
func (s *Server) watchDocuments(ctx context.Context) error {
	return s.Policy.Watch(ctx, func(err error) {
		s.Log.ErrorContext(ctx, "fleet documents could not be looked for and are looked for again", "error", err)
	})
}

// watchAuthorities takes over what other nodes change about authorities.
func (s *Server) watchAuthorities(ctx context.Context) error {
	return s.PKI.Watch(ctx, func(err error) {
		s.Log.ErrorContext(ctx, "authorities could not be looked for and are looked for again", "error", err)
	})
}

func (c *Core) round(ctx context.Context, name string, f func(context.Context) error) {
	if err := f(ctx); err != nil && ctx.Err() == nil {
		c.Log.ErrorContext(ctx, "upkeep failed and is tried again", "round", name, "error", err)
	}
}
