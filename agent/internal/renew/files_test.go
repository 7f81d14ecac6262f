package renew

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// outside is a device whose certificates another authority issues, into files.
type outside struct {
	*device
	*Files
	chain [][]byte
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{device: newDevice(t)}
	if err := o.journal.Update(func(s *journal.State) { s.Outside = true }); err != nil {
		t.Fatal(err)
	}
	o.start()
	dir := t.TempDir()
	o.Files = &Files{
		Disk: o.disk, Dir: o.journal.Dir(), CertificateFile: filepath.Join(dir, "device.pem"), KeyFile: filepath.Join(dir, "device.key"),
		Changed: func() { o.changes++ }, Now: func() time.Time { return o.device.now }, Log: slog.New(slog.DiscardHandler),
	}
	return o
}

// put puts another key and certificate into the files.
func (o *outside) put() {
	o.t.Helper()
	key := agenttest.Key(o.t)
	o.chain = o.office.fleet.IssueDevice(o.t, "edge-1", key.Public(), o.device.now, life)
	o.write(o.KeyFile, keyPEM(o.t, key))
	o.write(o.CertificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.chain[0]}))
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (o *outside) write(path string, data []byte) {
	o.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *outside) look() {
	o.t.Helper()
	if err := o.Files.Round(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
}

// C1: what another authority issues is tried, and what works stays until it is taken.
func TestACertificateInTheFilesIsTriedUntilItIsLetIn(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	before := o.kept().Slot
	o.put()
	o.look()
	if e := o.kept(); e.Renewal == nil || !e.Renewal.Tried || e.Shown() == before || o.changes != 1 {
		t.Fatalf("kept %+v", e)
	}
	o.shown = o.kept().Shown()
	o.renewer.Refused(t.Context(), protocol.CodeReviewPending)
	if e := o.kept(); e.Renewal != nil || e.Shown() != before || o.changes != 2 {
		t.Fatalf("refused, and kept %+v", e)
	}
	o.look() // at once again: not yet
	if o.kept().Renewal != nil {
		t.Error("it is tried without a pause")
	}
	o.device.now = o.device.now.Add(tryEvery)
	o.look()
	o.shown = o.kept().Shown()
	if err := o.renewer.After(t.Context(), &protocol.HeartbeatAnswer{}); err != nil {
		t.Fatal(err)
	}
	if e := o.kept(); e.Renewal != nil || e.Slot == before {
		t.Fatalf("let in, and kept %+v", e)
	}
	o.look()
	if o.kept().Renewal != nil {
		t.Error("what is in use is tried")
	}
}

// A device that goes by the server's own certificates goes over in the same way.
func TestADeviceGoesOverToTheOtherAuthority(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	if err := o.journal.Update(func(s *journal.State) { s.Outside = false }); err != nil {
		t.Fatal(err)
	}
	o.put()
	o.look()
	o.shown = o.kept().Shown()
	o.renewer.Refused(t.Context(), protocol.CodeReviewPending)
	if s, err := o.journal.State(); err != nil || s.Outside || s.Enrolled.Renewal != nil {
		t.Fatalf("before it is let in: %+v %v", s, err)
	}
	o.device.now = o.device.now.Add(tryEvery)
	o.look()
	o.shown = o.kept().Shown()
	if err := o.renewer.After(t.Context(), &protocol.HeartbeatAnswer{}); err != nil {
		t.Fatal(err)
	}
	if s, err := o.journal.State(); err != nil || !s.Outside || s.Enrolled.Slot != journal.SlotB {
		t.Errorf("after it was let in: %+v %v", s, err)
	}
}

// One that has expired is none that the server took: there is no way back to it.
func TestAnExpiredCertificateInTheFilesIsNotSettledOn(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	before := o.kept().Slot
	o.put()
	o.look()
	o.shown = o.kept().Shown()
	o.renewer.Refused(t.Context(), protocol.CodeCertificateExpired)
	if e := o.kept(); e.Slot != before || e.Renewal != nil {
		t.Errorf("kept %+v", e)
	}
}

func TestNothingIsAskedOfTheServerWhereAnotherAuthorityIssues(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	o.device.now = o.office.current.NotAfter.Add(time.Hour)
	o.renewer.Refused(t.Context(), protocol.CodeCertificateExpired)
	for range 5 {
		o.renewer.Round(t.Context())
		o.device.now = o.device.now.Add(longest)
	}
	o.renewer.Inline()
	if reason := o.renewer.Renew(t.Context()); reason != "issued-elsewhere" {
		t.Errorf("a command to renew: %q", reason)
	}
	if len(o.office.asked) != 0 || o.kept().Renewal != nil {
		t.Errorf("asked %v, kept %+v", o.office.asked, o.kept())
	}
}

func TestFilesThatDoNotFitChangeNothing(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	if err := o.Files.Round(t.Context()); err == nil {
		t.Error("missing files are no error")
	}
	o.put()
	o.write(o.KeyFile, keyPEM(t, agenttest.Key(t))) // the tools are half way
	if err := o.Files.Round(t.Context()); err == nil || o.kept().Renewal != nil || o.changes != 0 {
		t.Errorf("%v, kept %+v", err, o.kept())
	}
}
