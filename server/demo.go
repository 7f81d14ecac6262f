package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
)

func (p *program) demoCommand() *cobra.Command {
	var once bool
	var agent string
	c := &cobra.Command{
		Use: "demo", GroupID: "run", Short: "Show the whole loop on this machine, with a real agent",
		Long: `demo starts a server on an embedded database in a temporary directory and real
agents beside it, and shows each step: sign-in, token, enrollment, review,
certificate, heartbeats, commands and their results, a forged command that is
refused, revocation and refusal. Then it stays up with a healthy device and one
that waits for a person, prints the console's address and two accounts for it,
until it is stopped, and removes what it made.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := lifecycle.Signals(c.Context())
			defer stop()
			return p.demo(ctx, agent, once)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "end after the last step; a step that fails is named and the exit code is 1")
	c.Flags().StringVar(&agent, "agent", "", "sentinel-agent to use (default: beside this program)")
	return c
}

// stage is what the steps of the demo share.
type stage struct {
	*program
	dir     string
	agent   string // path of sentinel-agent
	server  *app.Server
	people  map[string]string // account name -> password
	clients map[string]*client
	token   enrollToken
	agents  []*agentProcess
	step    int

	waitingCode string        // key code of the device that waits for a person
	visitor     *agentProcess // and how it asks to join
}

// stepTime bounds each step; the slowest waits for a device's poll (5 s).
const stepTime = 30 * time.Second

func (p *program) demo(ctx context.Context, agent string, once bool) (err error) {
	s := &stage{program: p, people: map[string]string{}, clients: map[string]*client{}}
	if s.agent, err = findAgent(agent); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "sentinel-demo-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(s.dir) }()
	serverCtx, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	defer func() {
		for _, a := range s.agents {
			a.stop()
		}
		stopServer()
		if s.server != nil {
			err = errors.Join(err, <-ended)
		}
	}()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"server", func(ctx context.Context) error { return s.startServer(ctx, serverCtx, ended) }},
		{"sign-in", s.signIn},
		{"token", s.makeToken},
		{"enrollment", s.enrollDevices},
		{"certificate", s.checkCertificates},
		{"heartbeats", s.heartbeats},
		{"commands", s.sendCommands},
		{"a forged command", s.forgeCommand},
		{"renewal", s.renew},
		{"revocation", s.revoke},
		{"trust", s.showTrust},
		{"a device for you", s.visitors},
	} {
		s.step++
		s.sayf("\n%d. %s", s.step, step.name)
		stepCtx, cancel := context.WithTimeout(ctx, stepTime)
		err := step.do(stepCtx)
		cancel()
		if err != nil {
			return fmt.Errorf("the demo failed at the step %q: %w", step.name, err)
		}
	}
	if once {
		s.sayf("\nEvery step worked.")
		return nil
	}
	s.stayUp()
	visit := s.visitor.done
	for {
		select {
		case <-ctx.Done():
			s.sayf("\nStopping; the temporary directory is removed.")
			return nil
		case err := <-ended:
			ended <- nil
			return fmt.Errorf("the server ended: %w", err)
		case err := <-visit:
			visit <- err
			visit = nil
			if err := s.welcome(ctx, err); err != nil && ctx.Err() == nil {
				s.sayf("\n%s does not join: %s", s.visitor.id, err)
			}
		}
	}
}

func (s *stage) sayf(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func findAgent(path string) (string, error) {
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		path = filepath.Join(filepath.Dir(self), "sentinel-agent"+filepath.Ext(self))
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("sentinel-agent is not at %s; build it with make build, or use --agent", path)
	}
	return filepath.Abs(path)
}

func (s *stage) startServer(ctx, serverCtx context.Context, ended chan<- error) error {
	settings, err := config.Load([]string{
		"SENTINEL_DATA_DIR=" + filepath.Join(s.dir, "server"),
		"SENTINEL_PEOPLE_LISTEN=127.0.0.1:0", "SENTINEL_MACHINE_LISTEN=127.0.0.1:0",
		"SENTINEL_FLEET_NAME=Demo fleet", "SENTINEL_HEARTBEAT_INTERVAL=1s",
	}, "")
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	server, err := app.New(ctx, app.Options{Config: settings, Log: slog.New(slog.NewJSONHandler(logFile, nil))})
	if err != nil {
		return errors.Join(err, logFile.Close())
	}
	s.server = server
	go func() {
		err := server.Run(serverCtx)
		ended <- errors.Join(err, server.Close(), logFile.Close())
	}()
	select {
	case <-server.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	s.sayf("   a server with an embedded database, in %s", s.dir)
	s.sayf("   people   %s", settings.PeopleURL)
	s.sayf("   devices  %s (mutual TLS)", settings.MachineURL)
	return nil
}

// signIn makes three accounts, as admin create --local does, and signs in with
// them over the API.
func (s *stage) signIn(ctx context.Context) error {
	for _, a := range []struct {
		name string
		role authz.Role
	}{{"admin", authz.Admin}, {"olivia", authz.Operator}, {"ben", authz.Approver}} {
		s.people[a.name] = randomPassword()
		if _, err := s.server.Admin.CreateLocal(ctx, admin.NewAccount{Name: a.name, Role: a.role, Password: s.people[a.name]}); err != nil {
			return err
		}
		if err := s.signInAs(ctx, a.name); err != nil {
			return err
		}
		s.sayf("   %s (%s) signed in", a.name, a.role)
	}
	return nil
}

func (s *stage) signInAs(ctx context.Context, name string) error {
	api, err := newAPIClient(savedLogin{Server: s.server.Config.PeopleURL})
	if err != nil {
		return err
	}
	var out struct {
		Token string `json:"token"`
	}
	if err := api.do(ctx, "POST", "/api/admin/login", map[string]string{"name": name, "password": s.people[name]}, &out); err != nil {
		return err
	}
	api.token = out.Token
	s.clients[name] = api
	return nil
}

func (s *stage) makeToken(ctx context.Context) error {
	in := map[string]any{"uses": 3, "life_seconds": 3600, "note": "demo", "owner": "demo", "labels": map[string]string{"site": "here"}}
	if err := s.clients["olivia"].do(ctx, "POST", "/api/enroll-tokens", in, &s.token); err != nil {
		return err
	}
	s.sayf("   olivia made an enrollment token for three devices: %s...", s.token.Secret[:10])
	return nil
}

// stayUp says how to go on: in a browser, with two accounts and a device that
// waits, or at a terminal.
func (s *stage) stayUp() {
	s.sayf(`
The device demo-1 goes on sending heartbeats, and demo-3 waits to be let in.
Open the console in a browser:

  %[1]s/dashboard

  olivia2 (operator)  one-time password  %[6]s
  ben2    (approver)  one-time password  %[7]s

Sign in as ben2, open Reviews, compare the key code with %[8]s, and approve.
Each one-time password is good for one sign-in, which sets another.

Or in another terminal:

  export SENTINEL_SERVER=%[1]s
  echo '%[2]s' | %[3]s login --name admin --password-file -
  %[3]s device list
  %[3]s device explain demo-2
  %[3]s command send ping --device demo-1 --reason trying --wait
  %[3]s audit list

Accounts: admin, olivia (operator), ben (approver); passwords: %[2]s, %[4]s, %[5]s
Health:   %[1]s/
Stop with Ctrl+C.`,
		s.server.Config.PeopleURL, s.people["admin"], self(), s.people["olivia"], s.people["ben"], s.people["olivia2"], s.people["ben2"], s.waitingCode)
}

// visitors makes the two accounts whose one-time passwords the demo prints, and a
// third device that waits for one of them.
func (s *stage) visitors(ctx context.Context) error {
	for _, a := range []struct {
		name string
		role authz.Role
	}{{"olivia2", authz.Operator}, {"ben2", authz.Approver}} {
		s.people[a.name] = randomPassword()
		n := admin.NewAccount{Name: a.name, Role: a.role, Password: s.people[a.name], OneTime: true}
		if _, err := s.server.Admin.CreateLocal(ctx, n); err != nil {
			return err
		}
	}
	a, err := s.askToEnroll(ctx, "demo-3")
	if err != nil {
		return err
	}
	s.visitor = a
	err = until(ctx, func() (bool, error) {
		s.waitingCode = keyCode.FindString(a.out.String())
		return s.waitingCode != "", a.failed()
	})
	if err != nil {
		return err
	}
	s.sayf("   demo-3 asks to join, prints its key code %s, and waits for a person at the console", s.waitingCode)
	return nil
}

func randomPassword() string {
	var b [12]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func self() string {
	if path, err := os.Executable(); err == nil {
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
				return rel
			}
		}
		return path
	}
	return "sentinel-server"
}

// until asks f again until it is content, or ctx ends.
func until(ctx context.Context, f func() (bool, error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := f()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it did not happen within %s", stepTime)
		case <-tick.C:
		}
	}
}
