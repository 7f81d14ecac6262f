//go:build unix

package app

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

var day = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// standing makes a state directory in which the device stands as s says.
func standing(t *testing.T, life time.Duration, change func(*journal.State)) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "state")
	if err := journal.MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	key, err := identity.CreateKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	fleet := agenttest.NewFleet(t, day)
	if err := identity.StoreChain(dir, fleet.IssueDevice(t, "edge-1", key.Public(), day, life)); err != nil {
		t.Fatal(err)
	}
	root, digest := fleet.Root(t)
	p, err := pins.Verify([][]byte{root}, fleet.Bundle(t, digest, 1, day, time.Hour), digest, day, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Store(dir); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	s := journal.State{
		Server: "https://s.test:8443", DeviceID: "edge-1", EnrollmentID: journal.NewID(day), StartedAt: day, ServerCA: []byte{1}, Submitted: true,
		Enrolled: &journal.Enrolled{At: day, FirstRoot: digest, FirstUse: true, Root: p.RootMark(), Policy: p.PolicyMark(), TimeFloor: day, Epoch: agenttest.Epoch, Counter: 8},
	}
	if change != nil {
		change(&s)
	}
	if err := j.Begin(s); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestStatusSaysHowTheDeviceStandsAndWhatToDo(t *testing.T) {
	t.Parallel()
	refused := func(code protocol.Code) func(*journal.State) {
		return func(s *journal.State) { s.Enrolled.Refusal = &journal.Refusal{At: day, Code: code} }
	}
	for name, c := range map[string]struct {
		life   time.Duration
		change func(*journal.State)
		exit   int
		says   []string
	}{
		"healthy": {time.Hour, func(s *journal.State) { s.Enrolled.Accepted = &journal.Accepted{At: day, Counter: 7} }, ExitOK,
			[]string{"enrolled", "edge-1", "https://s.test:8443", "valid until", "trusted on first use", "accepted 2026-05-01 12:00:00 UTC (1m0s ago), counter 7", "version 1"}},
		"not heard yet": {time.Hour, nil, ExitOK, []string{"none was accepted yet", "sentinel-agent run"}},
		"enrolling":     {time.Hour, func(s *journal.State) { s.Enrolled = nil }, ExitNotEnrolled, []string{"enrolling", "Key code", "approve the key code"}},
		"revoked":       {time.Hour, refused(protocol.CodeDeviceRevoked), ExitRefused, []string{"device-revoked since 2026-05-01", "revoked for good", "State           revoked\n", "REVOKED, would have ended 2026-"}},
		"suspended":     {time.Hour, refused(protocol.CodeDeviceSuspended), ExitRefused, []string{"device-suspended", "lift the suspension", "State           suspended\n"}},
		"held":          {time.Hour, refused(protocol.CodeDeviceHeld), ExitRefused, []string{"device-held", "resync", "State           held\n"}},
		"refused anew":  {time.Hour, refused("of-a-newer-server"), ExitRefused, []string{"of-a-newer-server", "ask an operator", "State           enrolled\n"}},
		"expired":       {90 * time.Second, nil, ExitRefused, []string{"EXPIRED at", "asks to be let in again", "State           expired\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := day.Add(time.Minute)
			st, err := ReadStatus(standing(t, c.life, c.change), now)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := st.Print(&out, now); err != nil {
				t.Fatal(err)
			}
			if st.ExitCode() != c.exit {
				t.Errorf("exit code %d, want %d", st.ExitCode(), c.exit)
			}
			for _, want := range c.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("nothing of %q in\n%s", want, out.String())
				}
			}
			if c := st.Certificate; c != nil && !c.Expired {
				renews := st.State == Enrolled
				if strings.Contains(out.String(), "Next renewal") != renews || c.RenewAt.IsZero() == renews {
					t.Errorf("%s, and to be renewed at %s:\n%s", st.State, c.RenewAt, out.String())
				}
			}
		})
	}
	st, err := ReadStatus(filepath.Join(t.TempDir(), "none"), day)
	if err != nil || st.State != NotEnrolled || st.ExitCode() != ExitNotEnrolled || st.Next == "" {
		t.Errorf("without a directory: %+v, %v", st, err)
	}
}

func TestStatusWorksBesideARunningAgent(t *testing.T) {
	t.Parallel()
	dir := standing(t, time.Hour, nil)
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	if st, err := ReadStatus(dir, day); err != nil || st.LastCounter != 8 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := Unenroll(dir); !errors.Is(err, journal.ErrInUse) {
		t.Errorf("unenrolled under a running agent: %v", err)
	}
}

func TestUnenrollLeavesNothingOfTheFleet(t *testing.T) {
	t.Parallel()
	dir := standing(t, time.Hour, nil)
	if err := Unenroll(dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "agent.lock" {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestEveryErrorHasANextThingToTry(t *testing.T) {
	t.Parallel()
	fallback := Advise(errors.New("something"))
	for _, a := range advices {
		if got := Advise(fmt.Errorf("doing this: %w", a.err)); got != a.try || got == "" || got == fallback {
			t.Errorf("%v: %q", a.err, got)
		}
	}
	for _, code := range []protocol.Code{
		protocol.CodeTokenUnknown, protocol.CodeTokenUsedUp, protocol.CodeTokenExpired, protocol.CodeTokenRevoked, protocol.CodeDeviceExists,
		protocol.CodeDeviceGone, protocol.CodeDeviceRevoked, protocol.CodeDeviceSuspended, protocol.CodeDeviceHeld, protocol.CodeDeviceUnknown,
		protocol.CodeCounterStale, protocol.CodeCertificateExpired, protocol.CodeCertificateUnknown,
		protocol.CodeRenewalInvalid, protocol.CodeRenewalConflict, protocol.CodeRenewalEarly, protocol.CodeRecoveryLate,
	} {
		if _, ok := codeAdvices[code]; !ok {
			t.Errorf("%s has no advice", code)
		}
	}
}

func TestWhoCannotGetTheRequestThroughIsToldToKeepTheToken(t *testing.T) {
	t.Parallel()
	full := &link.RefusalError{Problem: protocol.Problem{Code: protocol.CodeEnrollFull}}
	for _, err := range []error{enroll.ErrUnsent, errors.Join(enroll.ErrUnsent, link.ErrNoAnswer), errors.Join(enroll.ErrUnsent, full)} {
		try := Advise(fmt.Errorf("x: %w", err))
		if !strings.Contains(try, "with the token") || strings.Contains(try, "no token") || strings.Contains(try, "reviewer") != errors.Is(err, full) {
			t.Errorf("%v: %q", err, try)
		}
	}
	if try := Advise(errors.Join(enroll.ErrPending, full)); strings.Contains(try, "with the token") {
		t.Errorf("the server has the request: %q", try)
	}
}

func TestExitCodesTellRefusedFromNotEnrolledFromBroken(t *testing.T) {
	t.Parallel()
	refusal := func(code protocol.Code) error {
		return fmt.Errorf("x: %w", &link.RefusalError{Problem: protocol.Problem{Code: code}})
	}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{journal.ErrDamaged, 1},
		{link.ErrNoAnswer, 1},
		{refusal(protocol.CodeRateLimited), 1},
		{refusal(protocol.CodeDeviceRevoked), 2},
		{refusal(protocol.CodeDeviceSuspended), 2},
		{refusal(protocol.CodeDeviceHeld), 2},
		{refusal(protocol.CodeCertificateExpired), 2},
		{&enroll.RefusedError{Reason: "rejected"}, 2},
		{journal.ErrNotEnrolled, 3},
		{ErrUnfinished, 3},
		{enroll.ErrPending, 3},
		{enroll.ErrUnsent, 3},
		{fmt.Errorf("commands: %w", command.ErrRestart), 4},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestFactsFitIntoARequest(t *testing.T) {
	t.Parallel()
	facts := Facts()
	if err := facts.Check(); err != nil || facts["os"] == "" || facts["arch"] == "" || facts["hostname"] == "" {
		t.Errorf("%v: %v", facts, err)
	}
}

func FuzzOSVersion(f *testing.F) {
	f.Add("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")
	f.Add("PRETTY_NAME='x'")
	f.Add("PRETTY_NAME=")
	f.Fuzz(func(t *testing.T, release string) {
		if v := osVersion(release); strings.Contains(v, "\n") {
			t.Errorf("%q", v)
		}
	})
}
