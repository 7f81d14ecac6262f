package command

import (
	"crypto"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var day = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const (
	enrollment = "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"
	boot       = "0198c1f0-8888-7cc2-8a5d-0a4f6f1c2b3d"
	nextBoot   = "0198c1f0-9999-7cc2-8a5d-0a4f6f1c2b3d"
)

// id is the nth action id of a test.
func id(n int) string { return fmt.Sprintf("0198c1f0-0000-7000-8000-%012d", n) }

// fleet is a device's beliefs and whoever may command it.
type fleet struct {
	*agenttest.Fleet

	root   *signing.PinnedRoot
	bundle *signing.PolicyBundle
	policy journal.Mark
	now    time.Time
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	f := &fleet{Fleet: agenttest.NewFleet(t, day), now: day.Add(time.Minute)}
	data, digest := f.Root(t)
	env, err := signing.ParseEnvelope(data)
	if err != nil {
		t.Fatal(err)
	}
	if f.root, err = signing.VerifyFirstRoot(env, digest); err != nil {
		t.Fatal(err)
	}
	f.put(t, 3, nil)
	return f
}

// put puts a bundle in force.
func (f *fleet) put(t testing.TB, version int64, change func(*signing.PolicyBundle)) {
	t.Helper()
	data, digest := f.BundleWith(t, f.root.Digest, version, change)
	env, err := signing.ParseEnvelope(data)
	if err != nil {
		t.Fatal(err)
	}
	if f.bundle, err = signing.VerifyBundle(env, f.root, day, 0); err != nil {
		t.Fatal(err)
	}
	f.policy = journal.Mark{Version: version, Digest: digest}
}

func (f *fleet) device() Device {
	return Device{
		Target: signing.Target{DeviceID: "edge-1", EnrollmentID: enrollment}, Now: f.now,
		Root: f.root, Bundle: f.bundle, Policy: f.policy,
	}
}

// statement is a command that this device does.
func (f *fleet) statement(n int, kind string) signing.CommandStatement {
	return signing.CommandStatement{
		FleetID: agenttest.FleetID, RootDigest: f.root.Digest, PolicyVersion: f.policy.Version, PolicyDigest: f.policy.Digest,
		ActionID: id(n), Kind: kind, Targets: signing.NewTargets([]signing.Target{{DeviceID: "edge-1", EnrollmentID: enrollment}}),
		Requester: "ada", NotBefore: day, NotAfter: day.Add(time.Hour),
	}
}

// none is a past in which nothing was done.
var none = Past{Begun: func(string, time.Time) int { return 0 }}

// stateDir is an enrolled device's journal.
func stateDir(t testing.TB) *journal.Journal {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := journal.MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	mark := journal.Mark{Version: 1, Digest: signing.Digest(nil)}
	if err := j.Begin(journal.State{
		Server: "https://s.test:8443", DeviceID: "edge-1", EnrollmentID: enrollment, StartedAt: day, ServerCA: []byte{1},
		Enrolled: &journal.Enrolled{At: day, FirstRoot: mark.Digest, Root: mark, Policy: mark, TimeFloor: day, Epoch: agenttest.Epoch},
	}); err != nil {
		t.Fatal(err)
	}
	return j
}

// key is the device's.
func key(t testing.TB) crypto.Signer { return agenttest.Key(t) }

// read reads results as the server does.
func read(t *testing.T, hb *protocol.Heartbeat, by crypto.PublicKey) map[string]*signing.CommandResult {
	t.Helper()
	if err := hb.Check(); err != nil {
		t.Fatalf("the heartbeat: %v", err)
	}
	results := map[string]*signing.CommandResult{}
	for _, data := range hb.Results {
		results[resultOf(t, data, by).ActionID] = resultOf(t, data, by)
	}
	return results
}

func resultOf(t *testing.T, data json.RawMessage, by crypto.PublicKey) *signing.CommandResult {
	t.Helper()
	env, err := signing.ParseEnvelope(data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := signing.VerifyResult(env, by)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
