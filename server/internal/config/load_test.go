package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

func TestWithoutAnySettingTheServerIsATrialOnLoopback(t *testing.T) {
	t.Parallel()
	c := load(t)
	if c.Profile != config.Trial || c.PeopleListen != "127.0.0.1:8080" || c.MachineListen != "127.0.0.1:8443" {
		t.Errorf("got %s on %s and %s", c.Profile, c.PeopleListen, c.MachineListen)
	}
	if c.PeopleURL != "http://localhost:8080" || c.MachineURL != "https://localhost:8443" {
		t.Errorf("derived %s and %s", c.PeopleURL, c.MachineURL)
	}
	if c.SecretKey != "" || c.DatabaseURL != "" || !c.AutoCreateSchemaOnBoot || c.DatabaseRequirePostgreSQL {
		t.Error("secrets, database or schema differ from a trial's")
	}
	if c.DeviceCertLifetime != 168*time.Hour || c.HeartbeatBatchWindow != 3*time.Millisecond || c.PasswordMinLength != 15 || c.LogLevel != slog.LevelInfo {
		t.Errorf("defaults differ: %+v", c)
	}
	if !c.RequireNewDeviceApproval || !c.RequireDeviceMTLS || !c.RequireCertCommonNameMatch || c.TrustProxyCertHeaders {
		t.Error("a default is not the safe one")
	}
}

func TestTheProfileDecidesDefaults(t *testing.T) {
	t.Parallel()
	c := load(t, environ(production())...)
	if c.AutoCreateSchemaOnBoot || !c.DatabaseRequirePostgreSQL {
		t.Errorf("production: schema at start %v, PostgreSQL required %v", c.AutoCreateSchemaOnBoot, c.DatabaseRequirePostgreSQL)
	}
}

func TestValuesArriveTyped(t *testing.T) {
	t.Parallel()
	c := load(t,
		"SENTINEL_MACHINE_NAMES=devices.corp.test, 192.0.2.7,2001:db8::7", "SENTINEL_MACHINE_LISTEN=0.0.0.0:9443",
		"SENTINEL_LOG_LEVEL=debug", "SENTINEL_LOG_FORMAT=text", "SENTINEL_HEARTBEAT_INTERVAL=1500ms",
		"SENTINEL_ALLOWED_ORIGINS=https://a.test,http://localhost:3000", "SENTINEL_JWT_SECRET="+strongA, "SENTINEL_DATABASE_URL=")
	if want := []string{"devices.corp.test", "192.0.2.7", "2001:db8::7"}; !slices.Equal(c.MachineNames, want) {
		t.Errorf("names %q", c.MachineNames)
	}
	if c.MachineURL != "https://devices.corp.test:9443" {
		t.Errorf("derived %s", c.MachineURL)
	}
	if c.LogLevel != slog.LevelDebug || c.LogFormat != config.LogText || c.HeartbeatInterval != 1500*time.Millisecond {
		t.Errorf("got %v, %v, %v", c.LogLevel, c.LogFormat, c.HeartbeatInterval)
	}
	if len(c.AllowedOrigins) != 2 || string(c.JWTSecret) != strongA {
		t.Errorf("origins %q, or the secret differs", c.AllowedOrigins)
	}
}

func TestAURLOnAnIPv6NameHasBrackets(t *testing.T) {
	t.Parallel()
	if c := load(t, "SENTINEL_MACHINE_NAMES=2001:db8::7"); c.MachineURL != "https://[2001:db8::7]:8443" {
		t.Errorf("derived %s", c.MachineURL)
	}
	load(t, "SENTINEL_MACHINE_NAMES=2001:db8::7", "SENTINEL_MACHINE_URL=https://[2001:db8::7]:8443")
}

func TestOnPortZeroTheURLIsLeftToTheListener(t *testing.T) {
	t.Parallel()
	c := load(t, "SENTINEL_PEOPLE_LISTEN=127.0.0.1:0", "SENTINEL_MACHINE_LISTEN=127.0.0.1:0")
	if c.PeopleURL != "" || c.MachineURL != "" {
		t.Errorf("derived %s and %s", c.PeopleURL, c.MachineURL)
	}
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	t.Parallel()
	file := write(t, "SENTINEL_FLEET_NAME='From the file'\nSENTINEL_TRUST_DOMAIN=file.test\nSENTINEL_JWT_SECRET_FILE=/nowhere\n")
	c, err := config.Load([]string{"SENTINEL_TRUST_DOMAIN=env.test", "SENTINEL_JWT_SECRET=" + strongA}, file)
	if err != nil {
		t.Fatal(err)
	}
	if c.FleetName != "From the file" || c.TrustDomain != "env.test" || string(c.JWTSecret) != strongA {
		t.Errorf("got %q, %q", c.FleetName, c.TrustDomain)
	}
}

func TestAnUnknownKeyIsRefusedWithTheNearestOne(t *testing.T) {
	t.Parallel()
	for given, near := range map[string]string{
		"SENTINEL_LOG_LEVLE":       "SENTINEL_LOG_LEVEL",
		"SENTINEL_JWT_SECRETS":     "SENTINEL_JWT_SECRET",
		"sentinel_profile":         "SENTINEL_PROFILE",
		"SENTINEL_JWT_SECRET_FIEL": "SENTINEL_JWT_SECRET_FILE",
		"SENTINEL_PEOPLE_URLS":     "SENTINEL_PEOPLE_URL",
		"SENTINEL_LOG_LEVEL_FILE":  "", // only secrets have files
		"SENTINEL_ZZZZZZZZZZZZZZ":  "",
		"SENTINEL_":                "",
	} {
		ps := refused(t, []string{given + "=" + strongA}, "")
		if len(ps) != 1 || !strings.Contains(ps[0].Key, given) {
			t.Errorf("%s: got %v", given, ps)
		}
		if near != "" && !strings.Contains(ps[0].Fix, "write "+near+" ") {
			t.Errorf("%s: %s is not suggested: %s", given, near, ps[0].Fix)
		}
		if strings.Contains(ps.Error(), strongA) {
			t.Errorf("%s: the value is in the error", given)
		}
	}
	if ps := refused(t, []string{"SENTINEL_ZZZZZZZZZZZZZZ=1"}, ""); strings.Contains(ps[0].Fix, "if that was meant") {
		t.Errorf("a wild guess is suggested: %s", ps[0].Fix)
	}
	if ps := refused(t, []string{"SENTINEL_\x1b[2J=1"}, ""); strings.Contains(ps.Error(), "\x1b") {
		t.Error("an escape sequence in a key reaches the terminal")
	}
}

func TestAgentClientAndOtherVariablesAreNoError(t *testing.T) {
	t.Parallel()
	load(t, "SENTINEL_AGENT_SERVER=x", "SENTINEL_SERVER=x", "SENTINEL_TOKEN=x", "SENTINEL_CA_FILE=x", "SENTINEL_OUTPUT=json",
		"SENTINEL_TEST_ANYTHING=1", "PATH=/bin", "PATH=/sbin", "=C:=C:\\", "SENTINELS=1")
	ps := refused(t, nil, write(t, "SENTINEL_TOKEN=x\nSENTINEL_AGENT_SERVER=x\nPATH=/bin\n"))
	if len(ps) != 3 {
		t.Errorf("in the server's own file they are unknown; got %v", ps)
	}
}

func TestAKeySetTwiceIsRefused(t *testing.T) {
	t.Parallel()
	wantOnly(t, refused(t, []string{"SENTINEL_LOG_LEVEL=info", "SENTINEL_LOG_LEVEL=info"}, ""), "SENTINEL_LOG_LEVEL", "twice")
	wantOnly(t, refused(t, nil, write(t, "SENTINEL_LOG_LEVEL=info\n\nSENTINEL_LOG_LEVEL=info\n")), "SENTINEL_LOG_LEVEL", "line 3: is also set in line 1")
}

func TestReservedSettingsThatWereSetAreReported(t *testing.T) {
	t.Parallel()
	c := load(t, "SENTINEL_REQUIRE_DELIVERY_WORKER=true", "SENTINEL_DUAL_APPROVAL_RECOVERY=3", "SENTINEL_LOG_LEVEL=info", "SENTINEL_SIGNER_BACKUP_MANIFEST=")
	if want := []string{"SENTINEL_DUAL_APPROVAL_RECOVERY", "SENTINEL_REQUIRE_DELIVERY_WORKER"}; !slices.Equal(c.Reserved(), want) {
		t.Errorf("got %q", c.Reserved())
	}
	if got := load(t).Reserved(); len(got) != 0 {
		t.Errorf("nothing was set, but %q is reported", got)
	}
}

func TestNoWayOfShowingAConfigShowsASecret(t *testing.T) {
	t.Parallel()
	settings := production()
	settings["SENTINEL_DATABASE_URL"] = "postgres://admin:hunter22hunter@db.internal:5432/fleet?sslmode=require&sslpassword=hunter33"
	c := load(t, environ(settings)...)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	redacted, err := json.Marshal(c.Redacted())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c, "secret", c.SecretKey)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", c, "secret", c.SecretKey)
	for how, shown := range map[string]string{
		"JSON": string(asJSON), "Redacted": string(redacted), "logs": log.String(), "%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", *c),
		"%#v": fmt.Sprintf("%#v", c), "%q": fmt.Sprintf("%q", c.JWTSecret), "%x": fmt.Sprintf("%x", c.JWTSecret), "String": c.JWTSecret.String(),
	} {
		for _, secret := range []string{strongA, strongB, strongC, "hunter22", "hunter33", fmt.Sprintf("%x", strongB)} {
			if strings.Contains(shown, secret) {
				t.Errorf("%s shows a secret: %s", how, shown)
			}
		}
	}
	if !strings.Contains(string(redacted), "postgres://db.internal:5432/fleet") {
		t.Errorf("the database's host is not shown: %s", redacted)
	}
}

func TestEverySettingIsDescribed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range config.Describe() {
		if seen[s.Key] {
			t.Errorf("%s is described twice", s.Key)
		}
		seen[s.Key] = true
		if !strings.HasPrefix(s.Key, "SENTINEL_") || !strings.HasSuffix(s.Doc, ".") || s.Section == "" {
			t.Errorf("%+v lacks its prefix, its sentence or its section", s)
		}
		if s.Secret && s.Default != "" {
			t.Errorf("the secret %s has a default", s.Key)
		}
	}
}
