package dashboard

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// keepOverview is how old the counts of an overview may be before they are read
// again: whoever looks on, and however many, the tables are counted once in this
// time. Meanwhile the last ones are shown, up to staleOverview: counting a large
// fleet takes longer than a person should wait for a page.
const (
	keepOverview  = 2 * time.Second
	staleOverview = 10 * time.Second
)

// kept is a value that is read at most once in a while.
type kept[T any] struct {
	mu      sync.Mutex
	at      time.Time
	value   T
	reading bool // somebody fetches the next
	read    sync.Mutex
}

func (k *kept[T]) get(now time.Time, read func() (T, error)) (T, error) {
	k.mu.Lock()
	age, value, none := now.Sub(k.at), k.value, k.at.IsZero()
	fresh := !none && age >= 0 && age < keepOverview
	stale := !none && age >= 0 && age < staleOverview
	fetch := !fresh && stale && !k.reading
	if fetch {
		k.reading = true
	}
	k.mu.Unlock()
	switch {
	case fetch:
		go func() { // one at a time; its error is told by whoever waits for the value later
			defer func() {
				k.mu.Lock()
				k.reading = false
				k.mu.Unlock()
			}()
			_, _ = k.fetch(now, read)
		}()
		return value, nil
	case fresh, stale:
		return value, nil
	}
	return k.fetch(now, read)
}

// fetch reads the value, unless somebody did for the same moment.
func (k *kept[T]) fetch(now time.Time, read func() (T, error)) (T, error) {
	k.read.Lock()
	defer k.read.Unlock()
	k.mu.Lock()
	at, value := k.at, k.value
	k.mu.Unlock()
	if !at.IsZero() && !at.Before(now) {
		return value, nil
	}
	v, err := read()
	if err == nil {
		k.mu.Lock()
		k.at, k.value = now, v
		k.mu.Unlock()
	}
	return v, err
}

// mineCounted is how many of a person's own reviews an overview counts.
const mineCounted = 20

// overviewData is what the overview shows.
type overviewData struct {
	*view.Overview

	Fleet  *Fleet // nil: none yet
	Health health.Report
	State  string
	Shares []share
	Chart  chart
	Mine   int // of what waits, what this person may decide on, up to mineCounted
	Audit  []audit.Row
}

func (c *Console) overview(r *http.Request) (*page, error) {
	ctx := r.Context()
	o, err := c.fleetNow(ctx)
	if err != nil {
		return nil, err
	}
	d := overviewData{Overview: o, Health: c.deps.Health(ctx)}
	d.State = healthWord(d.Health)
	d.Shares = shares(o)
	d.Chart = drawBeats(o.Beats, c.deps.Now())
	if f, err := c.deps.Fleet(ctx); err == nil {
		d.Fleet = f
	}
	who := callerOf(r)
	if who.May(authz.ApprovalRead) {
		mine, _, err := c.deps.Approvals.Approvals(ctx, view.ApprovalFilter{Mine: true, For: voter(r), Limit: mineCounted})
		if err != nil {
			return nil, err
		}
		d.Mine = len(mine)
	}
	if who.May(authz.AuditRead) {
		page, err := c.deps.AuditLog(ctx, audit.Filter{Limit: 8})
		if err != nil {
			return nil, err
		}
		d.Audit = page.Rows
	}
	return c.newPage(r, "overview", "Overview", d), nil
}

// fleetNow is the fleet at a glance, as of at most keepOverview ago.
func (c *Console) fleetNow(ctx context.Context) (*view.Overview, error) {
	return c.overviewKept.get(c.deps.Now(), func() (*view.Overview, error) {
		return c.deps.Overview(context.WithoutCancel(ctx)) // others wait for it too
	})
}

// share is a part of the fleet by verdict, as a piece of a bar.
type share struct {
	Verdict string
	N       int
	X, W    float64 // of 100
}

func shares(o *view.Overview) []share {
	all := 0
	for _, v := range []string{"trusted", "reserved", "untrusted"} {
		all += o.Verdicts[v]
	}
	var list []share
	x := 0.0
	for _, v := range []string{"trusted", "reserved", "untrusted"} {
		s := share{Verdict: v, N: o.Verdicts[v], X: x}
		if all > 0 {
			s.W = 100 * float64(s.N) / float64(all)
		}
		x += s.W
		list = append(list, s)
	}
	return list
}
