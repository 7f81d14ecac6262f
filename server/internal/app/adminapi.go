package app

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/adminapi"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// reads are what the admin API shows, beside what it does.
type reads struct {
	*flow.Flow
	*enroll.Service
	core *Core
}

func (r reads) Devices(ctx context.Context, f view.DeviceFilter) ([]view.DeviceRow, string, error) {
	return view.Devices(ctx, r.core.DB.Read(), f, r.core.DB.Now())
}

func (r reads) Device(ctx context.Context, id string) (*view.Device, error) {
	return view.DevicePage(ctx, r.core.DB.Read(), id, r.core.DB.Now())
}

func (r reads) Reviews(ctx context.Context, state string, limit int, after string) ([]view.Review, string, error) {
	return view.Reviews(ctx, r.core.DB.Read(), state, limit, after)
}

func (r reads) ReviewOf(ctx context.Context, id string) (*view.Review, error) {
	return view.ReviewOf(ctx, r.core.DB.Read(), id)
}

func (r reads) IdentityRequests(ctx context.Context, state string, limit int, after string) ([]view.IdentityRequest, string, error) {
	return view.IdentityRequests(ctx, r.core.DB.Read(), state, limit, after, r.core.DB.Now())
}

func (r reads) Tokens(ctx context.Context, limit int) ([]enroll.Token, error) {
	return enroll.Tokens(ctx, r.core.DB.Read(), limit)
}

func (r reads) Window(ctx context.Context) (*enroll.Window, error) {
	return enroll.CurrentWindow(ctx, r.core.DB.Read(), r.core.DB.Now())
}

func (r reads) Commands(ctx context.Context, f view.CommandFilter) ([]view.CommandRow, string, error) {
	return view.Commands(ctx, r.core.DB.Read(), f)
}

// Command also says why this server does not sign, where that is what it waits for.
func (r reads) Command(ctx context.Context, id string) (*view.Command, error) {
	c, err := view.CommandPage(ctx, r.core.DB.Read(), id)
	if err == nil && c.State == string(command.Unsigned) && c.Ending == "" {
		if err := r.CommandKey(ctx); err != nil {
			c.WaitsFor = err.Error()
		}
	}
	return c, err
}

func (r reads) CommandTargets(ctx context.Context, id, state string, limit int, after string) ([]view.CommandTarget, string, error) {
	if _, err := command.Get(ctx, r.core.DB.Read(), id); err != nil {
		return nil, "", err
	}
	return view.CommandTargets(ctx, r.core.DB.Read(), id, state, limit, after)
}

func (r reads) Approvals(ctx context.Context, f view.ApprovalFilter) ([]view.Approval, string, error) {
	return view.Approvals(ctx, r.core.DB.Read(), f, r.core.DB.Now())
}

func (r reads) Approval(ctx context.Context, id string, who approval.Voter) (*view.Approval, error) {
	return view.ApprovalOf(ctx, r.core.DB.Read(), id, who, r.core.DB.Now())
}

func (r reads) Bundles(ctx context.Context, below int64, limit int) ([]policy.Document, int64, error) {
	return policy.Bundles(ctx, r.core.DB.Read(), below, limit)
}

func (r reads) Bundle(ctx context.Context, version int64) (*policy.Document, error) {
	return policy.Bundle(ctx, r.core.DB.Read(), version)
}

func (c *Core) fleet(context.Context) (*adminapi.Fleet, error) {
	f, err := c.Policy.Fleet()
	if err != nil {
		return nil, err
	}
	return &adminapi.Fleet{
		FleetID: f.Root.Root.FleetID, MachineURL: c.Config.MachineURL, CAFingerprint: c.Fingerprint(), FirstRootDigest: f.FirstDigest,
		RootVersion: f.Root.Root.Version, BundleVersion: f.Bundle.Version, BundleExpiresAt: f.Bundle.ExpiresAt, TrustDomain: f.Root.Root.TrustDomain,
	}, nil
}

func (c *Core) adminAPI() *adminapi.API {
	r := reads{c.Flow, c.Enroll, c}
	return adminapi.New(adminapi.Deps{
		SignIns: c.Admin, Sessions: c.Admin, Accounts: c.Admin, Factors: c.Admin, Devices: r, Enrollments: r, Identities: r, Tokens: r, Commands: r, Policies: r, Issuers: r, Attestations: r, Fleet: c.fleet,
		Approvals: r,
		AuditLog:  func(ctx context.Context, f audit.Filter) (audit.Page, error) { return audit.List(ctx, c.DB.Read(), f) },
		Refused:   c.Refusals.Note, Log: c.Log, Now: c.DB.Now, Version: version.Version,
	})
}

// OpenAPI is the description of the API, without a server.
func OpenAPI() []byte {
	r := reads{}
	return adminapi.New(adminapi.Deps{Devices: r, Enrollments: r, Identities: r, Tokens: r, Commands: r, Approvals: r, Policies: r, Issuers: r, Attestations: r, Now: time.Now, Version: version.Version}).OpenAPI()
}
