package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

func TestEveryHealthCheckIsInTheOperatorsGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(filepath.Join("..", "docs", "operator-guide.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, servertest.Options{})
	var report struct {
		Checks []struct{ Name string } `json:"checks"`
	}
	if err := json.Unmarshal([]byte(at(t, s, s.Person("vera", "viewer")).must("status", "-o", "json")), &report); err != nil || len(report.Checks) < 10 {
		t.Fatalf("%+v %v", report, err)
	}
	for _, check := range report.Checks {
		if !strings.Contains(string(guide), "\n| "+check.Name+" | ") {
			t.Errorf("docs/operator-guide.md has no row for the check %s", check.Name)
		}
	}
}

// On SQLite no command of the host runs beside the server, which has just answered.
func TestTheHintOfATokenIsOneThatWorksWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	o := at(t, s, s.Person("olivia", "operator"))
	if out := o.must("enroll-token", "create"); !strings.Contains(out, "first root\" of: sentinel-server fleet\n") || strings.Contains(out, "keys show") {
		t.Errorf("the hint: %s", out)
	}
	if out := o.must("fleet"); !strings.Contains(out, "first root") {
		t.Errorf("fleet: %s", out)
	}
}
