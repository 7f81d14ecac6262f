package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

func TestSecretsThatAreMadePassTheirOwnCheck(t *testing.T) {
	t.Parallel()
	secrets := func(args ...string) []string {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), append([]string{"config", "secrets"}, args...), strings.NewReader(""), &out, &errOut, nil); code != exitOK {
			t.Fatalf("%d %s", code, &errOut)
		}
		return strings.Fields(out.String())
	}
	strict := []string{
		"SENTINEL_PROFILE=staging", "SENTINEL_DATABASE_REQUIRE_POSTGRESQL=false", "SENTINEL_PEOPLE_URL=https://console.example.net", "SENTINEL_DATA_DIR=" + t.TempDir(),
		"SENTINEL_MACHINE_URL=https://devices.example.net", "SENTINEL_MACHINE_NAMES=devices.example.net", "SENTINEL_TRUST_DOMAIN=fleet.test",
	}
	dir := filepath.Join(t.TempDir(), "secrets")
	for _, lines := range [][]string{secrets(), secrets(), secrets("--dir", dir)} {
		if _, err := config.Load(append(lines, strict...), ""); err != nil || len(lines) != 3 {
			t.Errorf("%d settings: %v", len(lines), err)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "jwt-secret"))
	if err != nil {
		t.Fatal(err)
	}
	secrets("--dir", dir)
	if after, err := os.ReadFile(filepath.Join(dir, "jwt-secret")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a secret that was there is replaced: %v", err)
	}
	if a, b := secrets()[0], secrets()[0]; a == b {
		t.Error("the same secret twice")
	}
}
