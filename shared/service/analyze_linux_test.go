package service_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

// systemdAnalyze is the tool's path, or empty where it is missing: then the test
// says so, and fails where SENTINEL_TEST_SYSTEMD=1 promises that it is there.
func systemdAnalyze(t *testing.T) string {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("SENTINEL_TEST_SYSTEMD") == "1" {
			t.Fatal("systemd-analyze is missing, but SENTINEL_TEST_SYSTEMD=1 is set; install systemd")
		}
		t.Log("NOT CHECKED: systemd-analyze is missing, so nothing judged the units")
		return ""
	}
	return tool
}

func TestSystemdItselfFindsTheUnitsCorrectAndClosed(t *testing.T) {
	t.Parallel()
	tool := systemdAnalyze(t)
	if tool == "" {
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The threshold is in tenths of the exposure, which goes from 0 to 10 (AGT-07).
	for threshold, spec := range map[string]service.Spec{"20": service.Server(), "40": service.Agent()} {
		spec.Executable = program // verify wants a program that exists
		file := filepath.Join(t.TempDir(), spec.Name+".service")
		if err := os.WriteFile(file, []byte(service.SystemdUnit(spec)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tool, "verify", "--man=no", "--recursive-errors=no", file).CombinedOutput(); err != nil || len(out) != 0 {
			t.Errorf("%s: systemd-analyze verify: %v\n%s", spec.Name, err, out)
		}
		if out, err := exec.Command(tool, "security", "--offline=yes", "--no-pager", "--threshold="+threshold, file).CombinedOutput(); err != nil {
			t.Errorf("%s: its exposure is above %s tenths: %v\n%s", spec.Name, threshold, err, out)
		}
	}
}
