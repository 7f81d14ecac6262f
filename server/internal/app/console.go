package app

import (
	"context"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/dashboard"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// quietBeats is after how many intervals without a heartbeat a device is silent.
const quietBeats = 5

func (s *Server) consoleDeps() dashboard.Deps {
	r := reads{s.Flow, s.Enroll, s.Core}
	return dashboard.Deps{
		SignIns: s.Admin, Sessions: s.Admin, Accounts: s.Admin, Factors: s.Admin, Devices: r, Approvals: r, Tokens: r, Commands: r,
		Overview: s.overview, Fleet: s.consoleFleet, Health: s.health.Ready,
		AuditLog: func(ctx context.Context, f audit.Filter) (audit.Page, error) { return audit.List(ctx, s.DB.Read(), f) },
		Refused:  s.Refusals.Note, PeopleURL: func() string { return s.Config.PeopleURL },
		Log: s.Log, Now: s.DB.Now, Version: version.Version,
	}
}

// overview calls a certificate late that has less than a quarter of its life left:
// devices renew at two thirds.
func (c *Core) overview(ctx context.Context) (*view.Overview, error) {
	return view.ReadOverview(ctx, c.DB.Read(), view.OverviewAsk{
		Soon: c.Config.DeviceCertLifetime / 4, Quiet: quietBeats * c.Config.HeartbeatInterval,
	}, c.DB.Now())
}

func (c *Core) consoleFleet(context.Context) (*dashboard.Fleet, error) {
	f, err := c.Policy.Fleet()
	if err != nil {
		return nil, err
	}
	return &dashboard.Fleet{
		Name: c.Config.FleetName, FleetID: f.Root.Root.FleetID, MachineURL: c.Config.MachineURL, CAFingerprint: c.Fingerprint(),
		RootDigest: f.FirstDigest, BundleVersion: f.Bundle.Version,
	}, nil
}
