package nginx

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestThePackageHasTheUnits(t *testing.T) {
	t.Parallel()
	recipe := read(t, "../../.goreleaser.yaml")
	_, server, _ := strings.Cut(recipe, "\nnfpms:\n")
	server, _, _ = strings.Cut(server, "  - id: sentinel-agent\n")
	for _, name := range []string{"sentinel-nginx.service", "sentinel-nginx.path", "sentinel-nginx.timer", "sentinel-server-proxy.conf"} {
		read(t, name)
		if !strings.Contains(server, "src: packaging/nginx/"+name+"\n") {
			t.Errorf("the package sentinel-server lacks %s", name)
		}
	}
}

// PRX-08: in a user namespace of its own the server would see every peer as nobody.
func TestBehindASocketTheServerSeesWhoConnects(t *testing.T) {
	t.Parallel()
	dropIn := read(t, "sentinel-server-proxy.conf")
	unit := service.SystemdUnit(service.Server())
	if strings.Contains(unit, "PrivateUsers=yes\n") != strings.Contains(dropIn, "PrivateUsers=no\n") {
		t.Error("the unit and what stands beside it differ about user namespaces")
	}
	if !strings.Contains(dropIn, "RuntimeDirectory=sentinel-proxy\n") || !strings.Contains(dropIn, "RuntimeDirectoryMode=0755\n") {
		t.Error("there is no place for the sockets that NGINX reaches")
	}
}

func TestSystemdItselfFindsTheUnitsCorrect(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("SENTINEL_TEST_SYSTEMD") == "1" {
			t.Fatal("systemd-analyze is missing, but SENTINEL_TEST_SYSTEMD=1 is set; install systemd")
		}
		t.Log("NOT CHECKED: systemd-analyze is missing, so nothing judged the units")
		return
	}
	program, err := os.Executable() // verify wants a program that exists
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"sentinel-nginx.service", "sentinel-nginx.path", "sentinel-nginx.timer"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(read(t, name), "/usr/bin/sentinel-server", program)), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	if out, err := exec.CommandContext(t.Context(), tool, append([]string{"verify", "--man=no", "--recursive-errors=no"}, files...)...).CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
