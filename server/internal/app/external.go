package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/fetch"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
)

// External judges the certificates of another authority, and knows which are revoked.
type External struct {
	*extca.Authority
	*revocation.Checker

	looked time.Time // when all certificates on record were looked at
}

// believeExternal reads what the settings say of another authority.
func (c *Core) believeExternal() error {
	s := c.Config
	if s.DeviceCA != config.ExternalCA {
		return nil
	}
	a, err := extca.New(extca.Settings{
		Issuers: s.ExternalCAFiles, Above: s.ExternalCARootFiles, Usages: s.ExternalCAUsages,
		Name: extca.NameKind(s.ExternalCAName), Pattern: s.ExternalCANamePattern, CommonName: s.RequireCertCommonNameMatch,
	})
	if err != nil {
		return fmt.Errorf("the other authority's certificates (SENTINEL_EXTERNAL_CA_FILES and those beside it): %w", err)
	}
	issuers, above := a.Certificates()
	c.External = &External{Authority: a, Checker: revocation.New(revocation.Settings{
		Lists: s.RevocationLists, Responder: s.RevocationResponder, NeedNonce: s.RevocationRequireNonce, Every: s.RevocationInterval, Grace: s.RevocationGrace,
	}, issuers, above, fetch.New(s.RevocationPrivate).Fetch, c.DB.Now)}
	return nil
}

// watchExternal keeps what is known of revocation fresh.
func (s *Server) watchExternal(ctx context.Context) error {
	if s.External == nil {
		<-ctx.Done()
		return nil
	}
	if err := s.recallExternal(ctx); err != nil { // before any list is believed
		return err
	}
	return s.External.Run(ctx, func(ctx context.Context, err error) {
		if err != nil {
			s.Log.ErrorContext(ctx, "what another authority says of revocation could not be had and is asked for again", "error", err)
		}
		s.ExternalRound(ctx)
	})
}

// ExternalRound looks at the certificates on record, and writes down which of them their
// authority revoked.
func (c *Core) ExternalRound(ctx context.Context) {
	x := c.External
	c.round(ctx, "what is remembered of another authority's lists", c.rememberExternal)
	if now := c.DB.Now(); now.Sub(x.looked).Abs() >= c.Config.RevocationInterval {
		x.looked = now
		c.round(ctx, "certificates of another authority", c.lookAtExternal)
	}
	for fingerprint, why := range x.Found() {
		if err := c.Flow.RevokedElsewhere(ctx, fingerprint, why); err != nil {
			x.Again(fingerprint, why)
			c.Log.ErrorContext(ctx, "a certificate that its authority revoked could not be written down and is tried again", "error", err)
		}
	}
}

// recallExternal tells the checker what this node knew before it started, and what
// others know.
func (c *Core) recallExternal(ctx context.Context) error {
	m, err := revocation.Remembered(ctx, c.DB.Read())
	if err == nil {
		c.External.Recall(m)
	}
	return err
}

// rememberExternal writes down how far the lists have come.
func (c *Core) rememberExternal(ctx context.Context) error {
	m, err := revocation.Remembered(ctx, c.DB.Read())
	if err != nil {
		return err
	}
	c.External.Recall(m)
	if c.External.News(m).Empty() {
		return nil
	}
	return c.DB.Write(ctx, c.External.Remember)
}

const externalPage = 500

// lookAtExternal asks what is known of every certificate on record, so that it is known
// also of devices that are away.
func (c *Core) lookAtExternal(ctx context.Context) error {
	now := c.DB.Now()
	for after := ""; ; {
		list, err := pki.LiveOutside(ctx, c.DB.Read(), db.At(now), after, externalPage)
		if err != nil {
			return err
		}
		for i := range list {
			leaf, err := x509.ParseCertificate(list[i].DER)
			if err != nil {
				return err
			}
			// One that does not verify any more is refused at the door, and needs no list.
			if id, err := c.External.Verify([]*x509.Certificate{leaf}, now); err == nil {
				_ = c.External.Standing(id.Outside.Chain) // Found says it
			}
			// One that was revoked while a person decided was found before it was on record.
			if why, gone := c.External.Gone(list[i].Fingerprint); gone {
				c.External.Again(list[i].Fingerprint, why)
			}
		}
		if len(list) < externalPage {
			return nil
		}
		after = list[len(list)-1].Fingerprint
	}
}

// externalHolds fails when it is not known what another authority revoked.
func (c *Core) externalHolds(context.Context) error {
	if c.External == nil {
		return nil
	}
	warning, failed := c.External.Overdue()
	if failed == nil && warning != "" {
		return health.WarningError(warning)
	}
	return failed
}
