package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

func trial(t *testing.T, environ ...string) *Server {
	t.Helper()
	c, err := config.Load(append([]string{
		"SENTINEL_DATA_DIR=" + t.TempDir(), "SENTINEL_PEOPLE_LISTEN=127.0.0.1:0", "SENTINEL_MACHINE_LISTEN=127.0.0.1:0",
	}, environ...), "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(context.Background(), Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// One document lists every route of every surface, with who may call it.
func TestTheDescriptionListsEveryRouteWithItsPolicy(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]struct {
			Policy string `json:"x-policy"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	s := trial(t)
	known := map[string]bool{}
	people, err := s.PeopleRoutes()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range append(people, s.machine.Routes()...) {
		name := strings.ToLower(r.Method) + " " + r.Pattern
		known[name] = true
		if r.Policy.Kind() == "" {
			t.Errorf("%s has no policy", name)
		}
		// The console's pages are for people with browsers, and no part of the API.
		if page := r.Pattern == "/{$}" || r.Pattern == "/dashboard" || strings.HasPrefix(r.Pattern, "/dashboard/"); page || r.Policy.Kind() == httpkit.KindConsole {
			if !page {
				t.Errorf("%s takes the console's cookie outside /dashboard", name)
			}
			continue
		}
		if got := doc.Paths[r.Pattern][strings.ToLower(r.Method)].Policy; got != r.Policy.String() {
			t.Errorf("%s needs %q, the description says %q", name, r.Policy, got)
		}
		if r.Policy == httpkit.Device && !strings.HasPrefix(r.Pattern, "/api/") {
			t.Errorf("%s is a device route outside /api/", name)
		}
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			if !known[method+" "+path] {
				t.Errorf("%s %s is described and not there", method, path)
			}
		}
	}
	for _, r := range s.machine.Routes() {
		if r.Policy.Kind() == httpkit.KindPermission {
			t.Errorf("%s is for people, and on the machine listener", r.Pattern)
		}
	}
}
