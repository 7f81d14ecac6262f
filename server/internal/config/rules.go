package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// rule is what settings must satisfy together or in a profile. It is judged only
// if none of the settings it looks at has a problem already.
type rule struct {
	key     string   // blamed, and looked at
	also    []string // looked at
	in      func(Profile) bool
	broken  func(c *Config) bool
	message string
	fix     string
}

func everywhere(Profile) bool     { return true }
func outsideTrial(p Profile) bool { return p != Trial }
func production(p Profile) bool   { return p == Production }

var rules = []rule{
	{
		key: "SENTINEL_DATA_DIR", in: outsideTrial,
		broken:  func(c *Config) bool { return !filepath.IsAbs(c.DataDir) },
		message: "is a relative path, which means another place from each working directory",
		fix:     "write an absolute path, for example /var/lib/sentinel-server",
	},
	{
		key: "SENTINEL_DATABASE_URL", also: []string{"SENTINEL_DATABASE_REQUIRE_POSTGRESQL"}, in: everywhere,
		broken:  func(c *Config) bool { return c.DatabaseRequirePostgreSQL && c.DatabaseURL == "" },
		message: "is empty, which means SQLite, but SENTINEL_DATABASE_REQUIRE_POSTGRESQL is true here",
		fix:     "set it to postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full; outside production SENTINEL_DATABASE_REQUIRE_POSTGRESQL=false is another way",
	},
	{
		key: "SENTINEL_DATABASE_URL", in: production,
		broken:  func(c *Config) bool { return unprotected(c.DatabaseURL) },
		message: "reaches another host without TLS, or falls back to none",
		fix:     "add sslmode=verify-full (and sslrootcert=FILE for an authority of your own)",
	},
	{
		key: "SENTINEL_DATABASE_URL", in: outsideTrial,
		broken:  func(c *Config) bool { return guessable(c.DatabaseURL) },
		message: "holds a placeholder as its password",
		fix:     "give the database's user a password made with: openssl rand -hex 24",
	},
	{
		key: "SENTINEL_DATABASE_REQUIRE_POSTGRESQL", in: production,
		broken:  func(c *Config) bool { return !c.DatabaseRequirePostgreSQL },
		message: "is false, but production needs PostgreSQL",
		fix:     "write SENTINEL_DATABASE_REQUIRE_POSTGRESQL=true, or remove the line",
	},
	{
		key: "SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT", in: production,
		broken:  func(c *Config) bool { return c.AutoCreateSchemaOnBoot },
		message: "is true, but in production the schema changes only when an operator says so",
		fix:     "write SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT=false, or remove the line, and run: sentinel-server migrate up",
	},
	{
		key: "SENTINEL_PEOPLE_LISTEN", also: []string{"SENTINEL_PEOPLE_TLS_CERT_FILE", "SENTINEL_PEOPLE_TLS_KEY_FILE"}, in: everywhere,
		broken: func(c *Config) bool {
			host, _, _ := net.SplitHostPort(c.PeopleListen)
			return !isLoopback(host) && c.PeopleTLSCertFile == "" && c.PeopleTLSKeyFile == ""
		},
		message: "is open to other hosts without TLS, so passwords would pass in plain text",
		fix:     "set SENTINEL_PEOPLE_TLS_CERT_FILE and SENTINEL_PEOPLE_TLS_KEY_FILE, or listen on 127.0.0.1 behind a reverse proxy",
	},
	{
		key: "SENTINEL_PEOPLE_URL", also: []string{"SENTINEL_PEOPLE_TLS_CERT_FILE"}, in: everywhere,
		broken: func(c *Config) bool {
			return c.PeopleTLSCertFile != "" && strings.HasPrefix(c.PeopleURL, "http://")
		},
		message: "starts with http, but SENTINEL_PEOPLE_LISTEN serves TLS",
		fix:     "write the URL with https://",
	},
	{
		key: "SENTINEL_PEOPLE_URL", also: []string{"SENTINEL_PEOPLE_LISTEN", "SENTINEL_MACHINE_NAMES"}, in: outsideTrial,
		broken: func(c *Config) bool {
			u, _ := url.Parse(c.PeopleURL)
			return u.Scheme == "http" && (c.Profile == Production || !isLoopback(u.Hostname()))
		},
		message: "is not https, given or derived, so browsers would send passwords in plain text",
		fix:     "write the https URL that people open, for example SENTINEL_PEOPLE_URL=https://console.example.com",
	},
	{
		key: "SENTINEL_MACHINE_LISTEN", also: []string{"SENTINEL_PEOPLE_LISTEN"}, in: everywhere,
		broken: func(c *Config) bool {
			_, port, _ := net.SplitHostPort(c.MachineListen)
			return c.MachineListen == c.PeopleListen && port != "0"
		},
		message: "is the same address as SENTINEL_PEOPLE_LISTEN",
		fix:     "give one of them another port: people and devices are never served by one listener",
	},
	{
		key: "SENTINEL_MACHINE_URL", also: []string{"SENTINEL_MACHINE_LISTEN", "SENTINEL_MACHINE_NAMES"}, in: production,
		broken: func(c *Config) bool {
			u, _ := url.Parse(c.MachineURL)
			return c.MachineURL != "" && isLoopback(u.Hostname())
		},
		message: "sends every device, given or derived, to the device itself",
		fix:     "write the URL that devices reach, for example SENTINEL_MACHINE_URL=https://devices.example.com:8443, with its host in SENTINEL_MACHINE_NAMES",
	},
	{
		key: "SENTINEL_MACHINE_URL", also: []string{"SENTINEL_MACHINE_LISTEN", "SENTINEL_MACHINE_NAMES"}, in: everywhere,
		broken: func(c *Config) bool {
			u, _ := url.Parse(c.MachineURL)
			told := c.Profile == Production && isLoopback(u.Hostname()) // by the rule above
			return c.MachineURL != "" && !told && !slices.ContainsFunc(c.MachineNames, hostIs(u.Hostname()))
		},
		message: "names a host that is not among SENTINEL_MACHINE_NAMES, so no device would believe the server's certificate",
		fix:     "add its host to SENTINEL_MACHINE_NAMES, or write the URL with one of those names",
	},
	{
		key: "SENTINEL_PROXY_LISTEN", also: []string{"SENTINEL_TRUST_PROXY_CERT_HEADERS"}, in: everywhere,
		broken:  func(c *Config) bool { return c.TrustProxyCertHeaders && c.ProxyListen == "" },
		message: "is empty, but SENTINEL_TRUST_PROXY_CERT_HEADERS is true: there is nowhere that the proxy could be believed",
		fix:     "write where it connects, for example SENTINEL_PROXY_LISTEN=unix:/run/sentinel-proxy/machines.sock, or SENTINEL_TRUST_PROXY_CERT_HEADERS=false",
	},
	{
		key: "SENTINEL_PROXY_USERS", also: proxyAddresses, in: everywhere,
		broken:  func(c *Config) bool { return c.TrustProxyCertHeaders && c.proxyOn(isSocket) && len(c.ProxyUsers) == 0 },
		message: "is empty, but the proxy connects to a Unix socket: nobody would get through",
		fix:     "write the user that its workers run as, for example SENTINEL_PROXY_USERS=www-data",
	},
	{
		key: "SENTINEL_PROXY_SECRET", also: proxyAddresses, in: everywhere,
		broken:  func(c *Config) bool { return c.TrustProxyCertHeaders && c.proxyOn(isAddress) && c.ProxySecret == "" },
		message: "is not set, but the proxy connects to an address, which proves nothing",
		fix:     "make one with: " + generate + "; or use a Unix socket",
	},
	{
		key: "SENTINEL_PROXY_SECRET", also: proxyAddresses, in: everywhere,
		broken: func(c *Config) bool {
			return c.TrustProxyCertHeaders && !c.proxyOn(isAddress) && (c.ProxySecret != "" || c.ProxySecretPrevious != "")
		},
		message: "is set, but on a Unix socket the proxy is known by its user, and no secret is asked for",
		fix:     "remove it, and SENTINEL_PROXY_SECRET_PREVIOUS, or write host:port as the address",
	},
	{
		key: "SENTINEL_PROXY_LISTEN", also: proxyAddresses, in: outsideTrial,
		broken: func(c *Config) bool {
			return c.TrustProxyCertHeaders && c.proxyOn(func(listen string) bool {
				host, _, _ := net.SplitHostPort(listen)
				return isAddress(listen) && !isLoopback(host)
			})
		},
		message: "or SENTINEL_PROXY_PEOPLE_LISTEN is open to other hosts, where the proxy's secret would pass in plain text",
		fix:     "write a Unix socket, or an address such as 127.0.0.1:8444, and run the proxy on this host",
	},
	{
		key: "SENTINEL_PROXY_LISTEN", also: append([]string{"SENTINEL_PEOPLE_LISTEN", "SENTINEL_MACHINE_LISTEN"}, proxyAddresses...), in: everywhere,
		broken: func(c *Config) bool {
			return c.TrustProxyCertHeaders && c.proxyOn(func(listen string) bool {
				_, port, _ := net.SplitHostPort(listen)
				twice := listen == c.ProxyListen && listen == c.ProxyPeopleListen
				return (twice || listen == c.PeopleListen || listen == c.MachineListen) && port != "0"
			})
		},
		message: "and the other addresses to listen on must differ",
		fix:     "give each listener an address of its own: devices, people, and what the proxy brings of each",
	},
	{
		key: "SENTINEL_ALLOWED_ORIGINS", in: production,
		broken:  func(c *Config) bool { return slices.Contains(c.AllowedOrigins, "*") },
		message: "allows every website to call the admin API",
		fix:     "write the exact origins, for example https://dashboard.example.com, or remove the line",
	},
	{
		key: "SENTINEL_ALLOWED_ORIGINS", in: production,
		broken: func(c *Config) bool {
			return slices.ContainsFunc(c.AllowedOrigins, func(o string) bool { return strings.HasPrefix(o, "http://") })
		},
		message: "allows an origin without TLS, which anyone on its network can impersonate",
		fix:     "write origins with https:// only",
	},
	{
		key: "SENTINEL_DEVICE_CERT_LIFETIME", in: outsideTrial,
		broken:  func(c *Config) bool { return c.DeviceCertLifetime < time.Hour },
		message: "is below 1h, so that a short outage would lock devices out",
		fix:     "write a duration from 1h to 2160h",
	},
	{
		key: "SENTINEL_HEARTBEAT_INTERVAL", in: outsideTrial,
		broken:  func(c *Config) bool { return c.HeartbeatInterval < 5*time.Second },
		message: "is below 5s, which is for trials only",
		fix:     "write a duration from 5s to 1h",
	},
	{
		key: "SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL", in: production,
		broken:  func(c *Config) bool { return !c.RequireNewDeviceApproval },
		message: "is false, which would let devices in unseen for as long as the server runs",
		fix:     "write SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL=true, or remove the line, and open a timed enrollment window when needed",
	},
	{
		key: "SENTINEL_REQUIRE_CERT_COMMON_NAME_MATCH", also: []string{"SENTINEL_DEVICE_CA"}, in: everywhere,
		broken:  func(c *Config) bool { return !c.RequireCertCommonNameMatch && c.DeviceCA != ExternalCA },
		message: "is false, but this server's own certificates always have the device_id as their common name",
		fix:     "write SENTINEL_REQUIRE_CERT_COMMON_NAME_MATCH=true, or remove the line",
	},
	{
		key: "SENTINEL_EXTERNAL_CA_FILES", also: []string{"SENTINEL_DEVICE_CA"}, in: everywhere,
		broken:  func(c *Config) bool { return c.DeviceCA == ExternalCA && len(c.ExternalCAFiles) == 0 },
		message: "is not set, so that SENTINEL_DEVICE_CA=external believes nobody",
		fix:     "write the files with the certificates of the authorities that issue to devices",
	},
	{
		key: "SENTINEL_EXTERNAL_CA_NAME_PATTERN", also: []string{"SENTINEL_EXTERNAL_CA_NAME", "SENTINEL_DEVICE_CA"}, in: everywhere,
		broken: func(c *Config) bool {
			return c.DeviceCA == ExternalCA && c.ExternalCAName == "uri" && !strings.Contains(strings.Split(c.ExternalCANamePattern, "{device_id}")[0], "://")
		},
		message: "does not begin with the scheme and host of a URI",
		fix:     "write for example SENTINEL_EXTERNAL_CA_NAME_PATTERN=spiffe://example.com/device/{device_id}",
	},
	{
		key: "SENTINEL_EXTERNAL_CA_NAME_PATTERN", also: []string{"SENTINEL_EXTERNAL_CA_NAME", "SENTINEL_DEVICE_CA"}, in: everywhere,
		broken: func(c *Config) bool {
			return c.DeviceCA == ExternalCA && c.ExternalCAName == "cn" && c.ExternalCANamePattern != "" && c.ExternalCANamePattern != "{device_id}"
		},
		message: "is set, but a common name is the device_id itself",
		fix:     "remove the line, or write SENTINEL_EXTERNAL_CA_NAME=dns or uri",
	},
	{
		key: "SENTINEL_REVOCATION_LISTS", also: []string{"SENTINEL_REVOCATION_RESPONDER", "SENTINEL_DEVICE_CA"}, in: outsideTrial,
		broken: func(c *Config) bool {
			return c.DeviceCA == ExternalCA && len(c.RevocationLists) == 0 && c.RevocationResponder == ""
		},
		message: "is not set, and neither is SENTINEL_REVOCATION_RESPONDER, so that certificates that their authority revoked would be accepted",
		fix:     "write where the authority's revocation lists are, or SENTINEL_REVOCATION_RESPONDER=aia",
	},
	{
		key: "SENTINEL_CRL_INTERVAL", also: []string{"SENTINEL_CRL_VALIDITY"}, in: everywhere,
		broken:  func(c *Config) bool { return 2*c.CRLInterval > c.CRLValidity },
		message: "is more than half of SENTINEL_CRL_VALIDITY, so that one list that fails leaves none that holds",
		fix:     "write at most half of that",
	},
	{
		key: "SENTINEL_SESSION_IDLE", also: []string{"SENTINEL_SESSION_LIFETIME"}, in: everywhere,
		broken:  func(c *Config) bool { return c.SessionIdle > c.SessionLifetime },
		message: "is longer than SENTINEL_SESSION_LIFETIME",
		fix:     "write a duration no longer than that",
	},
}

// proxyAddresses are what says how the proxy connects.
var proxyAddresses = []string{"SENTINEL_TRUST_PROXY_CERT_HEADERS", "SENTINEL_PROXY_LISTEN", "SENTINEL_PROXY_PEOPLE_LISTEN"}

func isSocket(listen string) bool  { return strings.HasPrefix(listen, unixPrefix) }
func isAddress(listen string) bool { return listen != "" && !isSocket(listen) }

// proxyOn reports whether one of the proxy's listeners is of a kind.
func (c *Config) proxyOn(kind func(listen string) bool) bool {
	return c.ProxyListen != "" && kind(c.ProxyListen) || c.ProxyPeopleListen != "" && kind(c.ProxyPeopleListen)
}

// hostIs reports whether a name is a host, as a certificate is matched: an address
// by its value, a name in any case.
func hostIs(host string) func(string) bool {
	ip, err := netip.ParseAddr(host)
	isAddress := err == nil
	return func(name string) bool {
		if other, err := netip.ParseAddr(name); err == nil {
			return isAddress && other.Unmap() == ip.Unmap()
		}
		return strings.EqualFold(name, host)
	}
}

// brokenRules returns what is wrong beyond the known problems. The profile's own
// problem leaves open which rules would apply, so only those of all profiles do.
func (c *Config) brokenRules(known Problems) Problems {
	var found Problems
	unsure := known.has("SENTINEL_PROFILE")
	for _, r := range rules {
		if unsure && !(r.in(Trial) && r.in(Production)) || !r.in(c.Profile) {
			continue
		}
		keys := append([]string{r.key, r.key + fileSuffix}, r.also...)
		if !known.has(keys...) && r.broken(c) {
			found.add(r.key, r.message, r.fix)
		}
	}
	if !unsure {
		found = append(found, c.missingSecrets(known)...)
	}
	found = append(found, c.sharedSecrets()...)
	return append(found, c.brokenTLS(known)...)
}
