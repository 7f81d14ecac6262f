package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

func TestWhatIsRefusedIsSaidOfTheFlags(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	o := at(t, s, s.Person("olivia", "admin"))
	for says, args := range map[string][]string{
		": --life must be at least 1m\n":                                        {"enroll-token", "create", "--life", "1s"},
		": --life must be at most 8760h\n":                                      {"enroll-token", "create", "--life", "100000h"},
		": --uses must be at least 1\n":                                         {"enroll-token", "create", "--uses", "0"},
		": --for must be at most 168h\n":                                        {"command", "send", "ping", "--device", "a", "--for", "1000h", "--reason", "x"},
		": --limit must be at most 500\n":                                       {"audit", "list", "--limit", "9999"},
		": --limit must be a whole number\n":                                    {"audit", "list", "--limit", "x"},
		": --since must be a time such as 2026-11-23T00:00:00Z\n":               {"audit", "list", "--since", "yesterday"},
		": --state must be one of: active, suspended, revoked, retired\n":       {"device", "list", "--state", "foo"},
		": --version must be at least 0\n":                                      {"policy", "show", "--version", "-9"},
		"there is no policy bundle of version 9; see: sentinel-server policy l": {"policy", "show", "--version", "9"},
		"there is no sign-in nope; see: sentinel-server session list":           {"session", "revoke", "nope"},
		"there is no token nope; see: sentinel-server enroll-token list":        {"enroll-token", "revoke", "nope", "--reason", "x"},
		"there is no token nope; see: sentinel-server api-token list":           {"api-token", "revoke", "nope"},
		"there is no invitation nope; see: sentinel-server admin invitations":   {"admin", "uninvite", "nope"},
		"error: --life must be more than nothing and at most 720h\n":            {"policy", "build", "--out", filepath.Join(t.TempDir(), "next.json"), "--life", "1000h"},
		"error: ping: approvals must be 0 to 16; change the options\n":          {"policy", "build", "--out", filepath.Join(t.TempDir(), "next.json"), "--allow", "ping=99"},
	} {
		o.fails(says, args...)
	}
}

func TestTheAuditLogIsAskedForOneObject(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	o := at(t, s, s.Person("olivia", "admin"))
	o.must("api-token", "create", "--name", "ci", "--permission", "device:read,fleet:read")
	if out := o.must("api-token", "list"); !strings.Contains(out, "device:read, fleet:read\n") {
		t.Errorf("the permissions: %s", out)
	}
	all := o.must("audit", "list")
	for _, flag := range []string{"--object-id", "--object_id"} { // the second is how it was called
		if out := o.must("audit", "list", flag, "nothing"); strings.Count(out, "\n") != 1 || strings.Count(all, "\n") < 2 {
			t.Errorf("%s: %s", flag, out)
		}
	}
	if out := o.must("audit", "list", "--help"); !strings.Contains(out, "--object-id") || strings.Contains(out, "--object_id") {
		t.Errorf("the help: %s", out)
	}
}
