package preflight

// externalCAChecks are about certificates from elsewhere. This version issues its own.
func externalCAChecks() []Check {
	return []Check{
		{
			ID: "identity.external-ca", Weight: MustToStart, Title: "An external authority's issuer, usage and names are pinned",
			Why: "A certificate authority issues for others, too.", Change: "set SENTINEL_DEVICE_CA=internal, or remove it",
			Settings: []string{"SENTINEL_DEVICE_CA"}, Later: "external certificate authority",
		},
		{
			ID: "identity.external-revocation", Weight: Must, Title: "Revocation by an external authority is checked by CRL or OCSP",
			Why: "Without it a stolen device stays a device.", Later: "external certificate authority",
		},
	}
}
