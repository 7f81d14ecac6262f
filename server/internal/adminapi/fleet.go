package adminapi

import (
	"context"
	"time"
)

// Fleet is what a device is told out of band, and what it is given.
type Fleet struct {
	FleetID         string    `json:"fleet_id"`
	MachineURL      string    `json:"machine_url" doc:"Where devices connect."`
	CAFingerprint   string    `json:"ca_fingerprint" doc:"SHA-256 of the server's issuing CA certificate."`
	FirstRootDigest string    `json:"first_root_digest" doc:"SHA-256 of the first fleet root: what devices pin."`
	RootVersion     int64     `json:"root_version"`
	BundleVersion   int64     `json:"bundle_version"`
	BundleExpiresAt time.Time `json:"bundle_expires_at"`
	TrustDomain     string    `json:"trust_domain"`
}

type fleetOut struct{ Body *Fleet }

func (a *API) fleet(ctx context.Context, _ *struct{}) (*fleetOut, error) {
	f, err := a.deps.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	return &fleetOut{f}, nil
}
