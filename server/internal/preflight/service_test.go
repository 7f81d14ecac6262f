package preflight

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

func TestTheUnitIsReadAsSystemdReadsIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	etc, lib := filepath.Join(dir, "etc"), filepath.Join(dir, "lib")
	places := []string{etc, lib}
	if s := gatherService(places); s.Unit != "" || s.Looked != (runtime.GOOS == "linux") {
		t.Errorf("of nothing: %+v", s)
	}
	vendor := place(t, filepath.Join(lib, unitName), []byte("[Unit]\nUser=nobody\nRestart=no\n[Service]\n# Restart=never\nUser=sentinel-server\nRestart = always\n[Install]\nUser=x\n"))
	if s := gatherService(places); s.Unit != vendor || s.Restart != "always" || s.User != "sentinel-server" {
		t.Errorf("the package's: %+v", s)
	}
	place(t, filepath.Join(lib, unitName+".d", "a.conf"), []byte("[Service]\nRestart=on-failure\n"))
	if s := gatherService(places); s.Restart != "on-failure" || s.User != "sentinel-server" {
		t.Errorf("with a drop-in: %+v", s)
	}
	place(t, filepath.Join(etc, unitName+".d", "a.conf"), []byte("[Service]\nRestart=no\n"))
	if s := gatherService(places); s.Restart != "no" {
		t.Errorf("with the administrator's: %+v", s)
	}
	own := place(t, filepath.Join(etc, unitName), []byte("[Service]\nUser=root\n"))
	if s := gatherService(places); s.Unit != own || s.User != "root" || s.Restart != "no" {
		t.Errorf("the administrator's own: %+v", s)
	}
}

// The unit that the packages bring passes.
func TestTheShippedUnitPasses(t *testing.T) {
	t.Parallel()
	s := gatherService([]string{filepath.Join("..", "..", "..", "packaging", "systemd")})
	if s.Restart != "always" || s.User != service.Server().User {
		t.Errorf("%+v", s)
	}
}
