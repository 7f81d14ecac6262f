package app

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/preflight"
)

// fit holds a server with the production profile to its checklist before anything of
// it is opened, so that a database is not marked for production by a server that was
// never fit for it. It is a preflight.UnfitError.
func fit(ctx context.Context, o Options) error {
	if o.Config.Profile != config.Production {
		return nil
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	report := preflight.Judge(preflight.Gather(ctx, preflight.Ask{
		Inspection:   config.Inspection{Config: o.Config, Written: o.Config.Profile},
		SettingsFile: o.SettingsFile, Units: preflight.SystemdUnits(), Now: now().UTC(),
	}))
	for _, w := range report.Warnings() {
		o.Log.WarnContext(ctx, "a point of the production checklist", "check", w.ID, "found", w.Found, "to_do", w.Change)
	}
	return report.Refuse()
}
