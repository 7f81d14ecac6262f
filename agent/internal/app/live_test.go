//go:build unix

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// live is an agent, all of it, at a desk over real TLS.
type live struct {
	t    *testing.T
	desk *agenttest.Desk
	cfg  *config.Config
	beat chan struct{} // after each heartbeat

	commands []protocol.CommandDelivery // to be delivered until they are acknowledged or reported
	renew    bool
	roots    []json.RawMessage
	bundles  []json.RawMessage
}

func newLive(t *testing.T) *live {
	t.Helper()
	l := &live{t: t, desk: agenttest.NewDesk(t, time.Now), beat: make(chan struct{}, 100)}
	dir := filepath.Join(t.TempDir(), "state")
	server := "https://" + l.desk.Address
	if _, err := enroll.Run(t.Context(), enroll.Options{
		Dir: dir, Server: server, Token: agenttest.Token, CAFingerprint: certs.Fingerprint(l.desk.Fleet.ServerCA.Certificate.Raw),
		DeviceID: "edge-1", Wait: time.Minute, Now: time.Now, Random: func() float64 { return 0 },
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, Out: io.Discard,
	}); err != nil {
		t.Fatal(err)
	}
	l.cfg = &config.Config{StateDir: dir, MinInterval: time.Second}
	l.desk.OnAnswer = l.answer
	return l
}

// answer is called under the desk's lock.
func (l *live) answer(hb protocol.Heartbeat, a *protocol.HeartbeatAnswer) {
	acked := map[string]bool{}
	for _, id := range hb.Acks {
		acked[id] = true
	}
	var left []protocol.CommandDelivery
	for _, c := range l.commands {
		if !acked[c.ActionID] && l.desk.Results[c.ActionID] == nil {
			left = append(left, c)
		}
	}
	l.commands = left
	a.Commands, a.Renew, a.FleetRoots, a.PolicyBundles = left, l.renew, l.roots, l.bundles
	l.renew, a.IntervalSeconds = false, 1
	select {
	case l.beat <- struct{}{}:
	default:
	}
}

// run starts the agent; it returns how to stop it, and what Run returned.
func (l *live) run() (stop func() error, ended <-chan error) {
	ctx, cancel := context.WithCancel(l.t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, l.cfg, slog.New(slog.DiscardHandler), func() {}) }()
	return func() error {
		cancel()
		return <-done
	}, done
}

// until waits for heartbeats until the condition holds.
func (l *live) until(what string, holds func() bool) {
	l.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		ok := false
		l.desk.Look(func() { ok = holds() })
		if ok {
			return
		}
		select {
		case <-l.beat:
		case <-limit:
			l.t.Fatalf("not within half a minute: %s", what)
		}
	}
}

func (l *live) order(n byte, kind string) string {
	l.t.Helper()
	return l.orderMade(n, kind, time.Now().Add(-time.Minute))
}

func (l *live) orderMade(n byte, kind string, made time.Time) string {
	l.t.Helper()
	id := "0198c1f0-0000-7000-8000-00000000000" + string('0'+n)
	l.desk.Look(func() {
		_, root := l.desk.Fleet.Root(l.t)
		policy := l.desk.Fleet.Policy
		l.commands = append(l.commands, l.desk.Fleet.Deliver(l.t, signing.CommandStatement{
			FleetID: agenttest.FleetID, RootDigest: root, PolicyVersion: policy.Version, PolicyDigest: policy.Digest,
			ActionID: id, Kind: kind, Requester: "ada", NotBefore: made, NotAfter: time.Now().Add(time.Hour),
			Targets: signing.NewTargets([]signing.Target{{DeviceID: "edge-1", EnrollmentID: l.desk.Requests[0].EnrollmentID}}),
		}))
	})
	return id
}

// One agent takes a newer root and bundle, does what it is told, gets another
// certificate by a command, ends for its supervisor, and goes on where it was.
func TestAnAgentLivesThroughCommandsRenewalAndRestart(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	_, root := l.desk.Fleet.Root(t)
	bundle, digest := l.desk.Fleet.BundleWith(t, root, 2, nil)
	l.desk.Fleet.Policy = agenttest.Mark{Version: 2, Digest: digest}
	second, _ := l.desk.Fleet.NextRoot(t, 2, nil)
	l.roots, l.bundles = []json.RawMessage{second}, []json.RawMessage{bundle}
	ping, facts, rotate := l.order(1, "ping"), l.order(2, "collect-facts"), l.order(3, "rotate-certificate")

	_, ended := l.run()
	result := func(id string) *signing.CommandResult { return l.desk.Results[id] }
	l.until("three outcomes", func() bool { return result(ping) != nil && result(facts) != nil && result(rotate) != nil })
	l.desk.Look(func() {
		for _, id := range []string{ping, facts, rotate} {
			if result(id).Status != signing.Succeeded {
				t.Errorf("%+v", result(id))
			}
		}
		if result(facts).Output["os"] == "" || len(l.desk.Renewals) != 1 {
			t.Errorf("facts %v, renewals %v", result(facts).Output, l.desk.Renewals)
		}
		if last := l.desk.Beats[len(l.desk.Beats)-1]; last.RootVersion != 2 || last.PolicyVersion != 2 {
			t.Errorf("says root %d and policy %d", last.RootVersion, last.PolicyVersion)
		}
	})

	restart := l.order(4, "restart-agent")
	l.desk.Look(func() { l.renew = true }) // and the server's own wish
	var err error
	select {
	case err = <-ended:
	case <-time.After(90 * time.Second):
		t.Fatal("it does not end")
	}
	if !errors.Is(err, command.ErrRestart) || ExitCode(err) != ExitRestart {
		t.Fatalf("ended with %v", err)
	}
	stop, _ := l.run()
	l.until("the restart's outcome", func() bool { return result(restart) != nil })
	l.desk.Look(func() {
		if result(restart).Status != signing.Succeeded {
			t.Errorf("%+v", result(restart))
		}
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	st, err := ReadStatus(l.cfg.StateDir, time.Now())
	if err != nil || st.ExitCode() != ExitOK || len(st.Commands) != 4 || st.Commands[0].Kind != "restart-agent" || st.PolicyState != "in force" {
		t.Errorf("%+v, %v", st, err)
	}
	if err := Once(t.Context(), l.cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("a single heartbeat: %v", err)
	}
	if err := Unenroll(l.cfg.StateDir); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(l.cfg.StateDir, "*")); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}

// CMD-01: an agent that lost its journal of commands goes on with its heartbeats, and
// says of what it may have done that it does not know.
func TestAnAgentWithoutItsJournalOfCommandsStaysInReach(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	_, root := l.desk.Fleet.Root(t)
	bundle, digest := l.desk.Fleet.BundleWith(t, root, 2, nil)
	l.desk.Fleet.Policy = agenttest.Mark{Version: 2, Digest: digest}
	l.bundles = []json.RawMessage{bundle}
	ping := l.order(1, "ping")
	result := func(id string) *signing.CommandResult { return l.desk.Results[id] }
	stop, _ := l.run()
	l.until("an outcome", func() bool { return result(ping) != nil })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.cfg.StateDir, "commands.jsonl")
	if err := os.WriteFile(path, []byte("garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadStatus(l.cfg.StateDir, time.Now()); !errors.Is(err, command.ErrDamaged) || !strings.Contains(Advise(err), "start the agent") {
		t.Errorf("before it is started: %v", err)
	}
	stop, _ = l.run()
	before, later := l.orderMade(2, "ping", time.Now().Add(-time.Hour)), l.order(3, "ping")
	l.until("answers about what was made before and later", func() bool { return result(before) != nil && result(later) != nil })
	l.desk.Look(func() {
		if r := result(before); r.Status != signing.Unknown || r.Reason != string(command.JournalLost) {
			t.Errorf("before: %+v", r)
		}
		if r := result(later); r.Status != signing.Succeeded {
			t.Errorf("later: %+v", r)
		}
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	st, err := ReadStatus(l.cfg.StateDir, time.Now())
	if err != nil || st.CommandsAfter.IsZero() {
		t.Fatalf("%+v, %v", st, err)
	}
	var text strings.Builder
	if err := st.Print(&text, time.Now()); err != nil || !strings.Contains(text.String(), "journal of them was lost") {
		t.Errorf("%v: %s", err, text.String())
	}
	if st, err := ReadStatus(l.cfg.StateDir, time.Now().Add(8*24*time.Hour)); err != nil || !st.CommandsAfter.IsZero() {
		t.Errorf("when no such command is valid any more: %+v, %v", st, err)
	}
	if aside, err := os.ReadFile(path + ".damaged"); err != nil || string(aside) != "garbage\n" {
		t.Errorf("what was damaged is not kept: %q, %v", aside, err)
	}
}

// PKI-11: a newer root's CAs count at once. The same server, by the CA that the root
// has dropped, is no server any more, in this process and the next.
func TestANewRootsCAsAreBelievedAtOnce(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	stranger := agenttest.NewFleet(t, time.Now())
	second, _ := l.desk.Fleet.NextRoot(t, 2, func(r *signing.FleetRoot) { r.ServerCAs = [][]byte{stranger.ServerCA.Certificate.Raw} })
	l.roots = []json.RawMessage{second}
	said := make(lines, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, l.cfg, slog.New(slog.NewJSONHandler(said, nil)), func() {}) }()
	limit := time.After(30 * time.Second)
	for line := ""; !strings.Contains(line, "heartbeat not accepted"); {
		select {
		case line = <-said:
		case <-limit:
			t.Fatal("it goes on with the CA that was dropped")
		}
		if strings.Contains(line, "heartbeat not accepted") && !strings.Contains(line, link.ErrNotServer.Error()) {
			t.Errorf("said %s", line)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := Once(t.Context(), l.cfg, slog.New(slog.DiscardHandler)); !errors.Is(err, link.ErrNotServer) {
		t.Errorf("got %v", err)
	}
	if n := len(l.desk.Beats); n != 1 {
		t.Errorf("%d heartbeats went to it", n)
	}
}

// lines are what a log says.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// What a person who starts an agent by hand has to see.
func TestTheLogTellsTheFirstHeartbeatAndTheEndAndNothingInBetween(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Run(ctx, l.cfg, slog.New(slog.NewTextHandler(&out, nil)), func() {}) }()
	l.until("three heartbeats", func() bool { return len(l.desk.Beats) >= 3 })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), `level=INFO msg="heartbeat accepted"`); n != 1 || !strings.HasSuffix(out.String(), "msg=\"agent stopped\" why=\"asked to\"\n") {
		t.Errorf("%d heartbeats told:\n%s", n, out.String())
	}
}
