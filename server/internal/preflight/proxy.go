package preflight

// proxyChecks are about a reverse proxy in front of the machine side. This version
// ends the devices' TLS itself and reads no certificate from a header.
func proxyChecks() []Check {
	return []Check{
		{
			ID: "network.proxy-cert-headers", Weight: MustToStart,
			Title:    "Certificate headers are believed only from a proxy that nobody can stand in for",
			Why:      "Whoever may write such a header is every device.",
			Change:   "set SENTINEL_TRUST_PROXY_CERT_HEADERS=false, or remove it",
			Settings: []string{"SENTINEL_TRUST_PROXY_CERT_HEADERS"},
			Rule: func(f *Facts) Verdict {
				if f.ProxyHeaders {
					return fail("a proxy is said to pass certificates on in headers, and this version never reads them: every device would be a stranger").
						todo("let TLS reach SENTINEL_MACHINE_LISTEN as it left the device, and leave out --expect-proxy-cert-headers")
				}
				return pass("certificate headers are ignored, whoever sends them")
			},
		},
	}
}
