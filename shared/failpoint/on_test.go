//go:build failpoints

package failpoint_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
)

// One process has one file, so the tests share it and run one after the other.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "failpoint")
	if err != nil {
		panic(err)
	}
	file = filepath.Join(dir, "armed")
	if os.Getenv("FAILPOINTS") == "" {
		if err := os.Setenv("FAILPOINTS", file); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var file string

// until passes the point until it fails, and says how often that took.
func until(t *testing.T, name string) int {
	t.Helper()
	over := time.After(5 * time.Second)
	for n := 1; ; n++ {
		if err := failpoint.Fail(name); err != nil {
			if !errors.Is(err, failpoint.ErrInjected) {
				t.Error(err)
			}
			return n
		}
		select {
		case <-over:
			t.Fatal("the point was never told to fail")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAPointFiresOnce(t *testing.T) {
	if err := failpoint.Fail("a.b"); err != nil {
		t.Fatal("nothing is armed yet:", err)
	}
	if err := os.WriteFile(file, []byte("a.b 3 error 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := until(t, "a.b"); n < 3 {
		t.Errorf("it fired at the %d. pass already", n)
	}
	for range 100 {
		if err := failpoint.Fail("a.b"); err != nil {
			t.Fatal("a second time:", err)
		}
	}
	if err := os.WriteFile(file, []byte("c.d 1 error 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "c.d")
}

func TestAPointKills(t *testing.T) {
	if os.Getenv("DIE") != "" {
		failpoint.Here("die")
		t.Fatal("it goes on")
	}
	own := filepath.Join(t.TempDir(), "armed")
	if err := os.WriteFile(own, []byte("die 1 kill\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestAPointKills")
	cmd.Env = append(os.Environ(), "DIE=1", "FAILPOINTS="+own)
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(interface{ Signal() unix.Signal }).Signal() != unix.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
}
