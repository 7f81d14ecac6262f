//go:build unix

package postgres

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script prepares one of the scripts in an environment that names no server, with
// a directory of its own for temporary files.
func script(t *testing.T, name string, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	// Not t.TempDir: the user that PostgreSQL runs as must reach it.
	tmp, err := os.MkdirTemp("", "postgres-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "SENTINEL_TEST_POSTGRES=", "TMPDIR="+tmp)
	return cmd, tmp
}

// started starts a script and returns its input and the first line it prints.
func started(t *testing.T, cmd *exec.Cmd) (stdin io.Closer, line string) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
	line, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the script said nothing: %v", err)
	}
	return stdin, strings.TrimSpace(line)
}

func wantListening(t *testing.T, serverURL string) {
	t.Helper()
	if !listening(t, serverURL) {
		t.Fatal("the server does not listen")
	}
}

func listening(t *testing.T, serverURL string) bool {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil || u.Scheme != "postgres" {
		t.Fatal("what was printed is not the URL of a server")
	}
	conn, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// wantNothingLeft waits until the server and its directory are gone; that is
// another process's work, which gives this one no signal.
func wantNothingLeft(t *testing.T, serverURL, tmp string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		left, err := os.ReadDir(tmp)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 && !listening(t, serverURL) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("left behind: listening %t, files %v", listening(t, serverURL), left)
		}
	}
}

func TestServe(t *testing.T) {
	t.Parallel()

	t.Run("stops at the end of its input", func(t *testing.T) {
		t.Parallel()
		cmd, tmp := script(t, "serve")
		stdin, serverURL := started(t, cmd)
		wantListening(t, serverURL)
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		wantNothingLeft(t, serverURL, tmp)
	})

	t.Run("stops when it is told to end", func(t *testing.T) {
		t.Parallel()
		cmd, tmp := script(t, "serve")
		_, serverURL := started(t, cmd)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		wantNothingLeft(t, serverURL, tmp)
	})
}

func TestWith(t *testing.T) {
	t.Parallel()

	t.Run("names the server to the command and ends with its exit code", func(t *testing.T) {
		t.Parallel()
		cmd, tmp := script(t, "with", "bash", "-c", `echo "$SENTINEL_TEST_POSTGRES"; exit 7`)
		_, serverURL := started(t, cmd)
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Errorf("got %v, want exit code 7", err)
		}
		wantNothingLeft(t, serverURL, tmp)
	})

	t.Run("uses a server that is there already", func(t *testing.T) {
		t.Parallel()
		cmd, _ := script(t, "with", "bash", "-c", `echo "$SENTINEL_TEST_POSTGRES"`)
		cmd.Env = append(cmd.Env, "SENTINEL_TEST_POSTGRES=postgres://there")
		if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != "postgres://there" {
			t.Errorf("got %q, %v", out, err)
		}
	})

	const lasting = `echo "$SENTINEL_TEST_POSTGRES"; exec sleep 600`

	t.Run("ends the command and the server when it is told to end", func(t *testing.T) {
		t.Parallel()
		cmd, tmp := script(t, "with", "bash", "-c", lasting)
		_, serverURL := started(t, cmd)
		wantListening(t, serverURL)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("it ended as if the command had succeeded")
		}
		wantNothingLeft(t, serverURL, tmp)
	})

	t.Run("leaves no server behind when it is killed", func(t *testing.T) {
		t.Parallel()
		// The command outlives its parent here, and holds nothing of the server's.
		cmd, tmp := script(t, "with", "bash", "-c", `echo "$SENTINEL_TEST_POSTGRES"; sleep 3`)
		_, serverURL := started(t, cmd)
		wantListening(t, serverURL)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		wantNothingLeft(t, serverURL, tmp)
		_ = cmd.Wait()
	})

	t.Run("does not run the command without PostgreSQL", func(t *testing.T) {
		t.Parallel()
		cmd, _ := script(t, "with", "echo", "the command ran")
		cmd.Env = append(cmd.Env, "TMPDIR=/nowhere") // where no server can be made
		out, err := cmd.CombinedOutput()
		if err == nil || strings.Contains(string(out), "the command ran") {
			t.Errorf("got %v, output:\n%s", err, out)
		}
	})
}

func TestEnsureRefusesANeedThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	cmd, _ := script(t, "ensure", "postgresql", "luck")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "luck") {
		t.Errorf("got %v, output:\n%s", err, out)
	}
}
