package preflight

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// settings are an environment that the production profile accepts.
func settings() map[string]string {
	return map[string]string{
		"SENTINEL_PROFILE": "production", "SENTINEL_DATA_DIR": "/var/lib/sentinel-server",
		"SENTINEL_DATABASE_URL":  "postgres://sentinel:dW5ndWVzc2FibGU@db.internal:5432/fleet?sslmode=verify-full",
		"SENTINEL_PEOPLE_LISTEN": "127.0.0.1:8080", "SENTINEL_PEOPLE_URL": "https://console.corp.test",
		"SENTINEL_MACHINE_LISTEN": "0.0.0.0:8443", "SENTINEL_MACHINE_NAMES": "devices.corp.test", "SENTINEL_MACHINE_URL": "https://devices.corp.test:8443",
		"SENTINEL_TRUST_DOMAIN": "fleet.corp.test", "SENTINEL_PASSKEY_ROLES": "admin,security,approver",
		"SENTINEL_SECRET_KEY":    "mZ1pT8vK0qYB3uJ6xw9Lr2HcN5dGfSa7VeQoXtMbWkRiPzDyCjUhE4FgIlOnAsq+",
		"SENTINEL_JWT_SECRET":    "u7Qk2VYx9c0WbT4mJ1hRzL8sPdG6aN3fEoXiKvMtBqCwHyUrSjDgZlAnFpIeO5T/",
		"SENTINEL_METRICS_TOKEN": "Hq8wZ3nR7bV1kX5tM9cJ2yL6gP0sD4fAoQuEiTmWxNvBzCrKjYhGlSdFaUpIeO+R",
	}
}

// inspect reads an environment with changes: "" removes a setting.
func inspect(change map[string]string) config.Inspection {
	env := settings()
	maps.Copy(env, change)
	var environ []string
	for key, value := range env {
		if value != "" {
			environ = append(environ, key+"="+value)
		}
	}
	return config.Inspect(environ, "", config.Production)
}

// certificate is one that signs itself, or an authority's.
func certificate(t *testing.T, name string, from time.Time, life time.Duration, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: from, NotAfter: from.Add(life), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: ca == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	parent, signer := template, key
	if ca != nil {
		parent, signer = ca, caKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

const years = 365 * 24 * time.Hour

// good are the facts of a deployment with nothing to be done, whose people side ends
// its own TLS.
func good(t *testing.T, change map[string]string) *Facts {
	t.Helper()
	in := inspect(change)
	ca, caKey := certificate(t, "server authority", noon.Add(-time.Hour), 5*years, nil, nil)
	own, _ := certificate(t, "devices.corp.test", noon.Add(-time.Hour), week, ca, caKey)
	console, _ := certificate(t, "console.corp.test", noon.Add(-time.Hour), years, nil, nil)
	return &Facts{
		At: noon, Written: in.Written, Config: in.Config, Problems: in.Problems, SettingsFile: "/etc/sentinel/server.env",
		Files: Files{
			DataDir: Entry{Path: "/var/lib/sentinel-server", Found: true, Mode: 0o700, Owner: 998},
			Asker:   998,
			Keys:    []PrivateKey{{"/var/lib/sentinel-server/keys/command.key", "command"}},
		},
		Database: Database{
			Asked: true, Fits: true, Schema: db.SchemaStatus{Current: 6, Wanted: 6}, Instance: &db.Instance{Profile: "production"},
			Session: db.Session{Role: "sentinel", Version: "15.1", TLS: "TLSv1.3", Fsync: "on", FullPageWrites: "on", SynchronousCommit: "on"},
		},
		Fleet: Fleet{
			Founded: true, Owner: map[string]string{"root": "fleet root", "policy": "policy", "certificates": "certificate root"},
			Bundle: &signing.PolicyBundle{Version: 3, ExpiresAt: noon.Add(3 * week)},
			Authorities: []pki.Authority{
				{ID: "d", Kind: certs.KindDevice, State: pki.Active, NotAfter: noon.Add(4 * years), Certificate: ca.Raw},
				{ID: "s", Kind: certs.KindServer, State: pki.Active, NotAfter: noon.Add(4 * years), Certificate: ca.Raw},
			},
		},
		Standing: &view.Standing{
			Accounts: []view.StandingAccount{
				{Name: "alice", Person: "alice", Role: authz.Admin, Passkeys: 1}, {Name: "sam", Person: "sam", Role: authz.Security, TOTP: true},
				{Name: "ben", Person: "ben", Role: authz.Approver, TOTP: true}, {Name: "clara", Person: "clara", Role: authz.Approver, Passkeys: 2},
				{Name: "vera", Person: "vera", Role: authz.Viewer},
			},
			Quorums: map[string]int{"commands": 1, "certificates": 1, "identity": 1}, BreakGlass: true,
			Tokens: view.Ends{Live: 2, Last: noon.Add(time.Hour)}, APITokens: view.Ends{Live: 1, Last: noon.Add(week)},
			Waiting: 1, WaitsSince: noon.Add(-time.Hour),
			Lists: []view.StandingList{{AuthorityID: "d", Ends: noon.Add(time.Hour)}, {AuthorityID: "root", Ends: noon.Add(years)}},
		},
		Listening: &Listening{
			People: Listener{Address: "127.0.0.1:8080", Answers: true, TLS: true, Versions: []string{"1.2", "1.3"}, Certificate: console, Open: 401, Ready: true},
			Machine: Listener{
				Address: "127.0.0.1:8443", Answers: true, TLS: true, Versions: []string{"1.3"}, Certificate: own, Open: 401,
			},
			Sockets: []Socket{{"127.0.0.1:8080", 8080, 998}, {"0.0.0.0:8443", 8443, 998}, {"0.0.0.0:22", 22, 0}},
		},
		Service: Service{Looked: true, Unit: "/lib/systemd/system/sentinel-server.service", Restart: "always", User: "sentinel-server"},
	}
}
