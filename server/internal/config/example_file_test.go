package config_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

var update = flag.Bool("update", false, "write .env.example anew")

const exampleFile = "../../../.env.example"

func TestTheExampleFileIsWhatTheCodeDescribes(t *testing.T) {
	want := config.Example()
	if *update {
		if err := os.WriteFile(exampleFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf(".env.example is stale; write it with: go test ./server/internal/config -update\n%s", cmp.Diff(string(got), string(want)))
	}
}

func TestTheExampleAsItIsChangesNothing(t *testing.T) {
	t.Parallel()
	defaults := load(t)
	got, err := config.Load(nil, write(t, string(config.Example())))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults.Redacted(), got.Redacted()); diff != "" {
		t.Error(diff)
	}
}

func TestEveryDefaultInTheExampleCanBeWrittenOut(t *testing.T) {
	t.Parallel()
	withDefault := map[string]bool{}
	for _, s := range config.Describe() {
		withDefault[s.Key] = s.Default != ""
	}
	var lines []string
	for line := range strings.Lines(string(config.Example())) {
		if key, _, ok := strings.Cut(strings.TrimPrefix(line, "#"), "="); ok && withDefault[key] {
			lines = append(lines, strings.TrimPrefix(line, "#"))
		}
	}
	if len(lines) < 30 {
		t.Fatalf("only %d defaults found in the example", len(lines))
	}
	got, err := config.Load(nil, write(t, strings.Join(lines, "")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(load(t).Redacted(), got.Redacted()); diff != "" {
		t.Error(diff)
	}
	if len(got.Reserved()) == 0 {
		t.Error("reserved settings were written out, but none is reported")
	}
}

func TestExamplesOfSettingsWithoutDefaultAreValid(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(string(config.Example())) {
		key, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "#"), "=")
		if !ok || value == "" || !strings.HasPrefix(key, "SENTINEL_") || strings.HasPrefix(key, "SENTINEL_PEOPLE_TLS_") {
			continue // certificate and key must exist, and are tested with real ones
		}
		environ := []string{key + "=" + value}
		if key == "SENTINEL_MACHINE_URL" {
			environ = append(environ, "SENTINEL_MACHINE_NAMES=devices.example.com") // it goes with its host's name
		}
		if _, err := config.Load(environ, ""); err != nil {
			t.Errorf("the example of %s is refused: %v", key, err)
		}
	}
}

func TestTheHelpNamesEverySettingOnce(t *testing.T) {
	t.Parallel()
	help := "\n" + config.Help()
	for _, s := range config.Describe() {
		n := strings.Count(help, "\n  "+s.Key+" ") + strings.Count(help, "\n  "+s.Key+"\n")
		if n != 1 {
			t.Errorf("%s is named %d times", s.Key, n)
		}
	}
}

// write makes a settings file that only its owner may read.
func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "server.env")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// load expects the environment to be accepted.
func load(t *testing.T, environ ...string) *config.Config {
	t.Helper()
	c, err := config.Load(environ, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}
