package linux_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

const script = "server-preinstall.sh"

// host is a PATH of two programs that note how they were called.
type host struct {
	*testing.T
	bin, calls string
}

// newHost makes a host on which looking the user up and making it end with the
// given exit codes.
func newHost(t *testing.T, lookUp, create string) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{t, filepath.Join(dir, "bin"), filepath.Join(dir, "calls")}
	if err := os.Mkdir(h.bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, code := range map[string]string{"getent": lookUp, "useradd": create} {
		text := "#!/bin/sh\necho " + name + " \"$@\" >>'" + h.calls + "'\nexit " + code + "\n"
		if err := os.WriteFile(filepath.Join(h.bin, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// install runs the script as a package manager does, and returns its exit code
// and the useradd that it ran, "" for none.
func (h *host) install(argument string) (code int, made string) {
	h.Helper()
	cmd := exec.CommandContext(h.Context(), "/bin/sh", script, argument)
	cmd.Env = []string{"PATH=" + h.bin}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.Fatal(err)
	}
	calls, err := os.ReadFile(h.calls)
	if err != nil {
		h.Fatal(err)
	}
	for line := range strings.Lines(string(calls)) {
		if strings.HasPrefix(line, "useradd ") {
			made = strings.TrimSpace(line)
		}
	}
	return cmd.ProcessState.ExitCode(), made
}

func TestInstallingMakesTheUserThatTheUnitRunsAs(t *testing.T) {
	t.Parallel()
	server := service.Server()
	code, made := newHost(t, "2", "0").install("install") // getent(1): 2 is not found
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	words := strings.Fields(made)
	for _, want := range []string{"--system", "--user-group", "/var/lib/" + server.StateDirectory, "/usr/sbin/nologin"} {
		if !slices.Contains(words, want) {
			t.Errorf("%q lacks %s", made, want)
		}
	}
	if len(words) == 0 || words[len(words)-1] != server.User {
		t.Errorf("%q does not make %s", made, server.User)
	}
}

func TestAUserThatExistsIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, argument := range []string{"install", "upgrade", "1", "2"} {
		if code, made := newHost(t, "0", "9").install(argument); code != 0 || made != "" {
			t.Errorf("%s: exit code %d, ran %q", argument, code, made)
		}
	}
}

func TestAUserThatCannotBeMadeStopsTheInstallation(t *testing.T) {
	t.Parallel()
	if code, _ := newHost(t, "2", "1").install("install"); code == 0 {
		t.Error("the package would be installed without its user")
	}
}

func TestThePackageRunsTheScript(t *testing.T) {
	t.Parallel()
	recipe, err := os.ReadFile("../../.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, server, _ := strings.Cut(string(recipe), "\nnfpms:\n")
	server, _, _ = strings.Cut(server, "  - id: sentinel-agent\n")
	if !strings.Contains(server, "preinstall: packaging/linux/"+script+"\n") {
		t.Errorf("the package sentinel-server does not run %s before it is installed", script)
	}
}
