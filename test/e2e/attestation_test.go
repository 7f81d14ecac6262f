package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/swtpm"
)

// C6: the real agent on a real software TPM, which holds the device's key too: from
// enrollment to a device that is trusted for it, and on through another certificate.
func TestAnAgentsTPMVouchesForIt(t *testing.T) {
	t.Parallel()
	maker := swtpm.NewMaker(t, "Maker")
	chip := swtpm.Start(t).By(maker)
	s := newSite(t, "SENTINEL_ATTESTATION_MAKERS_DIR", maker.Folder(), "SENTINEL_ATTESTATION_INTERVAL", "1m")
	flags := []string{"--tpm", chip.Path, "--key-in", "tpm"}
	a := s.enroll("edge-1", flags...)
	a.start(flags...)
	trust := func() string {
		t.Helper()
		var page struct {
			Trust struct {
				Verdict string                  `json:"verdict"`
				Reasons []struct{ Code string } `json:"reasons"`
			} `json:"trust"`
		}
		s.operator.Must("GET", "/api/devices/edge-1", nil, &page)
		said := []string{page.Trust.Verdict}
		for _, r := range page.Trust.Reasons {
			if strings.HasPrefix(r.Code, "attest") || r.Code == "hardware-bound" {
				said = append(said, r.Code)
			}
		}
		return strings.Join(said, " ")
	}
	becomes := func(want string) {
		t.Helper()
		eventually(t, 60*time.Second, "the device is "+want+", and not "+trust(), func() bool { return trust() == want })
	}
	becomes("reserved attestation-drift hardware-bound")
	var proven struct {
		Verdict   string
		Maker     string
		Registers []struct {
			Number int
			Value  string
		}
	}
	s.operator.Must("GET", "/api/attestation/devices/edge-1", nil, &proven)
	if proven.Verdict != "warning" || proven.Maker != "CN=Maker" || len(proven.Registers) != 8 {
		t.Errorf("proven: %+v", proven)
	}
	values := map[string][]string{}
	for _, r := range proven.Registers {
		values[fmt.Sprint(r.Number)] = []string{r.Value}
	}
	var asked struct {
		Digest     string
		ApprovalID string `json:"approval_id"`
	}
	s.operator.Must("POST", "/api/attestation/baselines", map[string]any{"name": "edge", "values": values, "hardware_bound": true,
		"not_after": time.Now().Add(time.Hour), "cause_kind": "first-look", "cause_ref": "CHG-1"}, &asked)
	s.reviewer.Must("POST", "/api/approvals/"+asked.ApprovalID+"/review", map[string]string{"decision": "approve", "digest": asked.Digest, "reason": "seen"}, nil)
	s.Round()
	becomes("trusted attested hardware-bound")

	// Another certificate, of another key of the TPM.
	s.operator.SendCommand("rotate-certificate", nil, "edge-1")
	s.CommandRound()
	eventually(t, 30*time.Second, "the next certificate is in use", func() bool {
		return s.Count("certificates", "device_id = 'edge-1' AND revoked_reason = 'superseded'") == 1
	})
	becomes("trusted attested hardware-bound")

	// The state alone is worth nothing on another machine.
	stolen := a.copyState()
	if code, out := stolen.run("status"); code != 0 {
		t.Errorf("status of the copy: %d\n%s", code, out)
	}
	if strings.Contains(a.keyFile(), "PRIVATE KEY") {
		t.Error("the key lies in the file")
	}
}
