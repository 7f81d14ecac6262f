package config_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

// Made by the command that the refusals recommend.
const (
	strongA = "mZ1pT8vK0qYB3uJ6xw9Lr2HcN5dGfSa7VeQoXtMbWkRiPzDyCjUhE4FgIlOnAsq+"
	strongB = "u7Qk2VYx9c0WbT4mJ1hRzL8sPdG6aN3fEoXiKvMtBqCwHyUrSjDgZlAnFpIeO5T/"
	strongC = "Hq8wZ3nR7bV1kX5tM9cJ2yL6gP0sD4fAoQuEiTmWxNvBzCrKjYhGlSdFaUpIeO+R"
)

// production is an environment that the production profile accepts.
func production() map[string]string {
	return map[string]string{
		"SENTINEL_PROFILE":       "production",
		"SENTINEL_DATA_DIR":      "/var/lib/sentinel-server",
		"SENTINEL_DATABASE_URL":  "postgres://sentinel:dW5ndWVzc2FibGU@db.internal:5432/sentinel?sslmode=verify-full",
		"SENTINEL_PEOPLE_URL":    "https://console.corp.test",
		"SENTINEL_MACHINE_NAMES": "devices.corp.test,192.0.2.7",
		"SENTINEL_SECRET_KEY":    strongA,
		"SENTINEL_JWT_SECRET":    strongB,
		"SENTINEL_METRICS_TOKEN": strongC,
	}
}

func environ(settings map[string]string) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		list = append(list, k+"="+settings[k])
	}
	return list
}

func refused(t *testing.T, environ []string, file string) config.Problems {
	t.Helper()
	c, err := config.Load(environ, file)
	var ps config.Problems
	if !errors.As(err, &ps) || len(ps) == 0 || c != nil {
		t.Fatalf("not refused: %v", err)
	}
	for _, p := range ps {
		if p.Key == "" || p.Message == "" || p.Fix == "" {
			t.Errorf("a problem without key, message or fix: %+v", p)
		}
	}
	return ps
}

// wantOnly expects one problem, which names key and says words.
func wantOnly(t *testing.T, ps config.Problems, key, words string) {
	t.Helper()
	if len(ps) != 1 || ps[0].Key != key || !strings.Contains(ps[0].Message, words) {
		t.Errorf("want one problem with %s: ...%s...\ngot %v", key, words, ps)
	}
}

// Each of these is refused in every profile (REL-14).
func TestABadValueIsRefusedWithItsKeyAndAFix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, key, value, words string }{
		{"an unknown profile", "SENTINEL_PROFILE", "prod", "allowed words"},
		{"a profile in capitals", "SENTINEL_PROFILE", "Trial", "allowed words"},
		{"an empty profile", "SENTINEL_PROFILE", "", "empty"},
		{"an empty data directory", "SENTINEL_DATA_DIR", "", "empty"},
		{"an endless path", "SENTINEL_DATA_DIR", strings.Repeat("a/", 4000), "longer than any path"},
		{"a control character", "SENTINEL_DATA_DIR", "/var/\x1b[31mlib", "control character"},
		{"a NUL byte", "SENTINEL_DATA_DIR", "/var/lib\x00/etc", "control character"},
		{"a line break", "SENTINEL_FLEET_NAME", "one\ntwo", "control character"},
		{"bytes that are no text", "SENTINEL_FLEET_NAME", "fl\xffeet", "UTF-8"},
		{"an endless fleet name", "SENTINEL_FLEET_NAME", strings.Repeat("x", 65), "shown"},
		{"a fleet name that turns the text around", "SENTINEL_FLEET_NAME", "fleet\u202e", "shown"},
		{"a fleet name with a space at its end", "SENTINEL_FLEET_NAME", "fleet ", "shown"},

		{"a MySQL database", "SENTINEL_DATABASE_URL", "mysql://u@h/d", "PostgreSQL"},
		{"a database in key=value form", "SENTINEL_DATABASE_URL", "host=db user=u dbname=d", "PostgreSQL"},
		{"a database URL that is none", "SENTINEL_DATABASE_URL", "postgres://u:%zz@h/d", "not a URL"},
		{"a database URL without host", "SENTINEL_DATABASE_URL", "postgres:///sentinel", "no host"},
		{"a database URL without database", "SENTINEL_DATABASE_URL", "postgres://u@h:5432/", "no database"},
		{"a database URL with a fragment", "SENTINEL_DATABASE_URL", "postgres://u:p#w@h/d", ""},
		{"a database URL with a bad query", "SENTINEL_DATABASE_URL", "postgres://u@h/d?sslmode=%zz", "cannot be read"},
		{"a SQLite path as URL", "SENTINEL_DATABASE_URL", "./sentinel.db", "PostgreSQL"},
		{"yes for true", "SENTINEL_DATABASE_REQUIRE_POSTGRESQL", "yes", "true or false"},
		{"1 for true", "SENTINEL_DATABASE_REQUIRE_POSTGRESQL", "1", "true or false"},
		{"TRUE in capitals", "SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT", "TRUE", "true or false"},
		{"an empty truth", "SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT", "", "empty"},
		{"PostgreSQL required, none given", "SENTINEL_DATABASE_REQUIRE_POSTGRESQL", "true", ""},
		{"one connection", "SENTINEL_DATABASE_MAX_CONNS", "1", "range"},
		{"too many connections", "SENTINEL_DATABASE_MAX_CONNS", "501", "range"},
		{"connections in words", "SENTINEL_DATABASE_MAX_CONNS", "many", "whole number"},
		{"connections in hexadecimal", "SENTINEL_DATABASE_MAX_CONNS", "0x10", "whole number"},
		{"connections beyond any integer", "SENTINEL_DATABASE_MAX_CONNS", "99999999999999999999", "whole number"},

		{"an address without port", "SENTINEL_PEOPLE_LISTEN", "127.0.0.53", "address to listen on"},
		{"a port alone", "SENTINEL_PEOPLE_LISTEN", "8080", "address to listen on"},
		{"a port beyond the last", "SENTINEL_PEOPLE_LISTEN", "127.0.0.1:65536", "port"},
		{"a negative port", "SENTINEL_MACHINE_LISTEN", "127.0.0.1:-1", "port"},
		{"a port by name", "SENTINEL_MACHINE_LISTEN", "127.0.0.1:https", "port"},
		{"no port after the colon", "SENTINEL_MACHINE_LISTEN", "127.0.0.1:", "port"},
		{"an IPv6 address without brackets", "SENTINEL_MACHINE_LISTEN", "::1:8443", "address to listen on"},
		{"a name to listen on", "SENTINEL_MACHINE_LISTEN", "server.corp.test:8443", "name"},
		{"a URL to listen on", "SENTINEL_MACHINE_LISTEN", "https://127.0.0.1:8443", "address to listen on"},
		{"people on every address without TLS", "SENTINEL_PEOPLE_LISTEN", "0.0.0.0:8080", "without TLS"},
		{"people on every IPv6 address without TLS", "SENTINEL_PEOPLE_LISTEN", "[::]:8080", "without TLS"},
		{"people on no address without TLS", "SENTINEL_PEOPLE_LISTEN", ":8080", "without TLS"},
		{"people on a network address without TLS", "SENTINEL_PEOPLE_LISTEN", "192.0.2.7:8080", "without TLS"},
		{"devices on the people's address", "SENTINEL_MACHINE_LISTEN", "127.0.0.1:8080", "same address"},
		{"a URL with a path", "SENTINEL_PEOPLE_URL", "https://corp.test/console", "URL of a host"},
		{"a URL with a slash at its end", "SENTINEL_PEOPLE_URL", "https://corp.test/", "URL of a host"},
		{"a URL with a user", "SENTINEL_PEOPLE_URL", "https://me@corp.test", "URL of a host"},
		{"a URL with a query", "SENTINEL_PEOPLE_URL", "https://corp.test?x", "URL of a host"},
		{"a URL with another scheme", "SENTINEL_PEOPLE_URL", "ftp://corp.test", "URL of a host"},
		{"a URL without scheme", "SENTINEL_PEOPLE_URL", "corp.test:8080", "URL of a host"},
		{"a URL without port after the colon", "SENTINEL_PEOPLE_URL", "https://corp.test:", "URL of a host"},
		{"a URL with port 0", "SENTINEL_PEOPLE_URL", "https://corp.test:0", "URL of a host"},
		{"devices without TLS", "SENTINEL_MACHINE_URL", "http://devices.corp.test", "https URL"},
		{"a certificate for every name", "SENTINEL_MACHINE_NAMES", "*.corp.test", "no DNS name"},
		{"an empty item among names", "SENTINEL_MACHINE_NAMES", "corp.test,,localhost", "no DNS name"},
		{"a name with its port", "SENTINEL_MACHINE_NAMES", "corp.test:8443", "no DNS name"},
		{"a name in capitals", "SENTINEL_MACHINE_NAMES", "Corp.test", "no DNS name"},
		{"a name with an underscore", "SENTINEL_MACHINE_NAMES", "my_host", "no DNS name"},
		{"names separated by spaces", "SENTINEL_MACHINE_NAMES", "a.test b.test", "no DNS name"},
		{"a name twice", "SENTINEL_MACHINE_NAMES", "a.test,b.test,a.test", "twice"},
		{"too many names", "SENTINEL_MACHINE_NAMES", strings.TrimSuffix(strings.Repeat("a.test,", 33), ","), "32"},
		{"an origin with a path", "SENTINEL_ALLOWED_ORIGINS", "https://corp.test/app", "no origin"},
		{"the null origin", "SENTINEL_ALLOWED_ORIGINS", "null", "no origin"},
		{"a wildcard within an origin", "SENTINEL_ALLOWED_ORIGINS", "https://*.corp.test", "no origin"},
		{"a wildcard beside an origin", "SENTINEL_ALLOWED_ORIGINS", "https://corp.test,*", "beside"},
		{"an origin with the usual port", "SENTINEL_ALLOWED_ORIGINS", "https://corp.test:443", "usual port"},
		{"a role that is none", "SENTINEL_PASSKEY_ROLES", "admin,root", "no role"},
		{"an origin twice", "SENTINEL_ALLOWED_ORIGINS", "https://corp.test, https://corp.test", "twice"},

		{"an empty secret", "SENTINEL_SECRET_KEY", "", "empty"},
		{"the commonest placeholder", "SENTINEL_SECRET_KEY", "change-me", "shorter"},
		{"a long placeholder", "SENTINEL_SECRET_KEY", "change-me-before-you-go-to-the-world", "placeholder"},
		{"a placeholder in capitals", "SENTINEL_JWT_SECRET", "MY-OWN-SECRET-KEY-OF-SUFFICIENT-LENGTH", "placeholder"},
		{"31 bytes", "SENTINEL_JWT_SECRET", strongA[:31], "shorter"},
		{"one character repeated", "SENTINEL_JWT_SECRET", strings.Repeat("a", 64), "pattern"},
		{"a few characters repeated", "SENTINEL_JWT_SECRET", strings.Repeat("tr0ub4dor&", 4), "pattern"},
		{"few different characters", "SENTINEL_METRICS_TOKEN", "abcabdabeabcaabdcebaabcdeaaebdcabce", "pattern"},
		{"the alphabet", "SENTINEL_METRICS_TOKEN", "abcdefghijklmnopqrstuvwxyzXYZABC123", "pattern"},
		{"the alphabet backwards", "SENTINEL_METRICS_TOKEN", "zyxwvutsrqponmlkjihgfedcbaXYZABC123", "pattern"},
		{"a secret with a space at its end", "SENTINEL_METRICS_TOKEN", strongA + " ", "spaces"},
		{"an endless secret", "SENTINEL_METRICS_TOKEN", strings.Repeat(strongA, 65), "longer"},
		{"an empty previous secret", "SENTINEL_SECRET_KEY_PREVIOUS", "", "empty"},
		{"a weak previous secret", "SENTINEL_JWT_SECRET_PREVIOUS", "short", "shorter"},

		{"a trust domain with a scheme", "SENTINEL_TRUST_DOMAIN", "spiffe://corp.test", "trust domain"},
		{"a trust domain in capitals", "SENTINEL_TRUST_DOMAIN", "Corp.test", "trust domain"},
		{"a trust domain with a dot at its end", "SENTINEL_TRUST_DOMAIN", "corp.test.", "trust domain"},
		{"a trust domain with an empty label", "SENTINEL_TRUST_DOMAIN", "corp..test", "trust domain"},
		{"a trust domain with a slash inside", "SENTINEL_TRUST_DOMAIN", "corp/test", "trust domain"},
		{"a lifetime in days", "SENTINEL_DEVICE_CERT_LIFETIME", "7d", "duration"},
		{"a lifetime without unit", "SENTINEL_DEVICE_CERT_LIFETIME", "168", "duration"},
		{"a lifetime of four seconds", "SENTINEL_DEVICE_CERT_LIFETIME", "4s", "range"},
		{"a lifetime beyond ninety days", "SENTINEL_DEVICE_CERT_LIFETIME", "2161h", "range"},
		{"an interval of nothing", "SENTINEL_HEARTBEAT_INTERVAL", "0s", "range"},
		{"a negative window", "SENTINEL_HEARTBEAT_BATCH_WINDOW", "-3ms", "range"},
		{"a batch of none", "SENTINEL_HEARTBEAT_BATCH_SIZE", "0", "range"},
		{"a batch and a half", "SENTINEL_HEARTBEAT_BATCH_SIZE", "1.5", "whole number"},
		{"devices without certificate", "SENTINEL_REQUIRE_DEVICE_MTLS", "false", "cannot honour"},
		{"any common name", "SENTINEL_REQUIRE_CERT_COMMON_NAME_MATCH", "false", "always have"},
		{"a pattern without a place", "SENTINEL_EXTERNAL_CA_NAME_PATTERN", "edge.corp.test", "{device_id}"},
		{"a pattern with two places", "SENTINEL_EXTERNAL_CA_NAME_PATTERN", "{device_id}.{device_id}", "{device_id}"},
		{"any usage", "SENTINEL_EXTERNAL_CA_USAGES", "2.5.29.37.0", "usage"},
		{"a usage by another word", "SENTINEL_EXTERNAL_CA_USAGES", "client-auth,clientAuth", "usage"},
		{"a name of another kind", "SENTINEL_EXTERNAL_CA_NAME", "email", "allowed words"},
		{"a list over LDAP", "SENTINEL_REVOCATION_LISTS", "ldap://ca.example.com/crl", "neither a file nor a URL"},
		{"a list with a password", "SENTINEL_REVOCATION_LISTS", "https://a:b@ca.example.com/crl", "neither a file nor a URL"},
		{"a responder without scheme", "SENTINEL_REVOCATION_RESPONDER", "ocsp.example.com", "no responder"},
		{"endless grace", "SENTINEL_REVOCATION_GRACE", "73h", "range"},
		{"an authority that is believed by nobody", "SENTINEL_DEVICE_CA", "external", ""},
		{"endless reviews", "SENTINEL_ENROLLMENT_REVIEW_TTL", "10000h", "range"},
		{"no pending enrollments", "SENTINEL_MAX_PENDING_ENROLLMENTS", "0", "range"},
		{"idle longer than the lifetime", "SENTINEL_SESSION_IDLE", "13h", "longer than"},
		{"endless sessions", "SENTINEL_SESSION_LIFETIME", "1000h", "range"},
		{"short passwords", "SENTINEL_PASSWORD_MIN_LENGTH", "11", "range"},
		{"an unknown log level", "SENTINEL_LOG_LEVEL", "verbose", "allowed words"},
		{"a computed log level", "SENTINEL_LOG_LEVEL", "info+2", "allowed words"},
		{"an unknown log format", "SENTINEL_LOG_FORMAT", "xml", "allowed words"},
		{"no time to stop", "SENTINEL_SHUTDOWN_TIMEOUT", "0s", "range"},

		{"a socket by a relative path", "SENTINEL_PROXY_LISTEN", "unix:machines.sock", "Unix socket"},
		{"a socket whose path begins a block", "SENTINEL_PROXY_LISTEN", "unix:/run/x;}", "Unix socket"},
		{"a socket whose path is too long", "SENTINEL_PROXY_PEOPLE_LISTEN", "unix:/" + strings.Repeat("x", 107), "Unix socket"},
		{"a proxy on a name", "SENTINEL_PROXY_LISTEN", "proxy.example.com:8444", "listens on a name"},
		{"a user with a space", "SENTINEL_PROXY_USERS", "www data", "no user"},
		{"a secret that is a variable to the proxy", "SENTINEL_PROXY_SECRET", "x$remote_addr" + strongA, "header"},
		{"another authority", "SENTINEL_DEVICE_CA", "vault", "allowed words"},
		{"nobody about an identity", "SENTINEL_DUAL_APPROVAL_IDENTITY", "0", "range"},
		{"nobody about a certificate", "SENTINEL_DUAL_APPROVAL_CERTIFICATES", "0", "range"},
		{"ten people about a command", "SENTINEL_DUAL_APPROVAL_COMMANDS", "10", "number of people"},
		{"a command by some", "SENTINEL_DUAL_APPROVAL_COMMANDS", "yes", "number of people"},
		{"approval as a truth", "SENTINEL_DUAL_APPROVAL_RECOVERY", "true", "whole number"},
		{"approval by nobody", "SENTINEL_DUAL_APPROVAL_RECOVERY", "0", "range"},
		{"a worker that is perhaps required", "SENTINEL_REQUIRE_DELIVERY_WORKER", "maybe", "true or false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ps := refused(t, []string{c.key + "=" + c.value}, "")
			key := c.key
			if key == "SENTINEL_DATABASE_REQUIRE_POSTGRESQL" && c.value == "true" {
				key = "SENTINEL_DATABASE_URL" // what is missing is the URL
			}
			if c.value == "external" {
				key = "SENTINEL_EXTERNAL_CA_FILES" // what is missing are the files
			}
			wantOnly(t, ps, key, c.words)
			if len(c.value) > 8 && strings.Contains(ps.Error(), c.value) {
				t.Errorf("the refused value is in the error: %v", ps)
			}
		})
	}
}

// Each of these is one step away from an environment that production accepts.
func TestProductionRefusesWhatATrialMayHave(t *testing.T) {
	t.Parallel()
	if _, err := config.Load(environ(production()), ""); err != nil {
		t.Fatalf("the sound environment is refused: %v", err)
	}
	const unset = "\x00"
	for _, c := range []struct{ name, key, value, words string }{
		{"a relative data directory", "SENTINEL_DATA_DIR", "./data", "relative"},
		{"no database", "SENTINEL_DATABASE_URL", unset, "SQLite"},
		{"a database without TLS", "SENTINEL_DATABASE_URL", "postgres://u@db.internal/d?sslmode=disable", "without TLS"},
		{"a database with TLS if it likes", "SENTINEL_DATABASE_URL", "postgres://u@db.internal/d", "without TLS"},
		{"a database without TLS, its host in the query", "SENTINEL_DATABASE_URL", "postgres://u@127.0.0.1/d?host=db.internal", "without TLS"},
		{"a database's placeholder password", "SENTINEL_DATABASE_URL", "postgres://u:changeme@127.0.0.1/d", "placeholder"},
		{"the user's name as password", "SENTINEL_DATABASE_URL", "postgres://app:app@127.0.0.1/d", "placeholder"},
		{"a placeholder password in the query", "SENTINEL_DATABASE_URL", "postgres://app@127.0.0.1/d?password=postgres", "placeholder"},
		{"SQLite allowed", "SENTINEL_DATABASE_REQUIRE_POSTGRESQL", "false", "needs PostgreSQL"},
		{"a schema made at start", "SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT", "true", "operator"},
		{"no console URL", "SENTINEL_PEOPLE_URL", unset, "https"},
		{"a console without TLS", "SENTINEL_PEOPLE_URL", "http://console.corp.test", "https"},
		{"a console on this host without TLS", "SENTINEL_PEOPLE_URL", "http://localhost:8080", "https"},
		{"names of this host only", "SENTINEL_MACHINE_NAMES", "localhost,127.0.0.1", ""},
		{"a machine URL of this host", "SENTINEL_MACHINE_URL", "https://127.0.0.1:8443", "device itself"},
		{"any origin", "SENTINEL_ALLOWED_ORIGINS", "*", "every website"},
		{"an origin without TLS", "SENTINEL_ALLOWED_ORIGINS", "http://dashboard.corp.test", "without TLS"},
		{"certificates of a minute", "SENTINEL_DEVICE_CERT_LIFETIME", "1m", "below 1h"},
		{"heartbeats every second", "SENTINEL_HEARTBEAT_INTERVAL", "1s", "below 5s"},
		{"devices let in unseen", "SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL", "false", "unseen"},
		{"no secret key", "SENTINEL_SECRET_KEY", unset, "not set"},
		{"no JWT secret", "SENTINEL_JWT_SECRET", unset, "not set"},
		{"no metrics token", "SENTINEL_METRICS_TOKEN", unset, "not set"},
		{"one secret for two purposes", "SENTINEL_METRICS_TOKEN", strongA, "same value as SENTINEL_SECRET_KEY"},
		{"a rotation that rotates nothing", "SENTINEL_JWT_SECRET_PREVIOUS", strongB, "same value as SENTINEL_JWT_SECRET"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			settings := production()
			if settings[c.key] = c.value; c.value == unset {
				delete(settings, c.key)
			}
			key := c.key
			if key == "SENTINEL_MACHINE_NAMES" {
				key = "SENTINEL_MACHINE_URL" // which is derived from the names
			}
			wantOnly(t, refused(t, environ(settings), ""), key, c.words)
		})
	}
}

// A device compares the name that it was told to connect to with the server's
// certificate, which is made for the machine names.
func TestTheMachineURLNamesAHostOfTheCertificate(t *testing.T) {
	t.Parallel()
	const names = "SENTINEL_MACHINE_NAMES=devices.corp.test,192.0.2.7,2001:db8::7"
	for _, host := range []string{"devices.corp.test", "192.0.2.7", "[2001:db8::7]", "[2001:db8:0:0::7]"} {
		load(t, names, "SENTINEL_MACHINE_URL=https://"+host+":8443")
	}
	for _, host := range []string{"corp.test", "a.devices.corp.test", "devices.corp.tes", "192.0.2.70", "[2001:db8::8]", "localhost"} {
		wantOnly(t, refused(t, []string{names, "SENTINEL_MACHINE_URL=https://" + host + ":8443"}, ""), "SENTINEL_MACHINE_URL", "SENTINEL_MACHINE_NAMES")
	}
	settings := production()
	settings["SENTINEL_MACHINE_URL"] = "https://other.corp.test:8443"
	wantOnly(t, refused(t, environ(settings), ""), "SENTINEL_MACHINE_URL", "no device would believe")
}

func TestStagingIsStrictButMayRunOnSQLite(t *testing.T) {
	t.Parallel()
	settings := production()
	settings["SENTINEL_PROFILE"] = "staging"
	settings["SENTINEL_DATABASE_REQUIRE_POSTGRESQL"] = "false"
	settings["SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT"] = "true"
	delete(settings, "SENTINEL_DATABASE_URL")
	load(t, environ(settings)...)

	delete(settings, "SENTINEL_DATABASE_REQUIRE_POSTGRESQL")
	wantOnly(t, refused(t, environ(settings), ""), "SENTINEL_DATABASE_URL", "SQLite")
}

// A8, A9: what another authority's certificates need.
func TestAnotherAuthorityIsCheckedForRevocation(t *testing.T) {
	t.Parallel()
	settings := production()
	settings["SENTINEL_DEVICE_CA"], settings["SENTINEL_EXTERNAL_CA_FILES"] = "external", "/etc/sentinel/device-ca.pem"
	wantOnly(t, refused(t, environ(settings), ""), "SENTINEL_REVOCATION_LISTS", "would be accepted")
	for key, value := range map[string]string{"SENTINEL_REVOCATION_LISTS": "/var/lib/pki/a.crl,https://pki.corp.test/b.crl", "SENTINEL_REVOCATION_RESPONDER": "aia"} {
		with := maps.Clone(settings)
		with[key] = value
		load(t, environ(with)...)
	}
	external := []string{"SENTINEL_DEVICE_CA=external", "SENTINEL_EXTERNAL_CA_FILES=/etc/ca.pem"}
	load(t, external...) // a trial may try it out
	if c := load(t, append(external, "SENTINEL_REQUIRE_CERT_COMMON_NAME_MATCH=false")...); c.RequireCertCommonNameMatch {
		t.Error("the common name is needed all the same")
	}
	load(t, append(external, "SENTINEL_EXTERNAL_CA_NAME=uri", "SENTINEL_EXTERNAL_CA_NAME_PATTERN=spiffe://corp.test/device/{device_id}")...)
	wantOnly(t, refused(t, append(external, "SENTINEL_EXTERNAL_CA_NAME=uri"), ""), "SENTINEL_EXTERNAL_CA_NAME_PATTERN", "scheme")
	wantOnly(t, refused(t, append(external, "SENTINEL_EXTERNAL_CA_NAME_PATTERN={device_id}.corp.test"), ""), "SENTINEL_EXTERNAL_CA_NAME_PATTERN", "common name")
}

func TestAMissingSecretComesWithTheCommandThatMakesOne(t *testing.T) {
	t.Parallel()
	settings := production()
	delete(settings, "SENTINEL_SECRET_KEY")
	if ps := refused(t, environ(settings), ""); !strings.Contains(ps[0].Fix, "openssl rand -base64 48") {
		t.Errorf("the fix has no command: %s", ps[0].Fix)
	}
}

func TestAllProblemsAreReportedTogether(t *testing.T) {
	t.Parallel()
	ps := refused(t, []string{
		"SENTINEL_PROFILE=production",
		"SENTINEL_LOG_LEVLE=info",
		"SENTINEL_HEARTBEAT_INTERVAL=soon",
		"SENTINEL_JWT_SECRET=change-me",
		"SENTINEL_ALLOWED_ORIGINS=*",
	}, write(t, "no setting at all\nSENTINEL_LOG_FORMAT=yaml\n"))
	text := ps.Error()
	for _, key := range []string{
		"SENTINEL_LOG_LEVLE", "server.env", "SENTINEL_LOG_FORMAT", "SENTINEL_HEARTBEAT_INTERVAL", "SENTINEL_JWT_SECRET",
		"SENTINEL_ALLOWED_ORIGINS", "SENTINEL_SECRET_KEY", "SENTINEL_METRICS_TOKEN", "SENTINEL_DATABASE_URL", "SENTINEL_DATA_DIR", "SENTINEL_PEOPLE_URL",
	} {
		if !strings.Contains(text, key) {
			t.Errorf("%s is not named in:\n%s", key, text)
		}
	}
	if strings.Contains(text, "change-me") || strings.Contains(text, "soon") {
		t.Errorf("a refused value is in the error:\n%s", text)
	}
}

func TestABadProfileDoesNotRaiseProblemsOfAProfileNobodyChose(t *testing.T) {
	t.Parallel()
	wantOnly(t, refused(t, []string{"SENTINEL_PROFILE=prodution", "SENTINEL_DEVICE_CERT_LIFETIME=1m"}, ""), "SENTINEL_PROFILE", "allowed words")
}
