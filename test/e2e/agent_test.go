package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// site is a server behind an address that stays when it is started again, with
// the people who run it.
type site struct {
	*servertest.Server
	t        *testing.T
	address  *address
	metrics  string // the token
	operator *servertest.Person
	reviewer *servertest.Person
	guard    *servertest.Person // of security
}

// newSite asks for a heartbeat every second. More settings are given as name, value.
func newSite(t *testing.T, more ...string) *site {
	t.Helper()
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, metrics: hex.EncodeToString(secret)}
	settings := map[string]string{"SENTINEL_HEARTBEAT_INTERVAL": "1s", "SENTINEL_METRICS_TOKEN": s.metrics}
	for i := 0; i+1 < len(more); i += 2 {
		settings[more[i]] = more[i+1]
	}
	s.Server = servertest.Start(t, servertest.Options{Settings: settings})
	s.address = newAddress(t, s.Host())
	s.operator, s.reviewer = s.Person("olivia", "operator"), s.Person("ben", "approver")
	s.guard = s.Person("sam", "security")
	return s
}

// again starts the server anew. The people sign in again, since a restore has
// ended their sessions.
func (s *site) again() {
	s.t.Helper()
	s.Server = s.Again()
	s.address.target.Store(s.Host())
	s.operator, s.reviewer, s.guard = s.SignIn("olivia"), s.SignIn("ben"), s.SignIn("sam")
}

var requests = regexp.MustCompile(`(?m)^sentinel_http_requests_total\{.*status="(\d+)",surface="machine"\} (\d+)$`)

// answered counts the requests of devices since the server was started, by status.
func (s *site) answered() map[string]int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.PeopleURL+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.metrics)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatal(resp.Status, err)
	}
	by := map[string]int{}
	for _, m := range requests.FindAllSubmatch(text, -1) {
		n, err := strconv.Atoi(string(m[2]))
		if err != nil {
			s.t.Fatal(err)
		}
		by[string(m[1])] += n
	}
	return by
}

// device is what the server knows of a device.
type device struct {
	State   string `json:"state"`
	Held    string `json:"held_reason"`
	Counter int64  `json:"counter"`
}

func (s *site) device(id string) device {
	s.t.Helper()
	var d device
	s.operator.Must("GET", "/api/devices/"+id, nil, &d)
	return d
}

// rises waits until the server has accepted n more heartbeats.
func (s *site) rises(id string, n int64) {
	s.t.Helper()
	from := s.device(id).Counter
	eventually(s.t, 25*time.Second, "the counter of "+id+" rises", func() bool { return s.device(id).Counter >= from+n })
}

// eventually waits for what another process does.
func eventually(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	over := time.After(limit)
	every := time.NewTicker(25 * time.Millisecond)
	defer every.Stop()
	for !f() {
		select {
		case <-over:
			t.Fatalf("not within %v: %s", limit, what)
		case <-every.C:
		}
	}
}

// agent is a device's program with its state directory.
type agent struct {
	t   *testing.T
	dir string
	id  string
}

// run runs a command of the agent to its end.
func (a *agent) run(args ...string) (code int, output string) {
	a.t.Helper()
	out, err := exec.Command(filepath.Join(bin, "sentinel-agent"), append(args, "--state-dir", a.dir)...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return 0, string(out)
}

func (s *site) enrollArgs(id, token string) []string {
	return []string{"enroll", "--server", "https://" + s.address.String(), "--ca-fingerprint", s.CAFingerprint, "--fleet-root", s.RootDigest, "--token", token, "--device-id", id}
}

// enroll lets an agent in: it asks, is approved, and comes back.
func (s *site) enroll(id string, flags ...string) *agent {
	s.t.Helper()
	a := &agent{s.t, filepath.Join(s.t.TempDir(), "state"), id}
	if code, out := a.run(append(s.enrollArgs(id, s.operator.EnrollToken(1)), append(flags, "--wait", "1s")...)...); code != 3 {
		s.t.Fatalf("asking to enroll: exit code %d\n%s", code, out)
	}
	s.reviewer.Approve(a.status().EnrollmentID)
	if code, out := a.run("enroll"); code != 0 {
		s.t.Fatalf("enrolling: exit code %d\n%s", code, out)
	}
	return a
}

// status is what the agent says of itself.
type status struct {
	Code         int    `json:"-"`
	State        string `json:"state"`
	EnrollmentID string `json:"enrollment_id"`
	LastCounter  int64  `json:"last_counter"`
	Refusal      *struct {
		Code string `json:"code"`
	} `json:"refusal"`
}

func (a *agent) status() status {
	a.t.Helper()
	code, out := a.run("status", "--output", "json")
	var st status
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		a.t.Fatalf("status: exit code %d: %v\n%s", code, err, out)
	}
	st.Code = code
	return st
}

// refused says whether the agent knows that it is refused for this reason, and
// says so with its exit code.
func (a *agent) refused(code string) bool {
	st := a.status()
	return st.Code == 2 && st.Refusal != nil && st.Refusal.Code == code
}

// process is an agent that runs.
type process struct {
	*exec.Cmd
	log *buffer
}

// start runs the agent until the test ends or it is killed.
func (a *agent) start(more ...string) *process {
	a.t.Helper()
	p := &process{exec.Command(filepath.Join(bin, "sentinel-agent"), append([]string{"run", "--state-dir", a.dir, "--min-interval", "1s"}, more...)...), &buffer{}}
	p.Stderr = p.log
	if err := p.Start(); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		p.kill()
		if a.t.Failed() {
			a.t.Logf("the agent %s in %s logged:\n%s", a.id, filepath.Base(filepath.Dir(a.dir)), p.log)
		}
	})
	return p
}

// kill ends the agent at once, as a power cut would.
func (p *process) kill() {
	_ = p.Process.Kill()
	_ = p.Wait()
}

// copyState makes a second agent of the same identity.
func (a *agent) copyState() *agent {
	a.t.Helper()
	clone := &agent{a.t, filepath.Join(a.t.TempDir(), "state"), a.id}
	if err := os.Mkdir(clone.dir, 0o700); err != nil {
		a.t.Fatal(err)
	}
	names, err := os.ReadDir(a.dir)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(a.dir, n.Name()))
		if err != nil {
			a.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(clone.dir, n.Name()), data, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return clone
}

// buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// keyFile is what lies where the device's keys do.
func (a *agent) keyFile() string {
	a.t.Helper()
	text := ""
	for _, name := range []string{"device.key", "device-b.key"} {
		data, err := os.ReadFile(filepath.Join(a.dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			a.t.Fatal(err)
		}
		text += string(data)
	}
	return text
}
