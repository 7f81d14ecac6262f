package check

import (
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

const (
	s    = time.Second
	home = "epoch-1"
)

// clean is the evidence of a run in which all went well: edge-1 beats, edge-2 was
// revoked, edge-3 is suspended, agent-1 is a real one.
func clean() *Evidence {
	beat := func(id string, counter int64, begin, end time.Duration, result string) record.Op {
		return record.Op{Kind: record.Heartbeat, Device: id, Epoch: home, Counter: counter, Begin: begin, End: end, Result: result}
	}
	e := &Evidence{
		Ops: []record.Op{
			{Kind: record.Token, Token: "t-1", Uses: 3, Begin: 0, End: s, Result: record.OK},
			{Kind: record.Token, Token: "t-lost", Uses: 1, Begin: 0, End: s, Result: record.Unknown},
			{Kind: record.Enroll, Device: "edge-1", Enrollment: "e-1", Token: "t-1", Begin: s, End: 2 * s, Result: record.OK},
			{Kind: record.Fetch, Device: "edge-1", Enrollment: "e-1", Begin: 2 * s, End: 3 * s, Result: record.OK},
			beat("edge-1", 1, 4*s, 5*s, record.OK),
			beat("edge-1", 2, 6*s, 7*s, record.Unknown),
			beat("edge-1", 4, 8*s, 10*s, record.OK),
			beat("edge-1", 3, 8*s, 10*s, record.OK),
			beat("edge-1", 4, 11*s, 12*s, "certificate-unknown"),
			beat("edge-2", 1, 4*s, 5*s, record.OK),
			beat("edge-2", 2, 21*s, 22*s, record.OK), // on its way when it was revoked
			beat("edge-2", 3, 40*s, 41*s, "device-revoked"),
			{Kind: record.Revoke, Device: "edge-2", Reason: "r-1", Begin: 10 * s, End: 15 * s, Result: record.Unknown},
			{Kind: record.Revoke, Device: "edge-2", Reason: "r-2", Begin: 19 * s, End: 20 * s, Result: record.OK},
			{Kind: record.Suspend, Device: "edge-3", Reason: "s-1", Begin: 1 * s, End: 2 * s, Result: record.OK},
			{Kind: record.Resume, Device: "edge-3", Reason: "s-2", Begin: 3 * s, End: 4 * s, Result: record.OK},
			{Kind: record.Suspend, Device: "edge-3", Reason: "s-3", Begin: 5 * s, End: 6 * s, Result: record.Unknown},
			{Kind: record.Suspend, Device: "edge-3", Reason: "s-4", Begin: 7 * s, End: 8 * s, Result: "conflict"},
		},
		Snapshots: []record.Snapshot{
			{Agent: "agent-1", Counter: 5, Accepted: 4, Root: 1, Policy: 3},
			{Agent: "agent-1", Counter: 7, Accepted: 7, Root: 1, Policy: 4},
		},
		Agents:   map[string]record.Snapshot{"agent-1": {Agent: "agent-1", Counter: 8, Accepted: 7, Root: 1, Policy: 4}},
		Instance: Instance{Fleet: "f", Epoch: home, Mark: 9},
		Nodes:    []Node{{Name: "n1", Fleet: "f", Epoch: home, Mark: 9, Revoked: []string{"edge-2", "edge-2"}}, {Name: "n2", Fleet: "f", Epoch: home, Mark: 8}},
		Devices:  map[string]Device{},
		Tokens:   map[string]Token{"t-1": {"T1", 4, 4}, "t-lost": {"T2", 0, 1}},
	}
	add := func(id, state string, counter int64) {
		e.Devices[id] = Device{ID: id, Enrollment: "e-" + id[len(id)-1:], State: state, Counter: counter, Fingerprint: "fp-" + id}
		e.Enrollments = append(e.Enrollments, Enrollment{e.Devices[id].Enrollment, "T1", id, "issued", "fp-" + id})
		e.Certificates = append(e.Certificates, Certificate{"fp-" + id, id, e.Devices[id].Enrollment, time.Duration(truth(state == "revoked")) * 20 * s})
		e.Audit = append(e.Audit, Entry{"enrollment.request", id, "done", "", ""}, Entry{"certificate.issue", id, "done", "", ""})
	}
	add("edge-1", "active", 4)
	add("edge-2", "revoked", 2)
	add("edge-3", "suspended", 0)
	add("agent-9", "active", 7)
	// The agent's row goes by its own name.
	d := e.Devices["agent-9"]
	delete(e.Devices, "agent-9")
	d.ID = "agent-1"
	e.Devices["agent-1"] = d
	e.Enrollments[3].Device, e.Certificates[3].Device = "agent-1", "agent-1"
	for i := range e.Audit {
		if e.Audit[i].Object == "agent-9" {
			e.Audit[i].Object = "agent-1"
		}
	}
	revoked := e.Devices["edge-2"]
	revoked.Gate = 3
	e.Devices["edge-2"] = revoked
	e.Audit = append(e.Audit,
		Entry{"certificate.revoke", "edge-2", "done", "r-1", ""}, Entry{"device.suspend", "edge-3", "done", "s-1", ""},
		Entry{"device.resume", "edge-3", "done", "s-2", ""}, Entry{"device.suspend", "edge-3", "done", "s-3", ""},
		Entry{"enroll-token.create", "T1", "done", "", ""}, Entry{"enroll-token.create", "T2", "done", "", ""},
		Entry{"device.suspend", "edge-3", "refused", "s-4", ""}, Entry{"device.hold", "race-1", "done", "stale", ""},
		Entry{"device.heartbeat", "edge-1", "refused", "counter-stale", ""}) // the one without an answer, late
	e.Ops = append(e.Ops,
		record.Op{Kind: record.Command, Device: "agent-1", Command: "c-1", Reason: "x-1", Result: record.OK},
		record.Op{Kind: record.Command, Device: "agent-1", Reason: "x-2", Result: record.Unknown})
	e.Commands = map[string]bool{"c-1": true, "c-2": true}
	e.Targets = []Target{{"c-1", "agent-1", "succeeded", true}, {"c-2", "agent-1", "acknowledged", false}}
	e.Journals = map[string]map[string]Ran{"agent-1": {"c-1": {1, 1, 1}, "c-2": {1, 0, 0}}}
	e.Audit = append(e.Audit, Entry{"command.request", "c-1", "done", "x-1", ""}, Entry{"command.request", "c-2", "done", "x-2", ""}, Entry{"command.result", "c-1", "done", "", ""})
	e.renewals()
	return e
}

// renewals of edge-4: one was used, one was replaced by the next, and that waits
// for its first use. One of edge-1 was rejected by a person, one waits for it, and
// agent-1 shows another certificate than the one in use.
func (e *Evidence) renewals() {
	ask := func(id, request, shown string, begin time.Duration, result, issued string) {
		e.Ops = append(e.Ops, record.Op{Kind: record.Renew, Device: id, Request: request, Shown: shown, Begin: begin, End: begin + s, Result: result, Issued: issued})
	}
	beat := func(counter int64, shown string, begin time.Duration, result string) {
		e.Ops = append(e.Ops, record.Op{Kind: record.Heartbeat, Device: "edge-4", Epoch: home, Counter: counter, Shown: shown, Begin: begin, End: begin + s, Result: result})
	}
	beat(1, "", 10*s, record.OK)
	ask("edge-4", "q-1", "", 20*s, record.Unknown, "")
	ask("edge-4", "q-1", "", 22*s, record.OK, "fp-q-1")
	beat(2, "", 24*s, record.OK)
	beat(3, "q-1", 40*s, record.OK)
	beat(4, "", 40*s, record.OK) // on its way meanwhile
	beat(5, "", 44*s, "certificate-unknown")
	ask("edge-4", "q-2", "q-1", 60*s, record.OK, "fp-q-2")
	ask("edge-4", "q-3", "q-1", 80*s, record.OK, "fp-q-3")
	beat(5, "q-1", 90*s, record.OK)
	ask("edge-1", "q-5", "", 20*s, record.Pending, "")
	ask("edge-1", "q-6", "", 70*s, record.Pending, "")
	e.Ops = append(e.Ops, record.Op{Kind: record.Reject, Device: "edge-1", Request: "q-5", Reason: "d-1", Begin: 30 * s, End: 31 * s, Result: record.OK})
	e.Requests = []Request{
		{ID: "q-1", Device: "edge-4", State: "used", Fingerprint: "fp-q-1", SignedBy: "fp-edge-4", Created: 21 * s, Given: 21 * s, End: 41 * s},
		{ID: "q-2", Device: "edge-4", State: "rejected", Fingerprint: "fp-q-2", SignedBy: "fp-q-1", Created: 61 * s, Given: 61 * s, End: 81 * s},
		{ID: "q-3", Device: "edge-4", State: "issued", Fingerprint: "fp-q-3", SignedBy: "fp-q-1", Created: 81 * s, Given: 81 * s},
		{ID: "q-5", Device: "edge-1", State: "rejected", Approval: "a-1", Created: 21 * s, End: 30 * s},
		{ID: "q-6", Device: "edge-1", State: "pending", Approval: "a-2", Created: 71 * s},
		{ID: "q-7", Device: "edge-2", State: "rejected", Fingerprint: "fp-q-7", SignedBy: "fp-edge-2", Created: 15 * s, Given: 15 * s, End: 20 * s},
	}
	e.Devices["edge-4"] = Device{ID: "edge-4", Enrollment: "e-4", State: "active", Counter: 5, Fingerprint: "fp-q-1", Next: "fp-q-3"}
	e.Enrollments = append(e.Enrollments, Enrollment{"e-4", "T1", "edge-4", "issued", "fp-edge-4"})
	e.Tokens["t-1"] = Token{"T1", 5, 5}
	e.Certificates = append(e.Certificates, Certificate{"fp-edge-4", "edge-4", "e-4", 41 * s}, Certificate{"fp-q-1", "edge-4", "e-4", 0},
		Certificate{"fp-q-2", "edge-4", "e-4", 81 * s}, Certificate{"fp-q-3", "edge-4", "e-4", 0},
		Certificate{"fp-q-7", "edge-2", "e-2", 20 * s}) // it waited when edge-2 was revoked
	e.Audit = append(e.Audit, Entry{"enrollment.request", "edge-4", "done", "", ""}, Entry{"certificate.issue", "edge-4", "done", "", ""},
		Entry{"certificate.renew", "edge-4", "done", "", `{"request":"q-1","fingerprint":"fp-q-1"}`}, Entry{"certificate.supersede", "edge-4", "done", "", `{"fingerprint":"fp-q-1","superseded":"fp-edge-4"}`},
		Entry{"certificate.renew", "edge-4", "done", "", `{"request":"q-2","fingerprint":"fp-q-2"}`}, Entry{"identity.reject", "edge-4", "done", "a newer request took its place", `{"request":"q-2"}`},
		Entry{"certificate.renew", "edge-4", "done", "", `{"request":"q-3","fingerprint":"fp-q-3"}`},
		Entry{"identity.request", "edge-1", "done", "", `{"request":"q-5"}`}, Entry{"identity.reject", "edge-1", "done", "d-1", `{"request":"q-5"}`},
		Entry{"identity.request", "edge-1", "done", "", `{"request":"q-6"}`},
		Entry{"certificate.renew", "edge-2", "done", "", `{"request":"q-7","fingerprint":"fp-q-7"}`}, Entry{"identity.reject", "edge-2", "done", "the device was revoked", `{"request":"q-7"}`})
	e.Identities = map[string]Identity{"agent-1": {InUse: "fp-before", Other: "fp-agent-9", Tried: true}}
}

const versionRule = "versions, epochs and times never go back on an agent"

const commandRule = "an acknowledged command is kept, runs at most once and has one result"

func TestACleanRunIsClean(t *testing.T) {
	t.Parallel()
	for _, v := range Violations(clean()) {
		t.Error(v)
	}
}

func setDevice(id string, change func(*Device)) func(*Evidence) {
	return func(e *Evidence) {
		d := e.Devices[id]
		change(&d)
		e.Devices[id] = d
	}
}

func entry(e Entry) func(*Evidence) {
	return func(all *Evidence) { all.Audit = append(all.Audit, e) }
}

func op(o record.Op) func(*Evidence) {
	return func(e *Evidence) { e.Ops = append(e.Ops, o) }
}

func without(action, reason string) func(*Evidence) {
	return func(e *Evidence) {
		i := slices.IndexFunc(e.Audit, func(a Entry) bool { return a.Action == action && (reason == "" || a.Reason == reason) })
		e.Audit = slices.Delete(e.Audit, i, i+1)
	}
}

// violation is a fault, and the rule that is to find it.
type violation struct {
	rule, what string
	plant      func(*Evidence)
}

// Each rule sees what it is for.
func TestPlantedViolationsAreFound(t *testing.T) {
	t.Parallel()
	planted := []violation{
		{"accepted counters only rise", "a lower one later", op(record.Op{Kind: record.Heartbeat, Device: "edge-1", Epoch: home, Counter: 2, Begin: 20 * s, End: 21 * s, Result: record.OK})},
		{"no counter is accepted twice", "at the same time", op(record.Op{Kind: record.Heartbeat, Device: "edge-1", Epoch: home, Counter: 4, Begin: 8 * s, End: 10 * s, Result: record.OK})},
		{"what was acknowledged is stored", "a lower counter is stored", setDevice("edge-1", func(d *Device) { d.Counter = 3 })},
		{"what was acknowledged is stored", "a counter is stored that nobody sent", setDevice("edge-1", func(d *Device) { d.Counter = 5 })},
		{"what was acknowledged is stored", "a token is gone", func(e *Evidence) { delete(e.Tokens, "t-1") }},
		{"what was acknowledged is stored", "a device is gone", func(e *Evidence) { delete(e.Devices, "edge-1") }},
		{"an agent uses no counter twice", "its journal went back", func(e *Evidence) { e.Snapshots[1].Counter = 4 }},
		{"an agent uses no counter twice", "the server has a higher one", setDevice("agent-1", func(d *Device) { d.Counter = 9 })},
		{"an agent uses no counter twice", "it was told of one that is not stored", setDevice("agent-1", func(d *Device) { d.Counter = 6 })},
		{versionRule, "policy", func(e *Evidence) { e.Snapshots[1].Policy = 2 }},
		{versionRule, "root", func(e *Evidence) { e.Snapshots[1].Root = 0 }},
		{versionRule, "root, in the end", func(e *Evidence) { e.Snapshots[1].Root = 2 }},
		{versionRule, "time", func(e *Evidence) { e.Snapshots[0].Floor = time.Unix(1, 0) }},
		{versionRule, "epoch", func(e *Evidence) { e.Snapshots[1].Epoch = "epoch-2" }},
		{"an honest device is neither held nor refused for its counter", "held", entry(Entry{"device.hold", "edge-1", "done", "the counter went back", ""})},
		{"an honest device is neither held nor refused for its counter", "refused", entry(Entry{"device.heartbeat", "edge-2", "refused", "counter-stale", ""})},
		{"an honest device is neither held nor refused for its counter", "more than came late", entry(Entry{"device.heartbeat", "edge-1", "refused", "counter-stale", ""})},
		{"an honest device is neither held nor refused for its counter", "answered", op(record.Op{Kind: record.Heartbeat, Device: "edge-1", Epoch: home, Counter: 9, Result: "counter-stale"})},
		{"an honest device is neither held nor refused for its counter", "too far ahead is not late", entry(Entry{"device.heartbeat", "edge-1", "refused", "counter-jump", ""})},
		{"a token lets in whom it counts, and no more", "one more than it counts", func(e *Evidence) { e.Tokens["t-1"] = Token{"T1", 3, 4} }},
		{"a token lets in whom it counts, and no more", "an enrollment is gone", func(e *Evidence) { e.Enrollments[0].ID = "e-x"; e.Enrollments[0].Device = "edge-x" }},
		{"a token lets in whom it counts, and no more", "more were told so than may", op(record.Op{Kind: record.Enroll, Device: "edge-1", Enrollment: "e-1", Token: "t-none", Result: record.OK})},
		{"nothing is accepted from a revoked device", "a heartbeat", op(record.Op{Kind: record.Heartbeat, Device: "edge-2", Epoch: home, Counter: 3, Begin: 26 * s, End: 27 * s, Result: record.OK})},
		{"nothing is accepted from a revoked device", "a renewal", op(record.Op{Kind: record.Renew, Device: "edge-2", Begin: 26 * s, End: 27 * s, Result: record.OK})},
		{"an acknowledged revocation is in force and journalled", "it is active again", setDevice("edge-2", func(d *Device) { d.State = "active" })},
		{"an acknowledged revocation is in force and journalled", "its gate is open", setDevice("edge-2", func(d *Device) { d.Gate = 0 })},
		{"an acknowledged revocation is in force and journalled", "no journal has it", func(e *Evidence) { e.Nodes[0].Revoked = nil }},
		{"an acknowledged revocation is in force and journalled", "the journal has one that is not", func(e *Evidence) { e.Nodes[1].Revoked = []string{"edge-1"} }},
		{"an acknowledged revocation is in force and journalled", "the journal is torn", func(e *Evidence) { e.Nodes[1].Torn = true }},
		{"each act has one entry", "none", without("device.suspend", "s-1")},
		{"each act has one entry", "two", entry(Entry{"device.suspend", "edge-3", "done", "s-1", ""})},
		{"each act has one entry", "one of an act that was refused", entry(Entry{"device.suspend", "edge-3", "done", "s-4", ""})},
		{"each act has one entry", "two of one revocation", entry(Entry{"certificate.revoke", "edge-2", "done", "r-2", ""})},
		{"each act has one entry", "none of a decision", without("identity.reject", "d-1")},
		{"each act has one entry", "a state that nobody caused", setDevice("edge-1", func(d *Device) { d.State = "suspended" })},
		{"each enrollment, certificate and token has one entry", "no entry of a certificate", without("certificate.issue", "")},
		{"each enrollment, certificate and token has one entry", "no entry of a token", without("enroll-token.create", "")},
		{"each enrollment, certificate and token has one entry", "no entry of a request", without("enrollment.request", "")},
		{commandRule, "ran twice", func(e *Evidence) { e.Journals["agent-1"]["c-2"] = Ran{2, 1, 0} }},
		{commandRule, "it is gone", func(e *Evidence) { delete(e.Commands, "c-1") }},
		{commandRule, "two results", entry(Entry{"command.result", "c-1", "done", "", ""})},
		{commandRule, "no entry of its result", without("command.result", "")},
		{commandRule, "no entry of who asked", without("command.request", "x-1")},
		{commandRule, "no result", func(e *Evidence) { e.Targets[0].Result = false }},
		{commandRule, "succeeded without being done", func(e *Evidence) { delete(e.Journals["agent-1"], "c-1") }},
		{"no node remembers more than the database", "a higher mark", func(e *Evidence) { e.Instance.Mark = 8 }},
		{"no node remembers more than the database", "another epoch", func(e *Evidence) { e.Nodes[1].Epoch = "epoch-2" }},
		{"no node remembers more than the database", "behind", func(e *Evidence) { e.Instance.Behind = 1 }},
	}
	planted = append(planted, plantedRenewals()...)
	covered := map[string]bool{}
	for _, p := range planted {
		covered[p.rule] = true
		t.Run(p.rule+"/"+p.what, func(t *testing.T) {
			t.Parallel()
			e := clean()
			p.plant(e)
			if !slices.ContainsFunc(Violations(e), func(v Violation) bool { return v.Rule == p.rule }) {
				t.Errorf("not found; found instead: %v", Violations(e))
			}
		})
	}
	for _, r := range Rules() {
		if !covered[r.Name] {
			t.Errorf("%s: nothing is planted for it", r.Name)
		}
	}
}
