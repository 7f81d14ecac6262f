package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

func TestWhoeverGetsAnAccountIsToldWhereToSignIn(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(servertest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	create := []string{"admin", "create", "--name", "nora", "--password-file", password}
	t.Run("at a server", func(t *testing.T) {
		t.Parallel()
		s := servertest.Start(t, servertest.Options{})
		if out := at(t, s, s.Person("olivia", "admin")).must(create...); !strings.Contains(out, "login --name nora --server "+s.PeopleURL+"\n") {
			t.Errorf("said %q", out)
		}
	})
	for name, c := range map[string]struct{ setting, says string }{
		"on the host":                  {"SENTINEL_PEOPLE_LISTEN=127.0.0.1:8080", "login --name nora\n"},
		"on the host, at another port": {"SENTINEL_PEOPLE_LISTEN=127.0.0.1:9191", "login --name nora --server http://localhost:9191\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errOut bytes.Buffer
			environ := []string{"SENTINEL_DATA_DIR=" + t.TempDir(), c.setting}
			if code := run(t.Context(), append(create, "--local"), nil, &out, &errOut, environ); code != exitOK || !strings.Contains(out.String(), c.says) {
				t.Errorf("%d %q %s", code, &out, &errOut)
			}
		})
	}
}
