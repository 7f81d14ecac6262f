package simulation

import (
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/agentsim"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/simtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// operator is the people who run the fleet, at random or, in the end, with care.
type operator struct {
	tokens []string // ids
	tidied int
	made   map[string]int // how often the database had been restored when a token was made
}

func (o *operator) begin(w *World) { w.after(w.between(0, 10*time.Second), func() { o.round(w) }) }

// act does something as one of the people, in a process of its own.
func (o *operator) act(w *World, what string, f func(p simtest.Person) error, done func()) {
	if w.server.node == nil {
		return
	}
	who := simtest.People[w.rng.IntN(len(simtest.People))]
	person := w.server.node.Person(who)
	p := w.spawn(ofServer, "operator", func(*process) {
		err := f(person)
		verdict := "done"
		if err != nil {
			verdict = "not done"
		}
		w.tellf("operator: %s: %s", what, verdict)
		if err == nil && done != nil {
			done()
		}
	})
	w.resume(p, nil)
}

// round is a look at the fleet, and whatever comes of it.
func (o *operator) round(w *World) {
	if w.quiet {
		return
	}
	f := w.faults
	for _, a := range w.agents {
		if a.token == "" && !a.clone && w.chance(0.7) {
			o.invite(w, a)
		}
	}
	o.reviews(w, f.reject)
	if len(w.oracle.rows) > 0 {
		row := w.oracle.rows[w.rng.IntN(len(w.oracle.rows))]
		id := row.device
		switch {
		case w.chance(f.suspend):
			o.act(w, "suspend "+id, func(p simtest.Person) error { return p.Suspend(w.ctx, id) }, nil)
		case w.chance(f.revoke):
			o.revoke(w, id)
		}
		for _, row := range w.oracle.rows {
			id := row.device
			if row.gate == gateSuspended && w.chance(0.4) {
				o.act(w, "resume "+id, func(p simtest.Person) error { return p.Resume(w.ctx, id) }, nil)
			}
			if row.gate == gateHeld && w.chance(f.resync) {
				o.act(w, "resync "+id, func(p simtest.Person) error { return p.Resync(w.ctx, id) }, nil)
			}
		}
	}
	if w.chance(f.window) {
		o.act(w, "open a window", func(p simtest.Person) error { return p.OpenWindow(w.ctx, 2*time.Minute) }, nil)
	} else if w.chance(f.window) {
		o.act(w, "close the window", func(p simtest.Person) error { return p.CloseWindow(w.ctx) }, nil)
	}
	if w.chance(f.command) {
		o.send(w)
	}
	if w.chance(f.cancel) {
		o.cancel(w)
	}
	if w.chance(f.publish) {
		o.publish(w)
	}
	if len(o.tokens) > 0 && w.chance(f.tokenRevoked) {
		nth := w.rng.IntN(len(o.tokens))
		o.act(w, fmt.Sprintf("revoke token %d", nth), func(p simtest.Person) error { return p.RevokeToken(w.ctx, o.tokens[nth]) }, nil)
	}
	w.after(w.between(5*time.Second, 50*time.Second), func() { o.round(w) })
}

// invite makes a token and brings it to the device.
func (o *operator) invite(w *World, a *agent) {
	uses := int64(1 + w.rng.IntN(2))
	var id, secret string
	o.act(w, "a token for "+a.name, func(p simtest.Person) (err error) {
		id, secret, err = p.EnrollToken(w.ctx, uses, time.Hour)
		return err
	}, func() {
		o.tokens = append(o.tokens, id)
		o.made[id] = w.server.restores
		a.token = secret
	})
}

func (o *operator) revoke(w *World, id string) {
	enrollment := w.oracle.enrollmentOf(id)
	o.act(w, "revoke "+id, func(p simtest.Person) error { return p.Revoke(w.ctx, id) }, func() { w.oracle.revoked[enrollment] = true })
}

// reviews decides about what waits.
func (o *operator) reviews(w *World, reject float64) {
	if w.server.node == nil {
		return
	}
	waiting, err := w.server.node.Query(w.ctx, "SELECT id, device_id FROM enrollments WHERE state = 'pending' ORDER BY device_id, created_at")
	if err != nil {
		w.failf("reviews: %v", err)
		return
	}
	for _, e := range waiting {
		id, approve := e[0], !w.chance(reject)
		o.act(w, fmt.Sprintf("review %s: %t", e[1], approve), func(p simtest.Person) error { return p.Review(w.ctx, id, approve) }, nil)
	}
	if w.server.node == nil { // it went down meanwhile
		return
	}
	if waiting, err = w.server.node.Query(w.ctx, "SELECT device_id, kind FROM identity_requests WHERE state = 'pending' ORDER BY device_id"); err != nil {
		w.failf("reviews: %v", err)
		return
	}
	for _, e := range waiting {
		id, approve := e[0], !w.chance(reject)
		o.act(w, fmt.Sprintf("review the %s of %s: %t", e[1], id, approve), func(p simtest.Person) error { return p.ReviewIdentity(w.ctx, id, approve) }, nil)
	}
}

// takeBack rejects what was approved for a device and not fetched: a clone that was
// found meanwhile asked for it, and until it is rejected the device waits its turn.
func (o *operator) takeBack(w *World, id string) {
	if w.server.node == nil {
		return
	}
	approved, err := w.server.node.Query(w.ctx, "SELECT kind FROM identity_requests WHERE state = 'approved' AND device_id = ?", id)
	if err != nil {
		w.failf("take back: %v", err)
	}
	for _, r := range approved {
		o.act(w, fmt.Sprintf("take back the %s of %s", r[0], id), func(p simtest.Person) error { return p.ReviewIdentity(w.ctx, id, false) }, nil)
	}
}

// settle ends the faults and has the operator tidy up. Every honest device must be
// accepted again, and acts must be equal to audit entries.
func (w *World) settle() {
	if w.failure != "" {
		return
	}
	w.tellf("the faults are over")
	w.quiet = true
	w.faults = faults{life: w.faults.life, reviewRenewals: w.faults.reviewRenewals}
	w.server.skew = 0
	w.server.start(w)
	var off time.Duration
	if w.chance(0.3) { // the site had no power, for longer than some certificates are valid
		off = w.between(time.Minute, 30*time.Minute)
	}
	for _, a := range w.agents {
		a.skew = 0
		if a.clone {
			w.catch(a)
			continue
		}
		if off > 0 {
			w.cut(a)
		}
		w.after(off, func() { w.power(a) })
	}
	begin := w.clock
	w.oracle.settled = begin
	w.after(time.Second, func() { w.operator.tidy(w) })
	until := begin + (6 * time.Hour).Microseconds()
	for limit := 6000; limit > 0 && w.step(); limit-- {
		if w.clock >= until || w.allWell() {
			break
		}
	}
	if w.failure == "" && len(w.oracle.open) > 0 {
		w.failf("commands are not over %s after the faults ended: %v", time.Duration(w.clock-begin)*time.Microsecond, w.oracle.open)
	}
	if w.failure == "" && !w.allWell() {
		for _, a := range w.agents {
			if why := w.unwell(a); why != "" {
				w.failf("%s is not accepted %s after the faults ended: %s", a.name, time.Duration(w.clock-begin)*time.Microsecond, why)
			}
		}
	}
	if w.failure == "" {
		w.oracle.books(w)
		w.commands.reckon(w)
	}
}

// lostCertificate reports whether a device may, by the rules, have come to a
// certificate that the server does not take any more, and has: its disk was put back
// to one that was superseded, or it enrolled again after a restore and a second one
// brought the first enrollment of its name. An hour is given to every other way out.
// That no other device loses its certificate is seen in the end, when it is not well.
func (w *World) lostCertificate(a *agent) bool {
	if w.clock-w.oracle.settled < time.Hour.Microseconds() {
		return false
	}
	switch protocol.Code(a.saw.Refusal) {
	case protocol.CodeCertificateUnknown, protocol.CodeCertificateExpired:
		return a.spoiled
	case protocol.CodeIdentityMismatch:
		return w.server.restores > 1
	}
	return false
}

// tidy is a round of an operator who wants every device back.
func (o *operator) tidy(w *World) {
	for _, a := range w.agents {
		switch {
		case a.clone:
		case w.unwell(a) == "" && w.oracle.open[a.name] == 0: // it needs to do no more
			w.cut(a)
		case !a.saw.Enrolled && w.oracle.enrollmentOf(a.name) != "" && w.oracle.enrollmentOf(a.name) != a.saw.EnrollmentID:
			// The name is taken by what the device was before its disk was put back.
			o.revoke(w, a.name)
		case w.lostCertificate(a) && w.oracle.enrollmentOf(a.name) != "":
			// Nothing but an enrollment under another name brings it back.
			o.revoke(w, a.name)
		case a.saw.Refusal == string(protocol.CodeDeviceUnknown), w.lostCertificate(a):
			// The database does not know it any more: it enrolls anew.
			w.tellf("%s: is unenrolled by a person", a.name)
			w.cut(a)
			if err := (&agentsim.Process{Dir: a.dir}).Unenroll(); err != nil {
				w.failf("unenroll %s: %v", a.name, err)
			}
			a.saw, a.token = agentsim.State{}, ""
			w.power(a)
		case a.token == "":
			o.invite(w, a)
		}
		if o.tidied%30 == 29 && !a.clone && w.unwell(a) != "" { // what it waits for may be long decided
			o.takeBack(w, a.name)
			w.tellf("%s: is restarted by a person", a.name)
			w.cut(a)
			w.power(a)
		}
	}
	o.tidied++
	o.reviews(w, 0)
	for _, row := range w.oracle.rows {
		id := row.device
		switch row.gate {
		case gateSuspended:
			o.act(w, "resume "+id, func(p simtest.Person) error { return p.Resume(w.ctx, id) }, nil)
		case gateHeld:
			o.act(w, "resync "+id, func(p simtest.Person) error { return p.Resync(w.ctx, id) }, nil)
		}
	}
	w.after(time.Minute, func() { o.tidy(w) })
}
