package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// A device that was told another fingerprint talks to nobody.
func TestAnAgentThatIsToldAnotherFingerprintSendsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := &agent{t, t.TempDir() + "/state", "edge-1"}
	token := s.operator.EnrollToken(1)
	args := s.enrollArgs("edge-1", token)
	args[4] = strings.Repeat("ab", 32)
	code, out := a.run(args...)
	if code == 0 || !strings.Contains(out, "try: ") || strings.Contains(out, token) {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if by := s.answered(); len(by) != 0 {
		t.Errorf("the server was sent requests: %v", by)
	}
	if st := a.status(); st.Code != 3 || st.State != "not enrolled" {
		t.Errorf("%+v", st)
	}
	if n := s.Count("enrollments", "1 = 1"); n != 0 {
		t.Errorf("%d enrollments", n)
	}
}

func TestAnAgentGoesOnByItself(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.enroll("edge-1")
	a.start()
	s.rises("edge-1", 2)
	if st := a.status(); st.Code != 0 {
		t.Errorf("%+v", st)
	}

	// After the server was away.
	s.Stop()
	s.again()
	s.rises("edge-1", 2)

	// After the database was restored: in another epoch. HBT-07
	probe := s.Enroll("probe", s.operator.EnrollToken(1), s.reviewer)
	probe.MustBeat()
	captured := probe.Heartbeat()
	s.MarkRestored()
	s.again()
	s.rises("edge-1", 2)
	if s.present("edge-1") != 1 || s.present("probe") != 0 {
		t.Error("the agent goes on, but not in a new epoch")
	}
	if p, err := probe.At(s.Server).Send(captured); err != nil || p == nil || p.Code != protocol.CodeEpochChanged {
		t.Errorf("a heartbeat from before the restore: %v %v", p, err)
	}
	if s.device("edge-1").Held != "" || s.Count("audit_entries", "action = 'device.heartbeat'") != 0 {
		t.Error("the change of epoch was held against it")
	}

	// After it was suspended.
	s.operator.Must("POST", "/api/devices/edge-1/suspend", map[string]string{"reason": "test"}, nil)
	eventually(t, 10*time.Second, "the agent says that it is suspended", func() bool { return a.refused("device-suspended") })
	at := s.device("edge-1").Counter
	s.guard.Release("resume", "edge-1", s.reviewer)
	s.rises("edge-1", 2)
	if at == s.device("edge-1").Counter {
		t.Error("it did not go on")
	}
	eventually(t, 5*time.Second, "the agent says that all is well", func() bool { return a.status().Code == 0 })

	// It does not go on once it is revoked. REV-01
	s.operator.Revoke("edge-1")
	eventually(t, 10*time.Second, "the agent says that it is revoked", func() bool { return a.refused("device-revoked") })
	if code, out := a.run("status"); code != 2 || !strings.Contains(out, "device-revoked") {
		t.Errorf("status: %d\n%s", code, out)
	}
}

// HBT-06
func TestTwoAgentsWithOneIdentityAreFoundOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	original := s.enroll("edge-1")
	p := original.start()
	s.rises("edge-1", 2)
	p.kill()
	clone := original.copyState()
	before := s.device("edge-1").Counter
	original.start()
	clone.start()
	eventually(t, 10*time.Second, "the device is held", func() bool { return s.device("edge-1").Held != "" })
	at := s.device("edge-1").Counter
	if at > before+2 {
		t.Errorf("%d heartbeats were accepted before it was noticed", at-before)
	}
	if n := s.Count("audit_entries", "action = 'device.hold' AND object_id = 'edge-1'"); n != 1 {
		t.Errorf("%d entries say so", n)
	}
	eventually(t, 15*time.Second, "both agents say that they are refused", func() bool {
		return original.status().Code == 2 && clone.status().Code == 2
	})
	if now := s.device("edge-1"); now.Counter != at || now.Held == "" {
		t.Errorf("held at %d, and now %+v", at, now)
	}
}

// HBT-05
func TestAnAgentThatIsKilledNeverUsesACounterTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.enroll("edge-1")
	last := int64(0)
	for i := range 30 {
		var heard <-chan struct{}
		limit := 5 * time.Second
		if i%2 == 0 { // after the server has stored a heartbeat, before the agent knows
			heard = s.address.lose()
		} else { // anywhere
			limit = time.Duration(rand.Int64N(int64(1200 * time.Millisecond)))
		}
		p := a.start()
		select {
		case <-heard:
		case <-time.After(limit):
			if heard != nil {
				t.Fatalf("round %d: no heartbeat within %v", i, limit)
			}
		}
		p.kill()
		st, d := a.status(), s.device("edge-1")
		if d.Counter < last || st.LastCounter < d.Counter {
			t.Fatalf("round %d: the server has %d, after %d; the agent %d", i, d.Counter, last, st.LastCounter)
		}
		if d.Held != "" {
			t.Fatalf("round %d: held", i)
		}
		last = d.Counter
	}
	// The server takes rising counters only, and answers others with 409.
	by := s.answered()
	if by["200"] < 15 || by["409"] != 0 || s.Count("audit_entries", "action = 'device.heartbeat' AND reason LIKE 'counter%'") != 0 {
		t.Errorf("heartbeats were answered with %v", by)
	}
	t.Logf("30 kills: answers by status %v, counter %d", by, last)
	a.start()
	s.rises("edge-1", 2)
}

// present counts the device if its last heartbeat was in the present epoch.
func (s *site) present(id string) int {
	s.t.Helper()
	return s.Count("device_counters", "device_id = ? AND epoch = (SELECT epoch FROM instance)", id)
}

// What a person at the device is told who stops an enrollment, or starts a second agent.
func TestAPersonAtTheDeviceIsToldHowToGoOn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := &agent{t, t.TempDir() + "/state", "edge-1"}
	asks := exec.Command(filepath.Join(bin, "sentinel-agent"), append(s.enrollArgs("edge-1", s.operator.EnrollToken(1)), "--state-dir", a.dir)...)
	said := &buffer{}
	asks.Stdout, asks.Stderr = said, said
	if err := asks.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = asks.Process.Kill() })
	eventually(t, 15*time.Second, "it waits for the decision", func() bool { return strings.Contains(said.String(), "Waiting for the decision") })
	if err := asks.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = asks.Wait()
	if code := asks.ProcessState.ExitCode(); code != 3 || !strings.Contains(said.String(), "stopped before the decision") || !strings.Contains(said.String(), "run the same command again, it goes on") {
		t.Errorf("interrupted: exit code %d\n%s", code, said)
	}
	s.reviewer.Approve(a.status().EnrollmentID)
	code, out := a.run("enroll")
	if code != 0 || !strings.Contains(out, "sentinel-agent run --state-dir "+a.dir) || strings.Contains(out, "service") {
		t.Errorf("enrolled: exit code %d\n%s", code, out)
	}

	p := a.start()
	s.rises("edge-1", 1)
	code, out = a.run("run", "--once")
	if code != 1 || !strings.Contains(out, "sentinel-agent service stop") || !strings.Contains(out, "Ctrl+C") ||
		runtime.GOOS == "linux" && !strings.Contains(out, fmt.Sprintf("process %d\n", p.Process.Pid)) {
		t.Errorf("a second agent: exit code %d\n%s", code, out)
	}
}
