package view

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Overview is the fleet at a glance.
type Overview struct {
	At       time.Time
	Devices  int            // that are not revoked or retired
	Verdicts map[string]int // of those
	Gone     int            // revoked or retired
	Held     int
	Stopped  int // suspended
	Silent   int // may speak, and were not heard for some time
	Waiting  Waiting
	Expiring []Expiring
	Late     int // how many certificates Expiring could name
	Beats    []Beats
}

// Waiting counts what waits for a person.
type Waiting struct{ Enrollments, Identities, Commands int }

// All is their sum.
func (w Waiting) All() int { return w.Enrollments + w.Identities + w.Commands }

// Expiring is a device whose certificate ends soon, although it should have
// renewed it by itself.
type Expiring struct {
	DeviceID string    `bun:"device_id"`
	Name     string    `bun:"name"`
	NotAfter db.Micros `bun:"not_after"`
	SeenAt   db.Micros `bun:"seen_at"`
}

// OverviewAsk says what counts as late.
type OverviewAsk struct {
	Soon  time.Duration // a certificate that ends within this should have been renewed
	Quiet time.Duration // a device that was not heard for this long is silent
}

// expiringNamed is how many an overview names.
const expiringNamed = 5

// ReadOverview reads it all. It counts whole tables, so callers keep the answer for a
// moment.
func ReadOverview(ctx context.Context, q bun.IDB, ask OverviewAsk, now time.Time) (*Overview, error) {
	o := &Overview{At: now, Verdicts: map[string]int{}}
	var verdicts []struct {
		Verdict string `bun:"verdict"`
		N       int    `bun:"n"`
	}
	err := q.NewSelect().TableExpr("trust_verdicts AS t").ColumnExpr(verdictAt+" AS verdict", db.At(now)).ColumnExpr("COUNT(*) AS n").
		GroupExpr("1").Scan(ctx, &verdicts)
	if err != nil {
		return nil, err
	}
	for _, v := range verdicts {
		o.Verdicts[v.Verdict] = v.N
	}
	var states []struct {
		State string `bun:"state"`
		N     int    `bun:"n"`
	}
	if err := q.NewSelect().TableExpr("devices").ColumnExpr("state, COUNT(*) AS n").GroupExpr("state").Scan(ctx, &states); err != nil {
		return nil, err
	}
	for _, s := range states {
		switch s.State {
		case "revoked", "retired":
			o.Gone += s.N
			continue
		case "suspended":
			o.Stopped = s.N
		}
		o.Devices += s.N
	}
	// Whatever ended is untrusted for good and no news.
	o.Verdicts["untrusted"] = max(0, o.Verdicts["untrusted"]-o.Gone)
	err = q.NewSelect().TableExpr("device_counters").
		ColumnExpr("COALESCE(SUM(CASE WHEN gate = 2 THEN 1 ELSE 0 END), 0) AS held").
		ColumnExpr("COALESCE(SUM(CASE WHEN gate = 0 AND seen_at < ? THEN 1 ELSE 0 END), 0) AS silent", db.At(now.Add(-ask.Quiet))).
		Scan(ctx, &o.Held, &o.Silent)
	if err != nil {
		return nil, err
	}
	for _, w := range []struct {
		n     *int
		table string
		where string
	}{
		{&o.Waiting.Enrollments, "enrollments", "state = 'pending'"},
		{&o.Waiting.Identities, "identity_requests", "state = 'pending'"},
		{&o.Waiting.Commands, "commands", "state = 'review'"},
	} {
		n, err := q.NewSelect().Table(w.table).Where(w.where).Count(ctx)
		if err != nil {
			return nil, err
		}
		*w.n = int(n)
	}
	if err := expiring(ctx, q, o, ask.Soon, now); err != nil {
		return nil, err
	}
	o.Beats, err = BeatsSince(ctx, q, now.Add(-24*time.Hour))
	return o, err
}

func expiring(ctx context.Context, q bun.IDB, o *Overview, soon time.Duration, now time.Time) error {
	sel := func() *bun.SelectQuery {
		return q.NewSelect().TableExpr("certificates AS x").Join("JOIN device_counters AS c ON c.fingerprint = x.fingerprint").
			Where("x.not_after > ? AND x.not_after <= ? AND x.revoked_at = 0 AND c.gate < 3 AND c.device_id = x.device_id", db.At(now), db.At(now.Add(soon)))
	}
	err := sel().Join("JOIN devices AS d ON d.device_id = c.device_id").ColumnExpr("d.device_id, d.name, x.not_after, c.seen_at").
		OrderExpr("x.not_after, d.device_id").Limit(expiringNamed+1).Scan(ctx, &o.Expiring)
	if err != nil || len(o.Expiring) <= expiringNamed {
		o.Late = len(o.Expiring)
		return err
	}
	o.Expiring = o.Expiring[:expiringNamed]
	n, err := sel().Count(ctx)
	o.Late = int(n)
	return err
}

// Beats are the heartbeats of a stretch of time.
type Beats struct {
	At       db.Micros `bun:"at"` // its begin
	Accepted int64     `bun:"accepted"`
	Refused  int64     `bun:"refused"`
}

// BeatsSince reads the heartbeats since a time, by stretches of flow.BeatStretch.
func BeatsSince(ctx context.Context, q bun.IDB, since time.Time) (list []Beats, err error) {
	err = q.NewSelect().TableExpr("heartbeat_counts").ColumnExpr("at, accepted, refused").Where("at >= ?", db.At(since)).OrderExpr("at").Limit(1000).Scan(ctx, &list)
	return list, err
}
