package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// agentProcess is a real sentinel-agent.
type agentProcess struct {
	id    string
	state string
	out   *safeBuffer
	done  chan error

	mu       sync.Mutex
	cmd      *exec.Cmd
	restarts int
	stopping bool
}

// exitRestart is the exit code with which the agent asks its supervisor to start it
// again.
const exitRestart = 4

// safeBuffer gathers what a process prints while others read it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startAgent starts a subcommand of the agent with its own state directory.
func (s *stage) startAgent(id, in string, args ...string) (*agentProcess, error) {
	a := &agentProcess{id: id, state: filepath.Join(s.dir, "agents", id), out: &safeBuffer{}, done: make(chan error, 1)}
	if err := os.MkdirAll(filepath.Dir(a.state), 0o700); err != nil {
		return nil, err
	}
	start := func() (*exec.Cmd, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.stopping {
			return nil, errors.New("it is to stop")
		}
		cmd := exec.Command(s.agent, append(args, "--state-dir", a.state)...) //nolint:gosec // G204: the agent beside this program, or the one named by --agent
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), a.out, a.out
		a.cmd = cmd
		return cmd, cmd.Start()
	}
	cmd, err := start()
	if err != nil {
		return nil, err
	}
	go func() { a.done <- a.supervise(cmd, start) }()
	s.agents = append(s.agents, a)
	return a, nil
}

// supervise waits for the agent and starts it again as often as it asks for that,
// as systemd or Windows do for an installed one.
func (a *agentProcess) supervise(cmd *exec.Cmd, start func() (*exec.Cmd, error)) error {
	for {
		err := cmd.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitRestart {
			return err
		}
		if cmd, err = start(); err != nil {
			return err
		}
		a.mu.Lock()
		a.restarts++
		a.mu.Unlock()
	}
}

func (a *agentProcess) restarted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.restarts > 0
}

func (a *agentProcess) stop() {
	a.mu.Lock()
	a.stopping = true
	process := a.cmd.Process
	a.mu.Unlock()
	select {
	case err := <-a.done:
		a.done <- err
		return
	default:
	}
	_ = process.Signal(os.Interrupt)
	select {
	case err := <-a.done:
		a.done <- err
	case <-time.After(5 * time.Second):
		_ = process.Kill()
	}
}

var keyCode = regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){3}\b`)

// enrollDevices runs sentinel-agent enroll twice and approves what the devices
// print, as a reviewer does who stands beside them.
func (s *stage) enrollDevices(ctx context.Context) error {
	for _, id := range []string{"demo-1", "demo-2"} {
		a, err := s.askToEnroll(ctx, id)
		if err != nil {
			return err
		}
		if err := s.letIn(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// askToEnroll starts sentinel-agent enroll, which goes on once a person decided.
func (s *stage) askToEnroll(ctx context.Context, id string) (*agentProcess, error) {
	var fleet struct {
		CAFingerprint   string `json:"ca_fingerprint"`
		FirstRootDigest string `json:"first_root_digest"`
		MachineURL      string `json:"machine_url"`
	}
	if err := s.clients["olivia"].do(ctx, "GET", "/api/fleet", nil, &fleet); err != nil {
		return nil, err
	}
	return s.startAgent(id, s.token.Secret+"\n", "enroll", "--server", fleet.MachineURL, "--token", "-", "--device-id", id,
		"--ca-fingerprint", fleet.CAFingerprint, "--fleet-root", fleet.FirstRootDigest)
}

func (s *stage) letIn(ctx context.Context, a *agentProcess) error {
	printed := ""
	err := until(ctx, func() (bool, error) {
		printed = keyCode.FindString(a.out.String())
		return printed != "", a.failed()
	})
	if err != nil {
		return err
	}
	s.sayf("   %s asks to join and prints its key code %s", a.id, printed)
	var waiting *review
	err = until(ctx, func() (bool, error) {
		var list page[review]
		if err := s.clients["ben"].do(ctx, "GET", "/api/enrollments?state=pending", nil, &list); err != nil {
			return false, err
		}
		for i, r := range list.Items {
			if r.DeviceID == a.id {
				waiting = &list.Items[i]
			}
		}
		return waiting != nil, a.failed()
	})
	if err != nil {
		return err
	}
	if waiting.KeyCode != printed {
		return fmt.Errorf("the review shows the key code %s, the device %s", waiting.KeyCode, printed)
	}
	in := map[string]string{"decision": "approve", "digest": waiting.Digest, "reason": "the key code is the device's own"}
	if err := s.clients["ben"].do(ctx, "POST", "/api/enrollments/"+waiting.EnrollmentID+"/review", in, nil); err != nil {
		return err
	}
	s.sayf("   ben compared the key codes and approved %s", a.id)
	select {
	case err := <-a.done:
		a.done <- err
		if err != nil {
			return fmt.Errorf("%s: %w: %s", a.id, err, tail(a.out.String()))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s did not get its certificate: %s", a.id, tail(a.out.String()))
	}
}

// welcome runs the agent of the device that waited for a person, and says who let it
// in. It is given how asking to join ended.
func (s *stage) welcome(ctx context.Context, ended error) error {
	id := s.visitor.id
	if ended != nil {
		return fmt.Errorf("%w: %s", ended, tail(s.visitor.out.String()))
	}
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	if err := s.signInAs(ctx, "olivia"); err != nil { // the sign-in of the steps may have ended: a person took their time
		return err
	}
	var list page[approvalRow]
	if err := s.clients["olivia"].do(ctx, "GET", "/api/approvals?state=executed", nil, &list); err != nil {
		return err
	}
	who := "a person"
	for _, r := range list.Items {
		if r.DeviceID == id && len(r.Have) > 0 {
			who = strings.Join(r.Have, ", ")
		}
	}
	s.sayf("\n%s was let in by %s.", id, who)
	_, err := s.runAgent(ctx, id, 1)
	if err == nil {
		s.sayf("It sends heartbeats now.")
	}
	return err
}

// runAgent starts the agent of a device that has its certificate, and waits for its
// first heartbeats.
func (s *stage) runAgent(ctx context.Context, id string, beats int64) (d devicePage, err error) {
	a, err := s.startAgent(id, "", "run", "--min-interval", "1s", "--log-format", "text")
	if err != nil {
		return d, err
	}
	err = until(ctx, func() (bool, error) {
		if d, err = s.device(ctx, id); err != nil {
			return false, err
		}
		return d.Counter >= beats, a.failed()
	})
	return d, err
}

// failed is an error once a process has ended that should be running.
func (a *agentProcess) failed() error {
	select {
	case err := <-a.done:
		a.done <- err
		return fmt.Errorf("sentinel-agent for %s ended (%w): %s", a.id, err, tail(a.out.String()))
	default:
		return nil
	}
}

func tail(s string) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-600):]
}

func (s *stage) device(ctx context.Context, id string) (d devicePage, err error) {
	return d, s.clients["olivia"].do(ctx, "GET", "/api/devices/"+id, nil, &d)
}

func (s *stage) checkCertificates(ctx context.Context) error {
	for _, id := range []string{"demo-1", "demo-2"} {
		d, err := s.device(ctx, id)
		if err != nil {
			return err
		}
		if len(d.Certificates) != 1 {
			return fmt.Errorf("%s has %d certificates", id, len(d.Certificates))
		}
		s.sayf("   %s holds serial %s until %s; its key never left it", id, d.Certificates[0].Serial, when(d.Certificates[0].NotAfter))
	}
	return nil
}

func (s *stage) heartbeats(ctx context.Context) error {
	for _, id := range []string{"demo-1", "demo-2"} {
		d, err := s.runAgent(ctx, id, 3)
		if err != nil {
			return err
		}
		s.sayf("   %s: %d heartbeats over mutual TLS, each stored before it was acknowledged", id, d.Counter)
	}
	return nil
}

func (s *stage) revoke(ctx context.Context) error {
	begin := time.Now()
	in := map[string]string{"reason": "shown in the demo"}
	if err := s.clients["olivia"].do(ctx, "POST", "/api/devices/demo-2/certificate/revoke", in, nil); err != nil {
		return err
	}
	err := until(ctx, func() (bool, error) {
		code, err := s.refusalOf(ctx, "demo-2")
		return code == "device-revoked", err
	})
	if err != nil {
		return err
	}
	s.sayf("   olivia revoked demo-2; %.1f s later it was refused on its open connection", time.Since(begin).Seconds())
	return nil
}

// refusalOf is what the device's own status says it was refused for.
func (s *stage) refusalOf(ctx context.Context, id string) (string, error) {
	out, err := exec.CommandContext(ctx, s.agent, "status", "--output", "json", "--state-dir", filepath.Join(s.dir, "agents", id)).Output() //nolint:gosec // G204: as in startAgent
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", err
	}
	var status struct {
		Refusal struct {
			Code string `json:"code"`
		} `json:"refusal"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return "", fmt.Errorf("sentinel-agent status: %w", err)
	}
	return status.Refusal.Code, nil
}

func (s *stage) showTrust(ctx context.Context) error {
	for id, want := range map[string]string{"demo-1": "trusted", "demo-2": "untrusted"} {
		d, err := s.device(ctx, id)
		if err != nil {
			return err
		}
		if d.Trust.Verdict != want || len(d.Trust.Reasons) == 0 {
			return fmt.Errorf("%s is %s, and should be %s", id, d.Trust.Verdict, want)
		}
		s.sayf("   %s is %s: %s", id, d.Trust.Verdict, d.Trust.Reasons[0].Text)
	}
	return nil
}
