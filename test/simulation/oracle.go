package simulation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/agentsim"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/simtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// oracle knows what must hold, and watches.
type oracle struct {
	looks    int
	rows     []row          // as last committed, by device_id
	closed   map[string]int // since which look the gate of a device is not open
	accepted map[string]bool
	revoked  map[string]bool // enrollments whose revocation was acknowledged
	ended    map[string]int  // since which look a certificate is not a device's current one any more
	well     map[string]bool // devices accepted since the faults ended
	settled  int64
	targets  map[string]target // by device and command
	open     map[string]int    // commands of a device that are not over
	beats    int
}

// row is a device as the hot row has it.
type row struct {
	device, enrollment, epoch, fingerprint string
	gate                                   int
	counter                                int64
	seen                                   string
}

// The gates that an operator opens.
const (
	gateOpen = iota
	gateSuspended
	gateHeld
	gateRevoked
)

func (o *oracle) begin() {
	o.ended = map[string]int{}
	o.closed, o.accepted, o.revoked, o.well = map[string]int{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
}

// restored says that the database is an earlier one: what only rises begins anew.
func (o *oracle) restored() {
	o.rows, o.closed, o.targets, o.ended = nil, map[string]int{}, nil, map[string]int{}
}

// look reads the hot rows after a commit, and judges what became of them.
func (o *oracle) look(w *World) {
	o.looks++
	list, err := w.server.node.Query(w.ctx, `SELECT device_id, enrollment_id, epoch, fingerprint, gate, counter, seen_at FROM device_counters ORDER BY device_id`)
	if err != nil {
		w.failf("the oracle cannot read: %v", err)
		return
	}
	before := o.rows
	o.rows = make([]row, len(list))
	for i, c := range list {
		r := row{device: c[0], enrollment: c[1], epoch: c[2], fingerprint: c[3], seen: c[6]}
		r.gate, _ = strconv.Atoi(c[4])
		r.counter, _ = strconv.ParseInt(c[5], 10, 64)
		o.rows[i] = r
		if r.gate == gateOpen {
			delete(o.closed, r.device)
		} else if o.closed[r.device] == 0 {
			o.closed[r.device] = o.looks
		}
		if o.revoked[r.enrollment] && r.gate != gateRevoked {
			w.failf("%s was revoked, and is not any more", r.device)
		}
		was, known := find(before, r.device)
		if !known {
			continue
		}
		if r.fingerprint != was.fingerprint {
			o.ended[was.fingerprint] = o.looks
			if o.ended[r.fingerprint] != 0 {
				w.failf("%s went back to a certificate that was superseded", r.device)
			}
			if r.counter == was.counter {
				w.failf("%s has another certificate, and did not use it", r.device)
			}
		}
		switch {
		case was.gate == gateRevoked && r != was:
			w.failf("%s is revoked, and something of it changed: %+v, %+v", r.device, was, r)
		case r.counter < was.counter:
			w.failf("the counter of %s fell from %d to %d", r.device, was.counter, r.counter)
		case r.counter == was.counter && r.seen != was.seen:
			w.failf("%s: counter %d was accepted twice", r.device, r.counter)
		case r.counter != was.counter && was.gate != gateOpen:
			w.failf("the counter of %s rose from %d to %d while its gate was %d", r.device, was.counter, r.counter, was.gate)
		case r.enrollment != was.enrollment:
			w.failf("%s has another enrollment", r.device)
		}
	}
	o.lookAtTargets(w)
	if len(before) > len(o.rows) {
		w.failf("a device is gone")
	}
}

func find(rows []row, device string) (row, bool) {
	i := slices.IndexFunc(rows, func(r row) bool { return r.device == device })
	if i < 0 {
		return row{}, false
	}
	return rows[i], true
}

func (o *oracle) enrollmentOf(device string) string {
	r, _ := find(o.rows, device)
	return r.enrollment
}

// seen is a request when it came to the server.
type seen struct {
	from, path string
	shown      string // the fingerprint of the certificate
	beat       protocol.Heartbeat
	look       int
}

func (o *oracle) request(from, shown, path string, body []byte) seen {
	s := seen{from: from, shown: shown, path: path, look: o.looks}
	if path == protocol.PathHeartbeat {
		_ = json.Unmarshal(body, &s.beat)
	}
	return s
}

// answer judges what the server says to a request.
func (o *oracle) answer(w *World, s seen, a simtest.Answer) {
	code := "ok"
	if a.Status >= 300 {
		var p protocol.Problem
		_ = json.Unmarshal(a.Body, &p)
		code = string(p.Code)
	}
	if s.path == protocol.PathRenew {
		o.renewal(w, s, a, code)
		return
	}
	if s.path != protocol.PathHeartbeat {
		var e protocol.EnrollResult
		_ = json.Unmarshal(a.Body, &e)
		w.tellf("server: %s asks to enroll: %s %s", s.from, code, e.State)
		if e.State == protocol.EnrollPending || e.State == protocol.EnrollApproved {
			o.token(w, s.from, e.EnrollmentID)
		}
		r, _ := find(o.rows, s.from)
		if since := o.closed[s.from]; e.Certificates != nil && r.gate == gateRevoked && since <= s.look {
			w.failf("%s was given a certificate after it was revoked", s.from)
		}
		return
	}
	w.tellf("server: heartbeat %d of %s by %s: %s", s.beat.Counter, s.beat.DeviceID, s.from, code)
	if code != "ok" {
		return
	}
	o.beats++
	if s.from != s.beat.DeviceID {
		w.failf("%s was believed to be %s", s.from, s.beat.DeviceID)
	}
	if since := o.ended[s.shown]; since != 0 && since <= s.look {
		w.failf("heartbeat %d of %s was accepted under a certificate that was superseded", s.beat.Counter, s.from)
	}
	key := acceptance(s.beat.EnrollmentID, s.beat.Epoch, s.beat.Counter)
	if o.accepted[key] {
		w.failf("heartbeat %d of %s was accepted twice", s.beat.Counter, s.from)
	}
	o.accepted[key] = true
	if since := o.closed[s.from]; since != 0 && since <= s.look {
		w.failf("heartbeat %d of %s was accepted, and its gate was not open", s.beat.Counter, s.from)
	}
	r, known := find(o.rows, s.from)
	if !known || r.enrollment != s.beat.EnrollmentID || r.counter < s.beat.Counter {
		w.failf("heartbeat %d of %s was acknowledged and is not stored", s.beat.Counter, s.from)
	}
	if w.quiet {
		o.well[s.from] = true
	}
}

// renewal judges what the server says to a device that asks for another certificate.
func (o *oracle) renewal(w *World, s seen, a simtest.Answer, code string) {
	var answer protocol.RenewAnswer
	_ = json.Unmarshal(a.Body, &answer)
	w.tellf("server: %s asks for another certificate: %s %s", s.from, code, answer.State)
	if answer.Certificates == nil {
		return
	}
	if since := o.ended[s.shown]; since != 0 && since <= s.look {
		w.failf("%s was given a certificate for one that was superseded", s.from)
	}
	if since := o.closed[s.from]; since != 0 && since <= s.look {
		if r, _ := find(o.rows, s.from); r.gate == gateRevoked {
			w.failf("%s was given a certificate after it was revoked", s.from)
		}
	}
}

// token makes sure that an enrollment that goes on rests on a token of after the
// last restore.
func (o *oracle) token(w *World, from, enrollmentID string) {
	if w.server.restores == 0 {
		return
	}
	found, err := w.server.node.Query(w.ctx, `SELECT token_id FROM enrollments WHERE id = ?
		UNION ALL SELECT '' FROM identity_requests WHERE id = ?`, enrollmentID, enrollmentID) // a recovery has none
	if err != nil || len(found) == 0 {
		w.failf("the enrollment of %s is not there: %v", from, err)
		return
	}
	if made, known := w.operator.made[found[0][0]]; known && made < w.server.restores {
		w.failf("%s enrolls with a token of before the restore", from)
	}
}

func acceptance(enrollment, epoch string, counter int64) string {
	return fmt.Sprintf("%s %s %d", enrollment, epoch, counter)
}

// device looks at what a device holds on to, when its process gives way.
func (o *oracle) device(w *World, p *process) {
	a := p.agent
	s, err := agentsim.ReadState(a.dir)
	if err != nil {
		w.failf("%s: its state cannot be read: %v", a.name, err)
		return
	}
	was := a.saw
	a.saw = s
	if was.Enrolled && s.EnrollmentID == was.EnrollmentID {
		switch {
		case !s.Enrolled:
			w.failf("%s is not enrolled any more", a.name)
		case s.Counter < was.Counter:
			w.failf("%s: its counter fell from %d to %d", a.name, was.Counter, s.Counter)
		case s.Root < was.Root || s.Policy < was.Policy || s.FirstRoot != was.FirstRoot:
			w.failf("%s: what it believes went back: %+v, %+v", a.name, was, s)
		}
	}
	if was.Begun && s.Accepted != was.Accepted && !o.accepted[acceptance(s.EnrollmentID, s.Epoch, s.Accepted)] {
		w.failf("%s believes that heartbeat %d was accepted", a.name, s.Accepted)
	}
}

// rolledBack says that a device was put back by force.
func (o *oracle) rolledBack(a *agent) { a.saw = agentsim.State{} }

// unwell says why a device is not accepted as it should be, "" if it is.
func (w *World) unwell(a *agent) string {
	r, known := find(w.oracle.rows, a.name)
	switch {
	case a.clone, known && r.gate == gateRevoked:
		return ""
	case !a.saw.Enrolled:
		return "it is not enrolled"
	case !w.oracle.well[a.name]:
		return fmt.Sprintf("no heartbeat was accepted (gate %d, refusal %q)", r.gate, a.saw.Refusal)
	case a.saw.Refusal != "":
		return "it was refused: " + a.saw.Refusal
	}
	return ""
}

func (w *World) allWell() bool {
	return len(w.oracle.open) == 0 && !slices.ContainsFunc(w.agents, func(a *agent) bool { return w.unwell(a) != "" })
}
