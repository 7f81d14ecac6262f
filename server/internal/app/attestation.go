package app

import (
	"context"
	"slices"
	"strconv"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// attestationTerms are the settings' terms. The makers that a directory was named for
// must be there: a server that believes nobody by mistake would say so device by device.
func attestationTerms(c *config.Config) (t attestation.Terms, err error) {
	t.Every = c.AttestationInterval
	for _, word := range c.AttestationPCRs {
		n, err := strconv.Atoi(word) // the settings' check has seen it
		if err != nil {
			return t, err
		}
		t.PCRs = append(t.PCRs, n)
	}
	slices.Sort(t.PCRs)
	if c.AttestationMakersDir != "" {
		t.Makers, err = attestation.LoadMakers(c.AttestationMakersDir)
	}
	return t, err
}

// Attestation is what a device proved by its TPM: attestation.ErrNone when it brought
// no evidence, device.ErrUnknown when there is no such device.
func (r reads) Attestation(ctx context.Context, id string) (*view.Attestation, error) {
	a, err := view.AttestationOf(ctx, r.core.DB.Read(), id, r.core.DB.Now())
	if err != nil || a != nil {
		return a, err
	}
	if _, err := device.Get(ctx, r.core.DB.Read(), id); err != nil {
		return nil, err
	}
	return nil, attestation.ErrNone
}

func (r reads) Baselines(ctx context.Context, limit int) ([]view.Baseline, error) {
	return view.Baselines(ctx, r.core.DB.Read(), limit, r.core.DB.Now())
}
