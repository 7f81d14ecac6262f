package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// terminal runs command lines against one state directory.
type terminal struct {
	t   *testing.T
	dir string
}

func (c *terminal) run(wantCode int, stdin string, args ...string) (stdout, stderr string) {
	c.t.Helper()
	var out, errs bytes.Buffer
	code := execute(append(args, "--state-dir", c.dir), strings.NewReader(stdin), &out, &errs)
	if code != wantCode {
		c.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, code, wantCode, out.String(), errs.String())
	}
	if code == 1 && !strings.Contains(errs.String(), "\n  try: ") {
		c.t.Errorf("%v: the error does not say what to try:\n%s", args, errs.String())
	}
	return out.String(), errs.String()
}

func (c *terminal) status(wantCode int) app.Status {
	c.t.Helper()
	out, _ := c.run(wantCode, "", "status", "--output", "json")
	var st app.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		c.t.Fatalf("%v in %s", err, out)
	}
	return st
}

// The whole life of a device as a person sees it.
func TestADeviceFromEnrollmentToItsEnd(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	desk.PollAfter = 0
	_, digest := desk.Fleet.Root(t)
	c := &terminal{t, filepath.Join(t.TempDir(), "state")}
	enroll := []string{"enroll", "--server", "https://" + desk.Address, "--token", "-", "--device-id", "edge-1",
		"--ca-fingerprint", certs.Fingerprint(desk.Fleet.ServerCA.Certificate.Raw), "--fleet-root", digest}

	if st := c.status(3); st.State != app.NotEnrolled {
		t.Fatalf("%+v", st)
	}
	c.run(3, "", "run", "--once")

	out, _ := c.run(0, agenttest.Token+"\n", enroll...)
	if st := c.status(0); st.State != app.Enrolled || st.DeviceID != "edge-1" || st.FleetRoot.FirstUse || !strings.Contains(out, "Key code: "+st.KeyCode) {
		t.Fatalf("%+v after\n%s", st, out)
	}
	if _, errs := c.run(1, agenttest.Token, enroll...); !strings.Contains(errs, "already enrolled as edge-1") || !strings.Contains(errs, "sentinel-agent unenroll") {
		t.Errorf("enrolling twice: %s", errs)
	}

	c.run(0, "", "run", "--once")
	if st := c.status(0); st.Accepted == nil || st.Accepted.Counter != 1 {
		t.Errorf("%+v", st)
	}

	desk.OnBeat = func(w http.ResponseWriter, _ protocol.Heartbeat) bool {
		agenttest.Refuse(w, 403, protocol.Problem{Code: protocol.CodeDeviceSuspended, Title: "Suspended"})
		return true
	}
	c.run(2, "", "run", "--once")
	if st := c.status(2); st.Refusal == nil || st.Refusal.Code != protocol.CodeDeviceSuspended || st.LastCounter != 2 {
		t.Errorf("%+v", st)
	}
	desk.OnBeat = nil
	c.run(0, "", "run", "--once")
	c.status(0)

	c.run(1, "no\n", "unenroll")
	c.status(0)
	c.run(0, "yes\n", "unenroll")
	c.status(3)
	if len(desk.Beats) != 3 || desk.Beats[2].Counter != 3 {
		t.Errorf("the server saw %d heartbeats: %+v", len(desk.Beats), desk.Beats)
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	desk.OnRequest = func(w http.ResponseWriter, _ int) bool {
		agenttest.Refuse(w, 403, protocol.Problem{Code: protocol.CodeTokenExpired, Title: "Expired"})
		return true
	}
	c := &terminal{t, filepath.Join(t.TempDir(), "state")}
	out, errs := c.run(2, "", "enroll", "--server", "https://"+desk.Address, "--token", agenttest.Token, "--device-id", "edge-1",
		"--ca-fingerprint", certs.Fingerprint(desk.Fleet.ServerCA.Certificate.Raw))
	if strings.Contains(out+errs, agenttest.Token) || !strings.Contains(errs, "token-expired") || !strings.Contains(errs, "new token") {
		t.Errorf("%s%s", out, errs)
	}
}
