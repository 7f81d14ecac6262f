package preflight

import (
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// breaks are ways to break one point and no other, by its id: settings that are
// written, or facts that are found. A should is broken into a warning.
var breaks = []struct {
	id    string
	how   string
	write map[string]string
	find  func(f *Facts)
}{
	{"profile.production", "staging", map[string]string{"SENTINEL_PROFILE": "staging"}, nil},
	{"profile.production", "no profile at all", map[string]string{"SENTINEL_PROFILE": ""}, nil},
	{"profile.production", "no such profile", map[string]string{"SENTINEL_PROFILE": "festival"}, nil},
	{"profile.settings", "an unknown setting", map[string]string{"SENTINEL_FROBNICATE": "1"}, nil},
	{"profile.settings", "a bad value", map[string]string{"SENTINEL_SHUTDOWN_TIMEOUT": "soon"}, nil},
	{"profile.settings-file", "others may change it", nil, func(f *Facts) {
		f.Problems = append(f.Problems, config.Problem{Key: f.SettingsFile, Message: "can be changed by every user", Fix: "chmod"})
	}},
	{"profile.in-effect", "a reserved setting", map[string]string{"SENTINEL_REQUIRE_JOB_COORDINATOR": "true"}, nil},

	{"network.people-listener", "plain HTTP beyond this host", map[string]string{"SENTINEL_PEOPLE_LISTEN": "0.0.0.0:8080"}, nil},
	{"network.people-url", "http", map[string]string{"SENTINEL_PEOPLE_URL": "http://console.corp.test"}, nil},
	{"network.device-url", "a name that no certificate has", map[string]string{"SENTINEL_MACHINE_URL": "https://other.corp.test:8443"}, nil},
	{"network.device-url", "this host", map[string]string{"SENTINEL_MACHINE_URL": "https://localhost:8443", "SENTINEL_MACHINE_NAMES": "localhost"}, nil},
	{"network.allowed-origins", "every origin", map[string]string{"SENTINEL_ALLOWED_ORIGINS": "*"}, nil},
	{"network.allowed-origins", "one without TLS", map[string]string{"SENTINEL_ALLOWED_ORIGINS": "http://dashboard.corp.test"}, nil},
	{"network.proxy-cert-headers", "believed", map[string]string{"SENTINEL_TRUST_PROXY_CERT_HEADERS": "true"}, nil},
	{"network.proxy-cert-headers", "expected", nil, func(f *Facts) { f.ProxyHeaders = true }},
	{"network.bound", "open to other hosts", nil, func(f *Facts) { f.Listening.Sockets[0].Address = "0.0.0.0:8080" }},
	{"network.bound", "another user's", nil, func(f *Facts) { f.Listening.Sockets[1].Owner = 1000 }},
	{"network.bound", "the console's another user's", nil, func(f *Facts) { f.Listening.Sockets[0].Owner = 1000 }},
	{"network.bound", "both another user's", nil, func(f *Facts) { f.Listening.Sockets[0].Owner, f.Listening.Sockets[1].Owner = 1000, 1000 }},
	{"network.tls-versions", "TLS 1.1 for people", nil, func(f *Facts) { f.Listening.People.Versions = []string{"1.1", "1.2"} }},
	{"network.tls-versions", "TLS 1.2 for devices", nil, func(f *Facts) { f.Listening.Machine.Versions = []string{"1.2", "1.3"} }},
	{"network.tls-versions", "no TLS for devices", nil, func(f *Facts) {
		f.Listening.Machine.Versions, f.Listening.Machine.TLS, f.Listening.Machine.Certificate = nil, false, nil
	}},
	{"network.no-resumption", "tickets", nil, func(f *Facts) { f.Listening.Machine.Resumes = true }},
	{"network.machine-certificate", "another authority's", nil, func(f *Facts) { f.Listening.Machine.Certificate = f.Listening.People.Certificate }},
	{"network.machine-certificate", "another host's", map[string]string{"SENTINEL_MACHINE_URL": "https://new.corp.test:8443", "SENTINEL_MACHINE_NAMES": "new.corp.test"}, nil},
	{"network.machine-identity", "answered", nil, func(f *Facts) { f.Listening.Machine.Open = 200 }},
	{"network.machine-identity", "no HTTP", nil, func(f *Facts) { f.Listening.Machine.Open = 0 }},
	{"network.people-certificate", "another host's", map[string]string{"SENTINEL_PEOPLE_URL": "https://other.corp.test"}, nil},
	{"network.people-certificate", "expired", nil, func(f *Facts) { f.Listening.People.Certificate.NotAfter = noon }},
	{"network.people-certificate", "not valid yet", nil, func(f *Facts) { f.Listening.People.Certificate.NotBefore = noon.Add(1) }},
	{"network.people-certificate", "none", nil, func(f *Facts) { f.Listening.People.Certificate = nil }},
	{"network.metrics", "open", nil, func(f *Facts) { f.Listening.People.Open = 200 }},

	{"secrets.secret-key", "missing", map[string]string{"SENTINEL_SECRET_KEY": ""}, nil},
	{"secrets.secret-key", "a placeholder", map[string]string{"SENTINEL_SECRET_KEY": "change-me-change-me-change-me-change-me"}, nil},
	{"secrets.jwt-secret", "missing", map[string]string{"SENTINEL_JWT_SECRET": ""}, nil},
	{"secrets.jwt-secret", "another's", map[string]string{"SENTINEL_JWT_SECRET": settings()["SENTINEL_SECRET_KEY"]}, nil},
	{"secrets.metrics-token", "missing", map[string]string{"SENTINEL_METRICS_TOKEN": ""}, nil},
	{"secrets.metrics-token", "short", map[string]string{"SENTINEL_METRICS_TOKEN": "abcdef"}, nil},
	{"secrets.opens-database", "another key", nil, func(f *Facts) { f.Fleet.Sealed = "sealed under another key" }},
	{"secrets.rotation", "half done", map[string]string{"SENTINEL_JWT_SECRET_PREVIOUS": "Lk3nVb8xQz5wPm1cRt7yHd2fGs9jUa4eOi6vTq0B"}, nil},
	{"secrets.data-directory", "relative", map[string]string{"SENTINEL_DATA_DIR": "data"}, nil},
	{"secrets.data-directory", "missing", nil, func(f *Facts) { f.Files.DataDir.Found = false }},
	{"secrets.data-directory", "open", nil, func(f *Facts) { f.Files.DataDir.Mode = 0o750 }},
	{"secrets.changeable", "by others", nil, func(f *Facts) { f.Files.Open = []Entry{{"/etc/sentinel", true, 0o777, 0}} }},
	{"secrets.changeable", "by another owner", nil, func(f *Facts) { f.Files.Foreign = []Entry{{"/etc/sentinel", true, 0o755, 1000}} }},
	{"secrets.outside-repository", "a checkout", nil, func(f *Facts) { f.Files.Repository = "/srv/fleet" }},

	{"keys.fleet-root", "none", nil, func(f *Facts) { f.Fleet = Fleet{Authorities: f.Fleet.Authorities} }},
	{"keys.fleet-root", "changed", nil, func(f *Facts) { f.Fleet.Founded, f.Fleet.Wrong = false, "the stored fleet root does not verify" }},
	{"keys.out-of-reach", "the root's", nil, func(f *Facts) { f.Files.Keys = append(f.Files.Keys, PrivateKey{"/etc/sentinel/a", "root"}) }},
	{"keys.out-of-reach", "the policy's", nil, func(f *Facts) { f.Files.Keys = append(f.Files.Keys, PrivateKey{"/etc/sentinel/a", "policy"}) }},
	{"keys.out-of-reach", "the certificates'", nil, func(f *Facts) { f.Files.Keys = append(f.Files.Keys, PrivateKey{"/etc/sentinel/a", "certificates"}) }},
	{"keys.out-of-reach", "by its name", nil, func(f *Facts) { f.Files.Keys = append(f.Files.Keys, PrivateKey{"/etc/sentinel/fleet-root.key", "?"}) }},
	{"keys.founded-elsewhere", "a trial", nil, func(f *Facts) { f.Standing.BornOnTrial = true }},
	{"keys.command", "not there", nil, func(f *Facts) { f.Fleet.CommandKey = "command.key is not there" }},
	{"keys.external-signers", "quoted as for a shell", map[string]string{"SENTINEL_SIGNER_DEVICE_CA": `exec:/usr/bin/sentinel-pkcs11 "a b"`}, nil},
	{"keys.policy-bundle", "expired", nil, func(f *Facts) { f.Fleet.Bundle.ExpiresAt = noon }},
	{"keys.policy-bundle", "not valid yet", nil, func(f *Facts) { f.Fleet.Bundle.IssuedAt = noon.Add(signing.ClockSkew + 1) }},

	{"enrollment.approval", "false", map[string]string{"SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL": "false"}, nil},
	{"enrollment.window", "open", nil, func(f *Facts) { f.Standing.WindowUntil = noon.Add(time.Hour) }},
	{"enrollment.tokens", "long", nil, func(f *Facts) { f.Standing.Tokens.Last = noon.Add(years) }},
	{"enrollment.tokens", "endless", nil, func(f *Facts) { f.Standing.Tokens.Endless = 1 }},
	{"enrollment.reviews", "old", nil, func(f *Facts) { f.Standing.WaitsSince = noon.Add(-25 * time.Hour) }},
	{"identity.common-name", "false", map[string]string{"SENTINEL_REQUIRE_CERT_COMMON_NAME_MATCH": "false"}, nil},
	{"identity.device-mtls", "false", map[string]string{"SENTINEL_REQUIRE_DEVICE_MTLS": "false"}, nil},
	{"identity.lifetimes", "short certificates", map[string]string{"SENTINEL_DEVICE_CERT_LIFETIME": "30m"}, nil},
	{"identity.lifetimes", "fast heartbeats", map[string]string{"SENTINEL_HEARTBEAT_INTERVAL": "1s"}, nil},
	{"identity.revocation", "lists that lapse", map[string]string{"SENTINEL_CRL_INTERVAL": "50m"}, nil},
	{"identity.lists", "run out", nil, func(f *Facts) { f.Standing.Lists[0].Ends = noon }},
	{"identity.lists", "the root's run out", nil, func(f *Facts) { f.Standing.Lists[1].Ends = noon.Add(-1) }},
	{"identity.authorities", "none", nil, func(f *Facts) { f.Fleet.Authorities[0].State, f.Fleet.Authorities[1].State = "retired", "retired" }},
	{"identity.authorities", "ending", nil, func(f *Facts) { f.Fleet.Authorities[0].NotAfter = noon.Add(time.Hour) }},
	{"identity.issuing", "stopped", nil, func(f *Facts) { f.Standing.StoppedAt = noon }},
	{"identity.trust-domain", "the default", map[string]string{"SENTINEL_TRUST_DOMAIN": ""}, nil},
	{"identity.first-use", "one", nil, func(f *Facts) { f.Standing.FirstUse = 1 }},
	{"identity.external-ca", "nobody is named", map[string]string{"SENTINEL_DEVICE_CA": "external", "SENTINEL_REVOCATION_RESPONDER": "aia"}, nil},
	{"identity.external-revocation", "nobody is asked", map[string]string{"SENTINEL_DEVICE_CA": "external", "SENTINEL_EXTERNAL_CA_FILES": "/etc/sentinel/ca.pem"}, nil},

	{"people.admin", "nobody", nil, func(f *Facts) { f.Standing.Accounts[0].Role, f.Standing.Accounts[0].Grants = "security", nil }},
	{"people.second-factors", "one without", nil, func(f *Facts) { f.Standing.Accounts[1].TOTP = false }},
	{"people.second-factors", "a viewer who may more", nil, func(f *Facts) { f.Standing.Accounts[4].Grants = append(f.Standing.Accounts[4].Grants, "device:revoke") }},
	{"people.two-approvers", "one", nil, func(f *Facts) { f.Standing.Accounts = append(f.Standing.Accounts[:3:3], f.Standing.Accounts[4]) }},
	{"people.two-approvers", "two accounts of one", nil, func(f *Facts) { f.Standing.Accounts[3].Person = "ben" }},
	{"people.passkeys", "approvers", map[string]string{"SENTINEL_PASSKEY_ROLES": "admin,security"}, nil},
	{"people.sessions", "idle above life", map[string]string{"SENTINEL_SESSION_IDLE": "13h"}, nil},
	{"people.break-glass", "none", nil, func(f *Facts) { f.Standing.BreakGlass = false }},
	{"people.api-tokens", "long", nil, func(f *Facts) { f.Standing.APITokens.Last = noon.Add(years) }},
	{"people.api-tokens", "endless", nil, func(f *Facts) { f.Standing.APITokens.Endless = 1 }},
	{"change.dual-approval-commands", "nobody", map[string]string{"SENTINEL_DUAL_APPROVAL_COMMANDS": "0"}, nil},
	{"change.dual-approval-commands", "false", map[string]string{"SENTINEL_DUAL_APPROVAL_COMMANDS": "false"}, nil},
	{"change.dual-approval-certificates", "nobody", map[string]string{"SENTINEL_DUAL_APPROVAL_CERTIFICATES": "0"}, nil},
	{"change.dual-approval-identity", "nobody", map[string]string{"SENTINEL_DUAL_APPROVAL_IDENTITY": "0"}, nil},
	{"change.approval-delay", "none", map[string]string{"SENTINEL_APPROVAL_DELAY": "0s"}, nil},
	{"change.fresh-sign-in", "none", map[string]string{"SENTINEL_APPROVAL_FRESH_SIGN_IN": "0s"}, nil},

	{"services.running", "one is silent", nil, func(f *Facts) { f.Listening.Machine.Answers = false }},
	{"services.running", "both are silent", nil, func(f *Facts) { f.Listening.Machine.Answers, f.Listening.People.Answers = false, false }},
	{"services.ready", "not ready", nil, func(f *Facts) { f.Listening.People.Ready = false }},
	{"services.recovery", "no unit", nil, func(f *Facts) { f.Service.Unit = "" }},
	{"services.recovery", "no restart", nil, func(f *Facts) { f.Service.Restart = "no" }},
	{"services.user", "root", nil, func(f *Facts) { f.Service.User = "root" }},
	{"services.user", "all of it root's", nil, func(f *Facts) {
		f.Files.DataDir.Owner, f.Files.Asker, f.Listening.Sockets[0].Owner, f.Listening.Sockets[1].Owner = 0, 0, 0, 0
	}},
	{"services.user", "nobody in the unit", nil, func(f *Facts) { f.Service.User = "" }},

	{"database.postgresql", "SQLite", map[string]string{"SENTINEL_DATABASE_REQUIRE_POSTGRESQL": "false"}, nil},
	{"database.postgresql", "no URL", map[string]string{"SENTINEL_DATABASE_URL": ""}, nil},
	{"database.postgresql", "no such URL", map[string]string{"SENTINEL_DATABASE_URL": "mysql://db/fleet"}, nil},
	{"database.password", "a placeholder", map[string]string{"SENTINEL_DATABASE_URL": "postgres://sentinel:changeme@db.internal:5432/fleet?sslmode=verify-full"}, nil},
	{"database.tls", "none", map[string]string{"SENTINEL_DATABASE_URL": "postgres://sentinel:dW5ndWVzc2FibGU@db.internal:5432/fleet"}, nil},
	{"database.tls", "may fall back", map[string]string{"SENTINEL_DATABASE_URL": "postgres://sentinel:dW5ndWVzc2FibGU@db.internal:5432/fleet?sslmode=prefer"}, nil},
	{"database.reachable", "refused", nil, func(f *Facts) { f.Database.Refused, f.Standing = "it cannot be reached", nil }},
	{"database.role", "a superuser", nil, func(f *Facts) { f.Database.Session.Powers = []string{"SUPERUSER"} }},
	{"database.durable", "no fsync", nil, func(f *Facts) { f.Database.Session.Fsync = "off" }},
	{"database.durable", "torn pages", nil, func(f *Facts) { f.Database.Session.FullPageWrites = "off" }},
	{"database.durable", "no wait", nil, func(f *Facts) { f.Database.Session.SynchronousCommit = "off" }},
	{"database.schema", "older", nil, func(f *Facts) { f.Database.Fits, f.Database.Schema.Current, f.Standing = false, 5, nil }},
	{"database.schema", "unreadable", nil, func(f *Facts) { f.Database.Unread, f.Standing = "PostgreSQL says 42501: permission denied", nil }},
	{"database.schema-by-hand", "at the start", map[string]string{"SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT": "true"}, nil},
	{"database.not-behind", "older", nil, func(f *Facts) { f.Database.Behind = "the database is older than this node remembers" }},
	{"database.mark", "a staging's", nil, func(f *Facts) { f.Database.Instance.Profile = "staging" }},
}

func TestAGoodDeploymentPasses(t *testing.T) {
	t.Parallel()
	later := map[string]bool{}
	for _, s := range Sections() {
		for _, c := range s.Checks {
			later[c.ID] = c.Later != ""
		}
	}
	report := Judge(good(t, nil))
	for _, r := range report.Results {
		want := Pass
		if later[r.ID] {
			want = NotApplicable
		}
		if r.Status != want || r.Found == "" || r.Change != "" || later[r.ID] != strings.HasPrefix(r.Found, "not in effect") {
			t.Errorf("%s: %s, %q, to do %q", r.ID, r.Status, r.Found, r.Change)
		}
	}
	if report.Failed != 0 || report.Refuse() != nil || report.Profile != config.Production {
		t.Errorf("%+v", report)
	}
}

// A25: breaking a point fails it and no other. What rests on it waits for it.
func TestBreakingAPointFailsThatPointOnly(t *testing.T) {
	t.Parallel()
	weight := map[string]Weight{}
	broken := map[string]bool{}
	for _, s := range Sections() {
		for _, c := range s.Checks {
			weight[c.ID] = c.Weight
			if c.Later == "" {
				broken[c.ID] = false
			}
		}
	}
	for _, b := range breaks {
		broken[b.id] = true
		t.Run(b.id+"/"+b.how, func(t *testing.T) {
			t.Parallel()
			f := good(t, b.write)
			if b.find != nil {
				b.find(f)
			}
			report := Judge(f)
			want, failed := Fail, 1
			if weight[b.id] == Should {
				want, failed = Warn, 0
			}
			for _, r := range report.Results {
				switch {
				case r.ID == b.id:
					if r.Status != want || r.Found == "" || r.Change == "" {
						t.Errorf("it is %s: %q, to do %q", r.Status, r.Found, r.Change)
					}
				case r.Status == Fail || r.Status == Warn:
					t.Errorf("%s %ss, too: %s", r.ID, r.Status, r.Found)
				case r.WaitsFor != "" && r.WaitsFor != b.id:
					t.Errorf("%s waits for %s", r.ID, r.WaitsFor)
				}
			}
			if report.Failed != failed || len(report.Failures()) != failed {
				t.Errorf("%d failed", report.Failed)
			}
			if refused := report.Refuse() != nil; refused != (weight[b.id] == MustToStart) {
				t.Errorf("the start is refused: %t", refused)
			}
		})
	}
	for id, tried := range broken {
		if !tried {
			t.Errorf("nothing breaks %s", id)
		}
	}
}

// What may be known only later is warned of before.
func TestWhatEndsSoonIsWarnedOf(t *testing.T) {
	t.Parallel()
	for id, find := range map[string]func(f *Facts){
		"keys.policy-bundle":         func(f *Facts) { f.Fleet.Bundle.ExpiresAt = noon.Add(week - 1) },
		"network.people-certificate": func(f *Facts) { f.Listening.People.Certificate.NotAfter = noon.Add(certificateSoon - 1) },
		"identity.authorities":       func(f *Facts) { f.Fleet.Authorities[1].NotAfter = noon.Add(authoritySoon - 1) },
		"keys.out-of-reach":          func(f *Facts) { f.Files.Cut = true },
	} {
		f := good(t, nil)
		find(f)
		if list := Judge(f).Warnings(); len(list) != 1 || list[0].ID != id || list[0].Change == "" {
			t.Errorf("%s: %+v", id, list)
		}
	}
}

// What holds only in part is warned of, and of nothing else.
func TestWhatHoldsInPartIsWarnedOf(t *testing.T) {
	t.Parallel()
	for how, c := range map[string]struct {
		id    string
		write map[string]string
		find  func(f *Facts)
	}{
		"a database whose name nobody asks": {"database.tls", map[string]string{"SENTINEL_DATABASE_URL": "postgres://sentinel:dW5ndWVzc2FibGU@db.internal:5432/fleet?sslmode=require"}, nil},
		"a pooler without TLS":              {"database.tls", nil, func(f *Facts) { f.Database.Session.TLS = "" }},
		"a quorum that is recorded lower":   {"change.dual-approval-identity", nil, func(f *Facts) { f.Standing.Quorums["identity"] = 0 }},
		"a list that the start makes anew":  {"identity.lists", nil, func(f *Facts) { f.Standing.Lists[0].Ends, f.Listening = noon, nil }},
		"revocation that may go unasked": {"identity.external-revocation", map[string]string{
			"SENTINEL_DEVICE_CA": "external", "SENTINEL_EXTERNAL_CA_FILES": "/etc/sentinel/ca.pem", "SENTINEL_REVOCATION_RESPONDER": "aia", "SENTINEL_REVOCATION_GRACE": "1h",
		}, nil},
	} {
		f := good(t, c.write)
		if c.find != nil {
			c.find(f)
		}
		report := Judge(f)
		if list := report.Warnings(); len(list) != 1 || list[0].ID != c.id || list[0].Change == "" || report.Failed != 0 {
			t.Errorf("%s: %+v, %+v", how, list, report.Failures())
		}
	}
}

// What is asked for elsewhere, or cannot be asked here, is neither good nor bad.
func TestWhatIsNotHereToJudgeIsToldApart(t *testing.T) {
	t.Parallel()
	for how, c := range map[string]struct {
		id, waits string
		find      func(f *Facts)
	}{
		"no systemd":                     {"services.recovery", "", func(f *Facts) { f.Service = Service{} }},
		"no user ids":                    {"services.user", "", func(f *Facts) { f.Service, f.Files.DataDir.Owner = Service{}, -1 }},
		"whose server it is":             {"services.user", checkDataDir, func(f *Facts) { f.Service, f.Files.DataDir = Service{}, Entry{Owner: -1} }},
		"who listens":                    {"network.bound", "", func(f *Facts) { f.Listening.Sockets = nil }},
		"a console behind a proxy":       {"network.people-certificate", "", func(f *Facts) { f.Listening.People.TLS = false }},
		"a console that does not answer": {"network.people-certificate", checkRunning, func(f *Facts) { f.Listening.People.Answers = false }},
		"metrics that do not answer":     {"network.metrics", checkRunning, func(f *Facts) { f.Listening.People.Answers = false }},
		"no issuing key yet":             {"secrets.opens-database", "", func(f *Facts) { f.Fleet.Authorities = nil }},
	} {
		f := good(t, nil)
		c.find(f)
		for _, r := range Judge(f).Results {
			if r.ID == c.id && (r.Status != NotApplicable || r.WaitsFor != c.waits || r.Found == "") {
				t.Errorf("%s: %+v", how, r)
			}
		}
	}
}

// Whoever cannot read what the server reads has not looked.
func TestAnotherUserThanTheServersSaysSo(t *testing.T) {
	t.Parallel()
	for asker, want := range map[int]Status{998: Pass, 0: Pass, -1: Pass, 1000: Warn} {
		f := good(t, nil)
		f.Files.Asker = asker
		if v := outOfReach(f); v.Status != want {
			t.Errorf("as user %d: %+v", asker, v)
		}
	}
}

// Before a start nothing listens, and nobody is there yet: neither stops it.
func TestBeforeTheFirstStartNothingThatComesLaterStopsIt(t *testing.T) {
	t.Parallel()
	f := good(t, nil)
	f.Listening, f.Standing.Accounts, f.Standing.Lists, f.Database.Instance = nil, nil, f.Standing.Lists[1:], nil
	f.Fleet.CommandKey, f.Fleet.Bundle.ExpiresAt = "command.key is not there", noon
	report := Judge(f)
	if err := report.Refuse(); err != nil {
		t.Error(err)
	}
	for _, r := range report.Failures() {
		if r.Starts {
			t.Errorf("%s: %s", r.ID, r.Found)
		}
	}
	if report.Failed != 4 { // admin, two approvers, command key, policy bundle
		t.Errorf("%+v", report.Failures())
	}
}

func TestARefusalNamesEachFailureAndItsRemedyAndNoSecret(t *testing.T) {
	t.Parallel()
	f := good(t, map[string]string{"SENTINEL_ALLOWED_ORIGINS": "*", "SENTINEL_JWT_SECRET": "changeme-canary-canary-canary-canary", "SENTINEL_DATABASE_URL": "postgres://sentinel:canaryCanary@db.internal/fleet"})
	err := Judge(f).Refuse()
	if err == nil {
		t.Fatal("not refused")
	}
	text := err.Error()
	for _, want := range []string{"3 of its musts", "network.allowed-origins", "secrets.jwt-secret", "database.tls", "sslmode=verify-full", "openssl rand", "sentinel-server preflight"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "canary") {
		t.Errorf("a secret is in\n%s", text)
	}
}

func TestThePointsAreToldApartAndSayWhatToDo(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	owner := map[string]string{}
	for _, s := range Sections() {
		for _, c := range s.Checks {
			if seen[c.ID] || c.Title == "" || c.Why == "" || (c.Rule == nil) == (c.Later == "") || c.Later == "" && c.Change == "" {
				t.Errorf("%+v", c)
			}
			seen[c.ID] = true
			for _, key := range c.Settings {
				if owner[key] != "" {
					t.Errorf("%s and %s both judge %s", c.ID, owner[key], key)
				}
				owner[key] = c.ID
			}
		}
	}
	known := map[string]bool{}
	for _, s := range config.Describe() {
		known[s.Key] = true
	}
	for key, id := range owner {
		if !known[key] {
			t.Errorf("%s judges %s, which is no setting", id, key)
		}
	}
	for _, id := range []string{checkPeopleURL, checkDeviceURL, checkSecretKey, checkDataDir, checkFleetRoot, checkTLS, checkRunning, checkPostgreSQL, checkDatabaseTLS, checkReachable, checkSchema} {
		if !seen[id] {
			t.Errorf("others wait for %s, which is no check", id)
		}
	}
}
