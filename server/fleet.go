package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"
)

// fleetInfo is what devices are told out of band, and what they are given.
type fleetInfo struct {
	FleetID         string     `json:"fleet_id"`
	MachineURL      string     `json:"machine_url"`
	CAFingerprint   string     `json:"ca_fingerprint"`
	FirstRootDigest string     `json:"first_root_digest"`
	RootVersion     int64      `json:"root_version"`
	BundleVersion   int64      `json:"bundle_version"`
	BundleExpiresAt *time.Time `json:"bundle_expires_at"`
	TrustDomain     string     `json:"trust_domain"`
}

func (p *program) fleetCommand() *cobra.Command {
	c := p.apiCommand("fleet", "Show what devices are told out of band: address, CA fingerprint, digest of the fleet root", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var f fleetInfo
		if err := api.do(c.Context(), "GET", "/api/fleet", nil, &f); err != nil {
			return err
		}
		return o.show(f, func(w io.Writer) {
			row(w, "fleet", f.FleetID)
			row(w, "first root", f.FirstRootDigest)
			row(w, "CA fingerprint", f.CAFingerprint)
			row(w, "devices connect to", f.MachineURL)
			row(w, "root version", f.RootVersion)
			row(w, "policy bundle", f.BundleVersion, "until "+when(f.BundleExpiresAt))
			row(w, "trust domain", f.TrustDomain)
		})
	})
	c.GroupID = "operate"
	c.Long = `fleet shows what a device is given when it enrolls. The digest of the first root is
what the device pins. It is worth most when it reaches the device by another way
than this server: whoever owns the server could show another one. After a ceremony,
take the digest that the ceremony printed. In a trial there was none, and the one
shown here does.`
	return c
}
