package config_test

import (
	"slices"
	"testing"
)

const socket = "unix:/run/sentinel-proxy/machines.sock"

func TestAProxyIsSetUpInOneOfTwoWays(t *testing.T) {
	t.Parallel()
	for name, environ := range map[string][]string{
		"a socket":             {"SENTINEL_PROXY_LISTEN=" + socket, "SENTINEL_PROXY_USERS=www-data,33"},
		"two sockets":          {"SENTINEL_PROXY_LISTEN=" + socket, "SENTINEL_PROXY_PEOPLE_LISTEN=unix:/run/sentinel-proxy/people.sock", "SENTINEL_PROXY_USERS=nginx"},
		"an address":           {"SENTINEL_PROXY_LISTEN=127.0.0.1:8444", "SENTINEL_PROXY_SECRET=" + strongA, "SENTINEL_PROXY_SECRET_PREVIOUS=" + strongB},
		"an address of a port": {"SENTINEL_PROXY_LISTEN=127.0.0.1:0", "SENTINEL_PROXY_PEOPLE_LISTEN=127.0.0.1:0", "SENTINEL_PROXY_SECRET=" + strongA},
		"one of each":          {"SENTINEL_PROXY_LISTEN=" + socket, "SENTINEL_PROXY_PEOPLE_LISTEN=[::1]:8444", "SENTINEL_PROXY_USERS=www-data", "SENTINEL_PROXY_SECRET=" + strongA},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := load(t, append(environ, "SENTINEL_TRUST_PROXY_CERT_HEADERS=true")...)
			if !c.TrustProxyCertHeaders || c.ProxyListen == "" {
				t.Errorf("%t on %q", c.TrustProxyCertHeaders, c.ProxyListen)
			}
		})
	}
	if c := load(t, "SENTINEL_PROXY_LISTEN="+socket); c.TrustProxyCertHeaders {
		t.Error("an address alone has the proxy believed")
	}
	if slices.Contains(load(t, "SENTINEL_TRUST_PROXY_CERT_HEADERS=true", "SENTINEL_PROXY_LISTEN="+socket, "SENTINEL_PROXY_USERS=www-data").Reserved(), "SENTINEL_TRUST_PROXY_CERT_HEADERS") {
		t.Error("it is said not to be in effect")
	}
}

// PRX-04, PRX-08: a proxy that nothing proves is no setting.
func TestAProxyThatNothingProvesIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key, words string
		environ    []string
	}{
		"nowhere to be believed":   {"SENTINEL_PROXY_LISTEN", "is empty", nil},
		"a socket of nobody":       {"SENTINEL_PROXY_USERS", "nobody would get through", []string{"SENTINEL_PROXY_LISTEN=" + socket}},
		"an address alone":         {"SENTINEL_PROXY_SECRET", "proves nothing", []string{"SENTINEL_PROXY_LISTEN=127.0.0.1:8444"}},
		"people by address alone":  {"SENTINEL_PROXY_SECRET", "proves nothing", []string{"SENTINEL_PROXY_LISTEN=" + socket, "SENTINEL_PROXY_USERS=www-data", "SENTINEL_PROXY_PEOPLE_LISTEN=127.0.0.1:8444"}},
		"a short secret":           {"SENTINEL_PROXY_SECRET", "shorter", []string{"SENTINEL_PROXY_LISTEN=127.0.0.1:8444", "SENTINEL_PROXY_SECRET=" + strongA[:31]}},
		"a secret of another use":  {"SENTINEL_JWT_SECRET", "same value", []string{"SENTINEL_PROXY_LISTEN=127.0.0.1:8444", "SENTINEL_PROXY_SECRET=" + strongB, "SENTINEL_JWT_SECRET=" + strongB}},
		"a secret nobody asks for": {"SENTINEL_PROXY_SECRET", "no secret is asked for", []string{"SENTINEL_PROXY_LISTEN=" + socket, "SENTINEL_PROXY_USERS=www-data", "SENTINEL_PROXY_SECRET=" + strongA}},
		"the devices' own address": {"SENTINEL_PROXY_LISTEN", "must differ", []string{"SENTINEL_PROXY_LISTEN=127.0.0.1:8443", "SENTINEL_PROXY_SECRET=" + strongA}},
		"people and devices as one": {"SENTINEL_PROXY_LISTEN", "must differ", []string{
			"SENTINEL_PROXY_LISTEN=" + socket, "SENTINEL_PROXY_PEOPLE_LISTEN=" + socket, "SENTINEL_PROXY_USERS=www-data",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantOnly(t, refused(t, append(c.environ, "SENTINEL_TRUST_PROXY_CERT_HEADERS=true"), ""), c.key, c.words)
		})
	}
	t.Run("in plain text to other hosts", func(t *testing.T) {
		t.Parallel()
		settings := production()
		settings["SENTINEL_TRUST_PROXY_CERT_HEADERS"], settings["SENTINEL_PROXY_LISTEN"] = "true", "0.0.0.0:8444"
		settings["SENTINEL_PROXY_SECRET"] = strongA + "x"
		wantOnly(t, refused(t, environ(settings), ""), "SENTINEL_PROXY_LISTEN", "plain text")
		settings["SENTINEL_PROXY_LISTEN"] = "127.0.0.1:8444"
		load(t, environ(settings)...)
	})
}
