package app

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/adminapi"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
)

// keepLists keeps the revocation lists fresh.
func (s *Server) keepLists(ctx context.Context) error {
	return s.Lists.Run(ctx, func(err error) {
		s.Log.ErrorContext(ctx, "revocation lists could not be made and are tried again", "error", err)
	})
}

// issues warns: what devices have goes on, and nothing new is issued.
func (c *Core) issues(ctx context.Context) error {
	stop, err := pki.CurrentStop(ctx, c.DB.Read())
	if err != nil {
		return errors.New("it cannot be read whether certificates are issued")
	}
	if stop.StopID != "" {
		return health.WarningError("issuing certificates was stopped at " + stop.StoppedAt.Time().Format(time.RFC3339) + "; see: sentinel-server ca status")
	}
	return nil
}

// rootListSoon is how long before its end the root's list is asked for anew: it takes
// a ceremony.
const rootListSoon = 90 * 24 * time.Hour

// listsHold fails when a revocation list has run out: whoever verifies by it lets
// nobody in any more, or everybody. It warns long before.
func (c *Core) listsHold(ctx context.Context) error {
	if _, err := c.Policy.Fleet(); err != nil {
		return nil //nolint:nilerr // the check of the fleet root says it
	}
	ends, failed := c.Lists.Freshness()
	now := c.DB.Now()
	if !now.Before(ends) { // its keeper looks each second: this one does not wait for it
		_ = c.Lists.Round(ctx)
		ends, failed = c.Lists.Freshness()
	}
	switch {
	case ends.IsZero():
		return errors.New("an authority has no revocation list yet")
	case !now.Before(ends):
		return errors.New("a revocation list has run out and could not be made anew; see the log")
	case failed != nil || ends.Sub(now) < c.Config.CRLValidity/2:
		return health.WarningError("revocation lists could not be made in time, and the first ends at " + ends.UTC().Format(time.RFC3339) + "; see the log")
	}
	if root, ok := c.Lists.Get(pki.RootList); ok && root.NextUpdate.Sub(now) < rootListSoon {
		return health.WarningError("the root's revocation list ends at " + root.NextUpdate.UTC().Format(time.RFC3339) + "; hold a ceremony: sentinel-server keys request --rotate none")
	}
	return nil
}

// RevocationLists are the lists as they are served.
func (r reads) RevocationLists(ctx context.Context) ([]adminapi.RevocationList, error) {
	authorities, err := r.core.PKI.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	lists := []adminapi.RevocationList{}
	for _, l := range r.core.Lists.All() {
		shown := adminapi.RevocationList{Authority: pki.RootList, Certificate: l.Issuer, Fingerprint: l.Fingerprint, Path: "/crl/" + l.Fingerprint + ".crl",
			Number: l.Number, Entries: l.Entries, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate}
		for _, a := range authorities {
			if a.ID == l.AuthorityID {
				shown.Authority, shown.State = string(a.Kind), string(a.State)
			}
		}
		lists = append(lists, shown)
	}
	return lists, nil
}
