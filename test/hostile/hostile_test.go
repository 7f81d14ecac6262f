package hostile

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/agentsim"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// siege is a taken server before one device.
type siege struct {
	*world
	device *device
	server *server

	ids      int
	attempts int
	obeyed   int
	done     string // action id of the command that was done for good reason
}

func TestAHostileServerIsNotObeyed(t *testing.T) {
	t.Parallel()
	s := newSiege(t)
	s.done = s.honestCommand("before")
	for _, a := range s.commandAttempts() {
		s.command(a)
	}
	for _, a := range s.repetitions() {
		s.repetition(a)
	}
	for _, a := range s.documentAttempts() {
		s.document(a)
	}
	for _, a := range s.certificateAttempts() {
		s.certificate(a, false)
	}
	s.device.pass(certLife) // the certificate expires, and the way back is a recovery
	for _, a := range s.certificateAttempts() {
		s.certificate(a, true)
	}
	s.recovered()
	s.honestCommand("after")
	t.Logf("%d attempts, %d obeyed", s.attempts, s.obeyed)
	if s.attempts < 50 || s.obeyed != 0 {
		t.Errorf("%d attempts, %d obeyed", s.attempts, s.obeyed)
	}
}

// newSiege enrolls the device honestly, and brings it the bundle in force.
func newSiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{world: newWorld(t), device: newDevice(t)}
	s.server = newServer(s.world, s.device.now)
	s.device.server = s.server
	s.device.enroll(certs.Fingerprint(s.serverCA.Certificate.Raw), s.first)
	s.server.say = func(a *protocol.HeartbeatAnswer) { a.PolicyBundles = []json.RawMessage{s.bundle} }
	s.device.live("two heartbeats", func() bool { return s.server.beats >= 2 })
	if st := s.device.state(); st.FirstRoot != s.first || st.RootDigest != s.first || st.PolicyDigest != s.bundleDigest {
		t.Fatalf("the device believes %+v", st)
	}
	return s
}

// statement is a command that the device does, with an id of its own.
func (s *siege) statement() signing.CommandStatement {
	s.ids++
	return signing.CommandStatement{
		Type: "command", FleetID: fleetID, RootDigest: s.first, PolicyVersion: 3, PolicyDigest: s.bundleDigest,
		ActionID: fmt.Sprintf("0198c1f0-0000-7000-8000-%012d", s.ids), Kind: "ping",
		Targets:   signing.NewTargets([]signing.Target{s.target()}),
		Requester: "ada", NotBefore: s.device.now().Add(-time.Minute).Truncate(time.Microsecond), NotAfter: s.device.now().Add(time.Hour).Truncate(time.Microsecond),
	}
}

// target is the device in its enrollment.
func (s *siege) target() signing.Target {
	return signing.Target{DeviceID: deviceID, EnrollmentID: s.server.enrollment}
}

// honestCommand is signed and delivered as it should be, and done once.
func (s *siege) honestCommand(when string) (id string) {
	s.t.Helper()
	before := s.device.state().Commands
	c := s.statement()
	d := s.deliver(c, s.loot.command)
	s.server.say = func(a *protocol.HeartbeatAnswer) { a.Commands = []protocol.CommandDelivery{d} }
	s.device.live("the honest command is done", func() bool { return s.server.results[c.ActionID].times >= 2 })
	if got := s.server.results[c.ActionID]; got.status != signing.Succeeded {
		s.t.Fatalf("the honest command %s: %+v\n%s", when, got, s.device.told())
	}
	if done := s.device.state().Commands - before; done != 1 {
		s.t.Errorf("the honest command %s was done %d times", when, done)
	}
	return c.ActionID
}

// witness is everything that shows what a device did and whom it believes.
type witness struct {
	pins    agentsim.State
	begun   int64
	shown   map[string]bool
	results map[string]outcome
}

func (s *siege) witness() witness {
	s.t.Helper()
	p := s.device.state()
	begun := p.Commands
	p.Commands, p.Counter, p.Accepted, p.Refusal = 0, 0, 0, "" // these go on
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return witness{p, begun, maps.Clone(s.server.shown), maps.Clone(s.server.results)}
}

// attempt lets a process of the agent hear what the server says now, until it has
// surely heard it, and counts what it did of it.
func (s *siege) attempt(name, told string, heard func() bool) {
	s.t.Helper()
	s.attempts++
	before := s.witness()
	restarted := s.device.live(name, heard)
	after := s.witness()
	var did []string
	if restarted {
		did = append(did, "restarted")
	}
	if n := after.begun - before.begun; n != 0 {
		did = append(did, fmt.Sprintf("%d begun", n))
	}
	if after.pins != before.pins {
		did = append(did, fmt.Sprintf("believes %+v, and believed %+v", after.pins, before.pins))
	}
	if !maps.Equal(after.shown, before.shown) {
		did = append(did, "shows another certificate")
	}
	for id, o := range after.results {
		if was, known := before.results[id]; o.status != signing.Refused && (!known || was.status != o.status) {
			did = append(did, fmt.Sprintf("%s %s", o.status, id))
		}
	}
	if len(did) > 0 {
		s.obeyed++
		s.t.Errorf("%s: obeyed: %s", name, strings.Join(did, "; "))
	}
	if !strings.Contains(s.device.told(), told) {
		s.t.Errorf("%s: the agent does not say %q:\n%s", name, told, s.device.told())
	}
	s.server.mu.Lock()
	s.server.honest()
	s.server.mu.Unlock()
}

// recovered lets the way back come to a good end.
func (s *siege) recovered() {
	s.t.Helper()
	beats := s.server.beats
	s.server.shown = map[string]bool{}
	s.server.honest()
	s.device.live("a recovery", func() bool { return len(s.server.shown) > 1 && s.server.beats > beats })
}
