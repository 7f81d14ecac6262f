package simulation

import (
	"encoding/json"
	"slices"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/simtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// attack sends what nobody honest sends: a captured message by somebody else, or
// by its own device once more.
func (w *World) attack() {
	if w.server.node == nil {
		return
	}
	victims := slices.Clone(w.agents)
	victims = slices.DeleteFunc(victims, func(a *agent) bool { return len(a.bodies) == 0 })
	if len(victims) == 0 {
		return
	}
	a := victims[w.rng.IntN(len(victims))]
	if w.chance(0.4) && w.attackWithOldKey(a) {
		return
	}
	body := a.bodies[w.rng.IntN(len(a.bodies))]
	var chain [][]byte
	as := "nobody"
	if by := w.agents[w.rng.IntN(len(w.agents))]; w.chance(0.7) && by.chain != nil {
		chain, as = by.chain, by.name
	}
	w.tellf("attacker: sends a heartbeat of %s as %s", a.name, as)
	conn, err := w.server.node.Accept(w.ctx, chain, "203.0.113.66:4711")
	if err != nil {
		w.failf("attack: %v", err)
		return
	}
	w.serve(as, conn, protocol.PathHeartbeat, body, func(simtest.Answer) {}, nil)
}

// attackWithOldKey has a thief speak for a device, with a key whose certificate the
// device has replaced by now. It can say whatever it likes.
func (w *World) attackWithOldKey(a *agent) bool {
	if a.before == nil || w.oracle.ended[certs.Fingerprint(a.before[0])] == 0 {
		return false // the device may go back to it
	}
	conn, err := w.server.node.Accept(w.ctx, a.before, "203.0.113.66:4711")
	if err != nil {
		w.failf("attack: %v", err)
		return true
	}
	var beat protocol.Heartbeat
	if err := json.Unmarshal(a.bodies[len(a.bodies)-1], &beat); err != nil {
		w.failf("attack: %v", err)
		return true
	}
	r, _ := find(w.oracle.rows, a.name)
	beat.Counter, beat.Epoch, beat.EnrollmentID, beat.Receipt, beat.Nonce = r.counter+1, r.epoch, r.enrollment, "", ""
	body, err := json.Marshal(beat)
	if err != nil {
		w.failf("attack: %v", err)
		return true
	}
	w.tellf("attacker: speaks for %s with a key of before", a.name)
	w.serve(a.name, conn, protocol.PathHeartbeat, body, func(simtest.Answer) {}, nil)
	return true
}
