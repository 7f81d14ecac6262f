package app

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// checks are what readiness asks. Their texts are read by anyone who may ask, so
// they name no address and repeat no error of a part.
func (c *Core) checks() []health.Check {
	return []health.Check{
		{Name: "database", Ask: c.databaseAnswers},
		{Name: "schema", Ask: c.schemaFits},
		{Name: "restore", Ask: c.notBehind},
		{Name: "authorities", Ask: c.canIssue},
		{Name: "fleet-root", Ask: c.isFounded},
		{Name: "policy-bundle", Ask: c.bundleLasts},
		{Name: "command-key", Ask: c.canCommand},
		{Name: "issuing", Ask: c.issues},
		{Name: "revocation-lists", Ask: c.listsHold},
		{Name: "external-revocation", Ask: c.externalHolds},
	}
}

func (c *Core) databaseAnswers(ctx context.Context) error {
	if err := c.DB.Ping(ctx); err != nil {
		return errors.New("the database does not answer")
	}
	return nil
}

func (c *Core) schemaFits(ctx context.Context) error {
	if err := c.DB.CheckSchema(ctx); err != nil {
		return errors.New("the schema is not this server's; run: sentinel-server migrate status")
	}
	return nil
}

func (c *Core) notBehind(ctx context.Context) error {
	in, err := c.DB.Instance(ctx)
	if err != nil {
		return errors.New("the instance cannot be read")
	}
	if c.Outside.Check(in) != nil {
		return errors.New("the database is older than what it acknowledged; if it was restored, stop the servers and run: sentinel-server db mark-restored")
	}
	return nil
}

func (c *Core) canIssue(context.Context) error {
	for _, kind := range []certs.Kind{certs.KindDevice, certs.KindServer} {
		ca, err := c.PKI.Active(kind)
		if err != nil {
			return errors.New("no issuing authority; hold the ceremony: sentinel-server keys --help")
		}
		if left := ca.NotAfter.Sub(c.DB.Now()); left < c.Config.DeviceCertLifetime {
			return errors.New("the " + string(kind) + " authority ends in " + left.Round(time.Hour).String() + ", before the certificates that it would issue")
		}
	}
	return nil
}

func (c *Core) isFounded(context.Context) error {
	if _, err := c.Policy.Fleet(); err != nil {
		return errors.New("no fleet root; hold the ceremony: sentinel-server keys --help")
	}
	return nil
}

// bundleSoon is how long before its end a policy bundle is asked to be renewed:
// whoever signs it is a person, and not always there.
const bundleSoon = 7 * 24 * time.Hour

// bundleLasts warns: without a bundle that is valid now devices still do what needs no
// approval, or what the one before allows.
func (c *Core) bundleLasts(context.Context) error {
	fleet, err := c.Policy.Fleet()
	if err != nil {
		return nil //nolint:nilerr // the check of the fleet root says it
	}
	const advice = "sign the next one: sentinel-server policy build, policy sign, policy publish"
	now := c.DB.Now()
	switch left := fleet.Bundle.ExpiresAt.Sub(now); {
	case policy.Early(fleet.Bundle, now):
		return health.WarningError("the policy bundle was signed at " + fleet.Bundle.IssuedAt.Format(time.RFC3339) + ", which is still to come: devices do not take it yet, so that no command can be asked for and no device enrolls; set the clock right, or, if it is right, " + advice)
	case left <= 0:
		return health.WarningError("the policy bundle has expired, and devices do only what needs no approval; " + advice)
	case left < bundleSoon:
		return health.WarningError("the policy bundle expires in " + left.Round(time.Hour).String() + "; " + advice)
	}
	return nil
}

// canCommand warns: everything but commands works without the key.
func (c *Core) canCommand(ctx context.Context) error {
	if err := c.Flow.CommandKey(ctx); errors.Is(err, flow.ErrCommandKey) {
		return health.WarningError(err.Error())
	}
	return nil
}

// renews warns: devices take the certificate that is presented meanwhile until it
// ends.
func (c *Core) renews(own *pki.ServerCertificate) func(context.Context) error {
	return func(ctx context.Context) error {
		ends, err := own.Failing()
		if err != nil && ends.IsZero() {
			c.Log.WarnContext(ctx, "the machine listener has no certificate", "error", err)
			return errors.New("the machine listener has no certificate, so that no device can connect; see the log, and compare the clock")
		}
		if err != nil {
			c.Log.WarnContext(ctx, "the machine listener's certificate could not be renewed", "error", err)
			return health.WarningError("the machine listener's certificate could not be renewed, and ends at " + ends.UTC().Format(time.RFC3339) + "; see the log")
		}
		return nil
	}
}
