package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// Rule is something that must hold, whatever was killed.
type Rule struct {
	Name string
	Rows string // of the catalogue
	Find func(*Evidence) []string
}

// Rules lists them all.
func Rules() []Rule {
	return []Rule{
		{"accepted counters only rise", "HBT-01 REL-01", countersRise},
		{"no counter is accepted twice", "HBT-01 REL-02", countersOnce},
		{"what was acknowledged is stored", "REL-01 REL-02", acknowledgedStored},
		{"an agent uses no counter twice", "HBT-05", agentsRise},
		{"versions, epochs and times never go back on an agent", "UPD-09 HBT-05", versionsRise},
		{"an honest device is neither held nor refused for its counter", "HBT-05 HBT-06", honestGoOn},
		{"a token lets in whom it counts, and no more", "ENR-01 REL-02", tokensCount},
		{"an enrollment leads to one device and one certificate", "ENR-01 REL-02", enrolledOnce},
		{"a device has one certificate in use, and one at most that waits for its first use", "ENR-13 REL-02", certificatesInForce},
		{"a certificate is not accepted once another took its place", "ENR-13 REL-01", supersededSilent},
		{"a request leads to one certificate at most", "ENR-13 REL-02", requestsOnce},
		{"one request of a device is open at a time", "ENR-13 REL-02", oneRequest},
		{"an agent keeps the identity that the server knows", "ENR-13 AGT-13 REL-01", agentsKeepIdentity},
		{"nothing is accepted from a revoked device", "REV-01 REL-01", revokedSilent},
		{"an acknowledged revocation is in force and journalled", "REV-05 REL-01", revokedKept},
		{"each act has one entry", "AUD-04", actsRecorded},
		{"each enrollment, certificate and token has one entry", "AUD-04", thingsRecorded},
		{"each step of a renewal has one entry", "AUD-04", renewalsRecorded},
		{"an acknowledged command is kept, runs at most once and has one result", "CMD-04 AUD-04", commandsOnce},
		{"no node remembers more than the database", "REV-05 REL-01", nodesBehind},
	}
}

// Violation is a rule that does not hold, and where.
type Violation struct {
	Rule  string
	Rows  string
	Where []string
}

func (v Violation) String() string {
	shown := v.Where[:min(len(v.Where), 10)]
	text := fmt.Sprintf("%s (%s): %d times\n    %s", v.Rule, v.Rows, len(v.Where), strings.Join(shown, "\n    "))
	if len(shown) < len(v.Where) {
		text += "\n    ..."
	}
	return text
}

// Violations asks every rule.
func Violations(e *Evidence) []Violation {
	var found []Violation
	for _, r := range Rules() {
		if where := r.Find(e); len(where) > 0 {
			slices.Sort(where)
			found = append(found, Violation{r.Name, r.Rows, where})
		}
	}
	return found
}

// RevokedWithin is how long after an acknowledged revocation something of the
// device's may still be under way.
const RevokedWithin = 5 * time.Second

// Racing begins the names of devices that race against themselves on purpose:
// theirs may be held.
const Racing = "race-"

// by groups the operations of a kind, each group in the order of their beginning.
func (e *Evidence) by(kind string, key func(record.Op) string) map[string][]record.Op {
	groups := map[string][]record.Op{}
	for _, o := range e.Ops {
		if o.Kind == kind {
			groups[key(o)] = append(groups[key(o)], o)
		}
	}
	for _, g := range groups {
		slices.SortStableFunc(g, func(a, b record.Op) int { return cmp.Compare(a.Begin, b.Begin) })
	}
	return groups
}

func device(o record.Op) string { return o.Device }

func accepted(ops []record.Op) []record.Op {
	return slices.DeleteFunc(slices.Clone(ops), func(o record.Op) bool { return o.Result != record.OK })
}

func countersRise(e *Evidence) (where []string) {
	for key, ops := range e.by(record.Heartbeat, func(o record.Op) string { return o.Device + " in " + o.Epoch }) {
		ops = accepted(ops)
		// One that had ended before another began was accepted before it.
		ended := slices.Clone(ops)
		slices.SortFunc(ended, func(a, b record.Op) int { return cmp.Compare(a.End, b.End) })
		highest, next := int64(0), 0
		for _, o := range ops {
			for next < len(ended) && ended[next].End < o.Begin {
				highest = max(highest, ended[next].Counter)
				next++
			}
			if o.Counter <= highest {
				where = append(where, fmt.Sprintf("%s: %d after %d, at %v", key, o.Counter, highest, o.Begin))
			}
		}
	}
	return where
}

func countersOnce(e *Evidence) (where []string) {
	for key, ops := range e.by(record.Heartbeat, func(o record.Op) string { return o.Device + " in " + o.Epoch }) {
		seen := map[int64]bool{}
		for _, o := range accepted(ops) {
			if seen[o.Counter] {
				where = append(where, fmt.Sprintf("%s: %d", key, o.Counter))
			}
			seen[o.Counter] = true
		}
	}
	return where
}

func acknowledgedStored(e *Evidence) (where []string) {
	for id, ops := range e.by(record.Heartbeat, device) {
		stored, known := e.Devices[id]
		sent := int64(0)
		for _, o := range ops {
			sent = max(sent, o.Counter)
			if o.Result == record.OK && (!known || stored.Counter < o.Counter) {
				where = append(where, fmt.Sprintf("%s: %d was acknowledged, %d is stored", id, o.Counter, stored.Counter))
			}
		}
		if stored.Counter > sent {
			where = append(where, fmt.Sprintf("%s: %d is stored and was never sent", id, stored.Counter))
		}
	}
	for id, ops := range e.by(record.Fetch, device) {
		if len(accepted(ops)) > 0 && e.Devices[id].ID == "" {
			where = append(where, id+": has a certificate and is not there")
		}
	}
	for note, ops := range e.by(record.Token, func(o record.Op) string { return o.Token }) {
		if _, known := e.Tokens[note]; len(accepted(ops)) > 0 && !known {
			where = append(where, "token "+note+": was made and is not there")
		}
	}
	return where
}

func agentsRise(e *Evidence) (where []string) {
	last := map[string]record.Snapshot{}
	for _, s := range e.Snapshots {
		if s.Counter < last[s.Agent].Counter {
			where = append(where, fmt.Sprintf("%s: its counter went from %d to %d", s.Agent, last[s.Agent].Counter, s.Counter))
		}
		last[s.Agent] = s
	}
	for id, s := range e.Agents {
		d := e.Devices[id]
		if d.Counter > s.Counter {
			where = append(where, fmt.Sprintf("%s: the server accepted %d, and the agent used %d", id, d.Counter, s.Counter))
		}
		if s.Accepted > d.Counter {
			where = append(where, fmt.Sprintf("%s: was told of %d, and %d is stored", id, s.Accepted, d.Counter))
		}
	}
	return where
}

func versionsRise(e *Evidence) (where []string) {
	lives := map[string][]record.Snapshot{}
	for _, s := range e.Snapshots {
		lives[s.Agent] = append(lives[s.Agent], s)
	}
	for id, life := range lives {
		if end, ok := e.Agents[id]; ok {
			life = append(life, end)
		}
		left := map[string]bool{} // epochs
		for i, s := range life[1:] {
			b := life[i]
			if s.Root < b.Root || s.Policy < b.Policy || s.Floor.Before(b.Floor) {
				where = append(where, fmt.Sprintf("%s: from root %d, policy %d and %v to %d, %d and %v", id, b.Root, b.Policy, b.Floor, s.Root, s.Policy, s.Floor))
			}
			if s.Epoch != b.Epoch {
				left[b.Epoch] = true
			}
			if left[s.Epoch] {
				where = append(where, fmt.Sprintf("%s: back in epoch %s", id, s.Epoch))
			}
		}
	}
	return where
}

// honestGoOn excuses what came late: a beat whose caller gave up may lie in the
// buffers of a node that stands still, and be judged after a later one. A beat that
// was answered has no such excuse.
func honestGoOn(e *Evidence) (where []string) {
	late := map[string]int{}
	for _, o := range e.Ops {
		if o.Kind != record.Heartbeat || strings.HasPrefix(o.Device, Racing) {
			continue
		}
		if o.Result == record.Unknown {
			late[o.Device]++
		}
		if strings.HasPrefix(o.Result, "counter-") {
			where = append(where, o.Device+": answered: "+o.Result)
		}
	}
	for _, a := range e.Audit {
		if strings.HasPrefix(a.Object, Racing) {
			continue
		}
		if a.Action == "device.hold" {
			where = append(where, a.Object+": held: "+a.Reason)
		}
		if a.Action != "device.heartbeat" || !strings.HasPrefix(a.Reason, "counter-") {
			continue
		}
		if a.Reason == string(protocol.CodeCounterStale) && late[a.Object] > 0 {
			late[a.Object]--
			continue
		}
		where = append(where, a.Object+": refused: "+a.Reason)
	}
	return where
}

func tokensCount(e *Evidence) (where []string) {
	rows := map[string]int{}
	known := map[string]Enrollment{}
	for _, r := range e.Enrollments {
		rows[r.Token]++
		known[r.ID] = r
	}
	for note, t := range e.Tokens {
		if t.Uses != rows[t.ID] || t.Uses > t.MaxUses {
			where = append(where, fmt.Sprintf("token %s: %d of %d uses, %d enrollments", note, t.Uses, t.MaxUses, rows[t.ID]))
		}
	}
	for note, ops := range e.by(record.Enroll, func(o record.Op) string { return o.Token }) {
		in := map[string]bool{}
		for _, o := range accepted(ops) {
			in[o.Enrollment] = true
			if r := known[o.Enrollment]; r.Device != o.Device {
				where = append(where, fmt.Sprintf("token %s: the enrollment of %s was acknowledged and is not there", note, o.Device))
			}
		}
		if t := e.Tokens[note]; len(in) > t.MaxUses {
			where = append(where, fmt.Sprintf("token %s: %d were told that they are in, and %d may be", note, len(in), t.MaxUses))
		}
	}
	return where
}

func revokedSilent(e *Evidence) (where []string) {
	at := map[string]time.Duration{}
	for id, ops := range e.by(record.Revoke, device) {
		for _, o := range accepted(ops) {
			if first, ok := at[id]; !ok || o.End < first {
				at[id] = o.End
			}
		}
	}
	for _, o := range e.Ops {
		since, revoked := at[o.Device]
		if revoked && o.Result == record.OK && (o.Kind == record.Heartbeat || o.Kind == record.Fetch || o.Kind == record.Enroll || o.Kind == record.Renew) && o.Begin > since+RevokedWithin {
			where = append(where, fmt.Sprintf("%s: %s %d at %v, revoked at %v", o.Device, o.Kind, o.Counter, o.Begin, since))
		}
	}
	return where
}

func revokedKept(e *Evidence) (where []string) {
	journalled := map[string]bool{}
	for _, n := range e.Nodes {
		if n.Torn {
			where = append(where, n.Name+": a line of the journal is no revocation")
		}
		for _, id := range n.Revoked {
			journalled[id] = true
			if e.Devices[id].State != "revoked" {
				where = append(where, fmt.Sprintf("%s: is in the journal of %s and is %q", id, n.Name, e.Devices[id].State))
			}
		}
	}
	for id, ops := range e.by(record.Revoke, device) {
		if len(accepted(ops)) == 0 {
			continue
		}
		if d := e.Devices[id]; d.State != "revoked" || d.Gate != 3 {
			where = append(where, fmt.Sprintf("%s: its revocation was acknowledged, and it is %q at gate %d", id, d.State, d.Gate))
		}
		if !journalled[id] {
			where = append(where, id+": its revocation was acknowledged and is in no journal")
		}
	}
	return where
}

// acts and the actions that record them.
var acts = map[string]string{
	record.Suspend: "device.suspend", record.Resume: "device.resume", record.Resync: "device.resync", record.Revoke: "certificate.revoke",
	record.Approve: "identity.approve", record.Reject: "identity.reject",
}

func actsRecorded(e *Evidence) (where []string) {
	type key struct{ action, object, reason string }
	entries := map[key]int{}
	count := map[key]int{}
	for _, a := range e.Audit {
		if a.Result == "done" {
			entries[key{a.Action, a.Object, a.Reason}]++
			count[key{action: a.Action, object: a.Object}]++
		}
	}
	for _, o := range e.Ops {
		action, isAct := acts[o.Kind]
		if !isAct {
			continue
		}
		n := entries[key{action, o.Device, o.Reason}]
		least, most := 0, 0
		switch {
		case o.Result == record.OK && o.Kind != record.Revoke: // revoking again is acknowledged again and changes nothing
			least, most = 1, 1
		case o.Result == record.OK, o.Result == record.Unknown:
			most = 1
		}
		if n < least || n > most {
			where = append(where, fmt.Sprintf("%s of %s (%s) was answered %s and has %d entries", o.Kind, o.Device, o.Reason, o.Result, n))
		}
	}
	for id, d := range e.Devices {
		if n := count[key{action: "certificate.revoke", object: id}]; n != truth(d.State == "revoked") {
			where = append(where, fmt.Sprintf("%s is %s and has %d entries of a revocation", id, d.State, n))
		}
		open := count[key{action: "device.suspend", object: id}] - count[key{action: "device.resume", object: id}]
		if d.State == "suspended" && open != 1 || d.State == "active" && open != 0 || open < 0 || open > 1 {
			where = append(where, fmt.Sprintf("%s is %s with %d suspensions more than resumptions", id, d.State, open))
		}
	}
	return where
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func commandsOnce(e *Evidence) (where []string) {
	say := func(format string, args ...any) { where = append(where, fmt.Sprintf(format, args...)) }
	asked, results := map[string]int{}, map[string]int{}
	for _, a := range e.Audit {
		if a.Result == "done" && a.Action == "command.request" {
			asked[a.Reason]++
		}
		if a.Result == "done" && a.Action == "command.result" {
			results[a.Object]++
		}
	}
	for _, o := range e.Ops {
		if o.Kind != record.Command {
			continue
		}
		n := asked[o.Reason]
		if n > 1 || (n == 1) != (o.Result == record.OK) && o.Result != record.Unknown {
			say("a command to %s (%s) was answered %s and has %d entries", o.Device, o.Reason, o.Result, n)
		}
		if o.Result == record.OK && !e.Commands[o.Command] {
			say("command %s to %s was acknowledged and is not there", o.Command, o.Device)
		}
	}
	for _, t := range e.Targets {
		over := t.State == "succeeded" || t.State == "failed"
		if over != t.Result || results[t.Command] != truth(over) {
			say("command %s to %s is %s, has a result: %t, and %d entries of it", t.Command, t.Device, t.State, t.Result, results[t.Command])
		}
		if ran := e.Journals[t.Device][t.Command]; t.State == "succeeded" && (ran.Begun != 1 || ran.Ended != 1) {
			say("command %s succeeded, and %s began it %d times and ended it %d times", t.Command, t.Device, ran.Begun, ran.Ended)
		}
	}
	for agent, journal := range e.Journals {
		for id, ran := range journal {
			if ran.Begun != 1 || ran.Ended > 1 || ran.Reported > ran.Ended {
				say("%s began %s %d times, ended it %d times, reported it %d times", agent, id, ran.Begun, ran.Ended, ran.Reported)
			}
		}
	}
	return where
}

func nodesBehind(e *Evidence) (where []string) {
	if e.Instance.Behind != 0 {
		where = append(where, "the database is marked as restored")
	}
	for _, n := range e.Nodes {
		if n.Fleet != e.Instance.Fleet || n.Epoch != e.Instance.Epoch || n.Mark > e.Instance.Mark {
			where = append(where, fmt.Sprintf("%s remembers %s/%s at %d, the database is %s/%s at %d", n.Name, n.Fleet, n.Epoch, n.Mark, e.Instance.Fleet, e.Instance.Epoch, e.Instance.Mark))
		}
	}
	return where
}
