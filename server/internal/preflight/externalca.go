package preflight

import (
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

// externalCAChecks are about certificates from elsewhere.
func externalCAChecks() []Check {
	return []Check{
		{
			ID: "identity.external-ca", Weight: MustToStart, Title: "An external authority's issuer, usage and names are pinned",
			Why: "A certificate authority issues for others, too.", Change: "set SENTINEL_DEVICE_CA=internal, or remove it",
			Settings: []string{
				"SENTINEL_DEVICE_CA", "SENTINEL_EXTERNAL_CA_FILES", "SENTINEL_EXTERNAL_CA_ROOT_FILES", "SENTINEL_EXTERNAL_CA_USAGES",
				"SENTINEL_EXTERNAL_CA_NAME", "SENTINEL_EXTERNAL_CA_NAME_PATTERN",
			},
			Rule: func(f *Facts) Verdict {
				c := f.Config
				if c.DeviceCA != config.ExternalCA {
					return pass("certificates come from this server's own authority alone")
				}
				return pass("issued by what is in %s, for %s, named by %s", strings.Join(c.ExternalCAFiles, " and "), strings.Join(c.ExternalCAUsages, " and "), c.ExternalCAName)
			},
		},
		{
			ID: "identity.external-revocation", Weight: Must, Title: "Revocation by an external authority is checked by CRL or OCSP",
			Why: "Without it a stolen device stays a device.", Change: "set SENTINEL_REVOCATION_LISTS or SENTINEL_REVOCATION_RESPONDER",
			Settings: []string{
				"SENTINEL_REVOCATION_LISTS", "SENTINEL_REVOCATION_RESPONDER", "SENTINEL_REVOCATION_INTERVAL", "SENTINEL_REVOCATION_GRACE",
				"SENTINEL_REVOCATION_REQUIRE_NONCE", "SENTINEL_REVOCATION_PRIVATE_ADDRESSES",
			},
			Rule: func(f *Facts) Verdict {
				c := f.Config
				switch {
				case c.DeviceCA != config.ExternalCA:
					return pass("nothing to ask: certificates come from this server's own authority alone")
				case c.RevocationGrace > 0:
					return warn("what cannot be asked counts as not revoked for %s", c.RevocationGrace).todo("set SENTINEL_REVOCATION_GRACE=0s, or accept that")
				}
				return pass("by lists or a responder, every %s; what cannot be asked is refused", c.RevocationInterval)
			},
		},
	}
}
