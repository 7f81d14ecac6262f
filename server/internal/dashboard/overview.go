package dashboard

import (
	"context"
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

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

// fleetNow is the fleet at a glance, as of a moment ago.
func (c *Console) fleetNow(ctx context.Context) (*view.Overview, error) {
	return c.overviewKept.get(c.deps.Now, func() (*view.Overview, error) {
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
