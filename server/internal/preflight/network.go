package preflight

import (
	"net"
	"strings"
)

// networkChecks are about what the settings say of the network.
func networkChecks() []Check {
	return []Check{
		{
			ID: "network.people-listener", Weight: MustToStart,
			Title:    "People are served by TLS, or on this host only behind a reverse proxy",
			Why:      "Passwords and sessions must not cross a network in plain text.",
			Change:   "set SENTINEL_PEOPLE_TLS_CERT_FILE and SENTINEL_PEOPLE_TLS_KEY_FILE, or listen on 127.0.0.1 behind a reverse proxy that ends TLS",
			Settings: []string{"SENTINEL_PEOPLE_LISTEN", "SENTINEL_PEOPLE_TLS_CERT_FILE", "SENTINEL_PEOPLE_TLS_KEY_FILE"},
			Rule: func(f *Facts) Verdict {
				if f.Config.PeopleTLSCertFile != "" {
					return pass("TLS at %s", f.Config.PeopleListen)
				}
				return pass("plain HTTP at %s, which only this host reaches: a reverse proxy must end TLS", f.Config.PeopleListen)
			},
		},
		{
			ID: checkPeopleURL, Weight: MustToStart,
			Title:    "People open an https address",
			Why:      "Passkeys, cookies and invitations are bound to this address.",
			Change:   "set SENTINEL_PEOPLE_URL to the https address that people open",
			Settings: []string{"SENTINEL_PEOPLE_URL"},
			Rule: func(f *Facts) Verdict {
				if !strings.HasPrefix(f.Config.PeopleURL, "https://") {
					return fail("SENTINEL_PEOPLE_URL is %s", or(f.Config.PeopleURL, "not set"))
				}
				return pass("%s", f.Config.PeopleURL)
			},
		},
		{
			ID: checkDeviceURL, Weight: MustToStart,
			Title:    "Devices are given an address of this server that its certificate names",
			Why:      "A device believes exactly the names in the server's certificate.",
			Change:   "set SENTINEL_MACHINE_URL to the https address that devices reach, and name its host in SENTINEL_MACHINE_NAMES",
			Settings: []string{"SENTINEL_MACHINE_URL", "SENTINEL_MACHINE_LISTEN", "SENTINEL_MACHINE_NAMES"},
			Rule: func(f *Facts) Verdict {
				if f.Config.MachineURL == "" {
					return fail("SENTINEL_MACHINE_URL is not set, and cannot be derived from a listener on any free port")
				}
				return pass("%s", f.Config.MachineURL)
			},
		},
		{
			ID: "network.allowed-origins", Weight: MustToStart,
			Title:    "Only exact https origins may call the admin API from a browser",
			Why:      "A lone * lets the scripts of every website call it.",
			Change:   "set SENTINEL_ALLOWED_ORIGINS to the exact https origins of your dashboards, or remove it",
			Settings: []string{"SENTINEL_ALLOWED_ORIGINS"},
			Rule: func(f *Facts) Verdict {
				if len(f.Config.AllowedOrigins) == 0 {
					return pass("no origin but the console's own")
				}
				return pass("%s", strings.Join(f.Config.AllowedOrigins, ", "))
			},
		},
	}
}

// onLoopback reports whether an address to listen on is reached from this host only.
func onLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
