package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	native "github.com/kardianos/service"
)

func TestNotifyReachesTheSocketOfSystemd(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "notify") // t.TempDir may be longer than a socket's path may be
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, socket := range []string{filepath.Join(dir, "s"), fmt.Sprintf("@sentinel-notify-test-%d", os.Getpid())} {
		listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		notify(socket, Ready)
		got := make([]byte, 64)
		n, err := listener.Read(got)
		if err != nil || string(got[:n]) != "READY=1" {
			t.Errorf("%s: got %q, %v", socket, got[:n], err)
		}
	}
	notify("", Ready)
	notify(filepath.Join(dir, "nobody listens"), Ready)
}

func TestRunAsServiceRunsInTheForegroundWithoutAManager(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	err := RunAsService(Server(), func(ctx context.Context) error {
		if ctx.Err() != nil {
			t.Error("asked to stop before anything happened")
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyTheCommandLineSaysThatTheManagerStartedUs(t *testing.T) {
	t.Parallel()
	if !startedByManager([]string{"sentinel-agent.exe", "run", "--as-service"}) {
		t.Error("the manager's flag is not seen")
	}
	for _, args := range [][]string{nil, {"sentinel-agent.exe", "run"}, {"x", "as-service"}, {"x", "--as-service=false"}} {
		if startedByManager(args) {
			t.Errorf("%q is taken for the manager's", args)
		}
	}
}

func TestASpecThatCouldSmuggleLinesIntoAUnitIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Spec){
		"no name":                         func(s *Spec) { s.Name = "" },
		"a name with a slash":             func(s *Spec) { s.Name = "../x" },
		"a name in capitals":              func(s *Spec) { s.Name = "X" },
		"a description of two lines":      func(s *Spec) { s.Description = "x\nUser=root" },
		"a template in the description":   func(s *Spec) { s.Description = "{{Path}}" },
		"an argument of two lines":        func(s *Spec) { s.Arguments = []string{"x\ny"} },
		"a user of two lines":             func(s *Spec) { s.User = "x\ny" },
		"a relative program":              func(s *Spec) { s.Executable = "bin/x" },
		"a relative environment file":     func(s *Spec) { s.EnvFile = "server.env" },
		"an environment file with spaces": func(s *Spec) { s.EnvFile = "/etc/my file" },
		"an environment without key":      func(s *Spec) { s.Environment = []string{"x"} },
		"an environment of two lines":     func(s *Spec) { s.Environment = []string{"X=1\nUser=root"} },
		"a state directory above":         func(s *Spec) { s.StateDirectory = "../etc" },
	} {
		spec := Server()
		change(&spec)
		for act, do := range map[string]func(Spec) error{"install": Install, "uninstall": Uninstall, "start": Start, "stop": Stop} {
			if err := do(spec); !errors.Is(err, ErrSpec) {
				t.Errorf("%s, %s: got %v", name, act, err)
			}
		}
	}
	for _, spec := range []Spec{Server(), Agent()} {
		if err := spec.check(); err != nil {
			t.Errorf("%s: %v", spec.Name, err)
		}
	}
}

func TestTheManagersAnswersBecomeStates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code native.Status
		err  error
		want State
	}{
		{native.StatusRunning, nil, Running},
		{native.StatusStopped, nil, Stopped},
		{native.StatusUnknown, native.ErrNotInstalled, NotInstalled},
		{native.StatusUnknown, errors.New("service in failed state"), Failed},
	} {
		if got, err := judge(Server(), c.code, c.err); got != c.want || err != nil {
			t.Errorf("%v, %v: got %q, %v", c.code, c.err, got, err)
		}
	}
	if _, err := judge(Server(), native.StatusUnknown, nil); err == nil {
		t.Error("no answer is taken for one")
	}
	if _, err := judge(Server(), native.StatusUnknown, fs.ErrPermission); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), superuser) {
		t.Errorf("missing rights: got %v, want who has them", err)
	}
}

func TestAWindowsPathMustNotLeaveRoomForAnotherProgram(t *testing.T) { // AGT-01
	t.Parallel()
	const spaced, tight = `C:\Program Files\Sentinel\sentinel-agent.exe`, `C:\Sentinel\sentinel-agent.exe`
	for _, c := range []struct {
		line, path string
		safe       bool
	}{
		{`"` + spaced + `" run --as-service`, spaced, true},
		{`"` + spaced + `"`, spaced, true},
		{tight + ` run --as-service`, tight, true},
		{tight, tight, true},
		{spaced + ` run`, spaced, false},
		{`"` + spaced + `x" run`, spaced, false},
		{`"` + spaced + `"x`, spaced, false},
		{tight + `x`, tight, false},
		{`"C:\Other\x.exe"`, spaced, false},
		{"", "", false},
	} {
		if got := startsOnly(c.line, c.path); got != c.safe {
			t.Errorf("%s: safe %v, want %v", c.line, got, c.safe)
		}
	}
}
