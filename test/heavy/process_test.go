//go:build heavy

package heavy

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// installation is the server's program on a data directory, at fixed addresses.
type installation struct {
	t       *testing.T
	people  string // host:port
	machine string
	environ []string
	running *exec.Cmd
	log     strings.Builder
}

// takeOver lets the program go on with the data of a server that has stopped.
// Its people and devices talk to the program from then on.
func takeOver(t *testing.T, s *servertest.Server, database string) *installation {
	t.Helper()
	s.Stop()
	p := &installation{t: t, people: freeAddress(t), machine: freeAddress(t)}
	p.environ = append(os.Environ(), "SENTINEL_DATA_DIR="+s.Dir, "SENTINEL_DATABASE_URL="+database,
		"SENTINEL_PEOPLE_LISTEN="+p.people, "SENTINEL_MACHINE_LISTEN="+p.machine)
	s.PeopleURL, s.MachineURL = "http://"+p.people, "https://"+p.machine
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", p.log.String()[max(0, p.log.Len()-4000):])
		}
	})
	return p
}

// freeAddress is below the range from which the system gives ports to outgoing
// connections: one of those would take the place of a server that is away.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(10_000)))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// account makes an account on the host, while the server is away.
func (p *installation) account(name, role string) {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(servertest.Password+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(program("server"), "admin", "create", "--local", "--name", name, "--role", role, "--password-file", file)
	cmd.Env = p.environ
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%v\n%s", err, out)
	}
}

// start starts the program and says how long it took to be ready.
func (p *installation) start(limit time.Duration) time.Duration {
	p.t.Helper()
	begin := time.Now()
	p.running = exec.Command(program("server"), "serve")
	p.running.Env, p.running.Stderr = p.environ, &p.log
	if err := p.running.Start(); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, limit, "the server is ready", p.ready)
	return time.Since(begin)
}

func (p *installation) ready() bool {
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.people+"/api/health/ready", nil)
	if err != nil {
		return false
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// kill ends the program at once, as the kernel does when memory is short.
func (p *installation) kill() {
	if p.running == nil {
		return
	}
	_ = p.running.Process.Kill()
	_ = p.running.Wait()
	p.running = nil
}
