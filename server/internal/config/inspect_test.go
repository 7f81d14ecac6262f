package config_test

import (
	"slices"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

func keysOf(ps config.Problems) (keys []string) {
	for _, p := range ps {
		keys = append(keys, p.Key)
	}
	slices.Sort(keys)
	return keys
}

func TestAnEnvironmentIsInspectedAsAnotherProfile(t *testing.T) {
	t.Parallel()
	in := config.Inspect(nil, "", config.Production)
	want := []string{
		"SENTINEL_DATABASE_URL", "SENTINEL_DATA_DIR", "SENTINEL_JWT_SECRET", "SENTINEL_MACHINE_URL", "SENTINEL_METRICS_TOKEN", "SENTINEL_PEOPLE_URL", "SENTINEL_SECRET_KEY",
	}
	if in.Written != config.Trial || in.Config.Profile != config.Production || !in.Config.DatabaseRequirePostgreSQL || !slices.Equal(keysOf(in.Problems), want) {
		t.Errorf("of nothing: %s, %v", in.Written, keysOf(in.Problems))
	}
	whole := production()
	in = config.Inspect(environ(whole), "", config.Production)
	if in.Written != config.Production || len(in.Problems) != 0 {
		t.Errorf("of a production: %v", in.Problems)
	}
	loaded := load(t, environ(whole)...)
	if !slices.Equal(loaded.Redacted(), in.Config.Redacted()) {
		t.Error("what is inspected is not what is loaded")
	}
	whole["SENTINEL_PROFILE"] = "festival"
	if in = config.Inspect(environ(whole), "", config.Production); !slices.Equal(keysOf(in.Problems), []string{"SENTINEL_PROFILE"}) {
		t.Errorf("with no such profile: %v", in.Problems)
	}
	delete(whole, "SENTINEL_JWT_SECRET")
	if in = config.Inspect(environ(whole), "", config.Production); !slices.Equal(keysOf(in.Problems), []string{"SENTINEL_JWT_SECRET", "SENTINEL_PROFILE"}) {
		t.Errorf("the rules of production were not asked: %v", in.Problems)
	}
}

func TestTheFilesThatSettingsNameAreKnown(t *testing.T) {
	t.Parallel()
	whole := production()
	delete(whole, "SENTINEL_METRICS_TOKEN")
	whole["SENTINEL_METRICS_TOKEN_FILE"] = write(t, strongC+"\n")
	got := load(t, environ(whole)...).Files()
	if len(got) != 1 || got["SENTINEL_METRICS_TOKEN"] != whole["SENTINEL_METRICS_TOKEN_FILE"] {
		t.Errorf("%v", got)
	}
}

func TestWhereADatabaseIsAndHowItIsReached(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]struct {
		mode  string
		local bool
		clear bool
	}{
		"": {}, "postgres://u:p@db.corp.test/f": {clear: true}, "postgres://u:p@db.corp.test/f?sslmode=verify-full": {mode: "verify-full"},
		"postgres://u:p@127.0.0.1/f": {local: true}, "postgres://u:p@[::1]:5432/f?sslmode=require": {mode: "require", local: true},
		"postgres://u:p@127.0.0.1,db.corp.test/f": {clear: true}, "postgres:///f?host=/run/postgresql": {local: true},
	} {
		c := &config.Config{DatabaseURL: config.Secret(url)}
		if mode, local := c.DatabaseSSLMode(); mode != want.mode || local != want.local || c.DatabaseInTheClear() != want.clear {
			t.Errorf("%s: %s, %t, %t", url, mode, local, c.DatabaseInTheClear())
		}
	}
}
