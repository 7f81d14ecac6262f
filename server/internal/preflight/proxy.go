package preflight

// proxyChecks are about a reverse proxy in front of the machine side.
func proxyChecks() []Check {
	return []Check{
		{
			ID: "network.proxy-cert-headers", Weight: MustToStart,
			Title:  "Certificate headers are believed only from a proxy that nobody can stand in for",
			Why:    "Whoever may write such a header is every device.",
			Change: "set SENTINEL_TRUST_PROXY_CERT_HEADERS=false, or remove it",
			Settings: []string{
				"SENTINEL_TRUST_PROXY_CERT_HEADERS", "SENTINEL_PROXY_LISTEN", "SENTINEL_PROXY_PEOPLE_LISTEN",
				"SENTINEL_PROXY_USERS", "SENTINEL_PROXY_SECRET", "SENTINEL_PROXY_SECRET_PREVIOUS",
			},
			Rule: func(f *Facts) Verdict {
				switch believed := f.Config.TrustProxyCertHeaders; {
				case f.ProxyHeaders && !believed:
					return fail("a proxy is said to pass certificates on in headers, and they are ignored: every device would be a stranger").
						todo("set SENTINEL_TRUST_PROXY_CERT_HEADERS=true and SENTINEL_PROXY_LISTEN, as docs/reverse-proxy.md shows, or leave out --expect-proxy-cert-headers")
				case believed && !f.ProxyHeaders:
					return pass("certificate headers are believed on %s alone; --expect-proxy-cert-headers asks for that", f.Config.ProxyListen)
				case believed:
					return pass("certificate headers are believed on %s alone", f.Config.ProxyListen)
				}
				return pass("certificate headers are ignored, whoever sends them")
			},
		},
	}
}
