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
	if w.chance(0.4) && w.attackWithResults(a) {
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
	w.tellf("attacker: speaks for %s with a key of before", a.name)
	w.speak(conn, a, nil)
	return true
}

// attackWithResults has a device say, as its own, what another one said of commands.
func (w *World) attackWithResults(of *agent) bool {
	var said []json.RawMessage
	for _, body := range of.bodies {
		var beat protocol.Heartbeat
		if json.Unmarshal(body, &beat) == nil && len(beat.Results) > 0 {
			said = beat.Results
		}
	}
	a := w.agents[w.rng.IntN(len(w.agents))]
	if said == nil || a.name == of.name || a.clone || a.chain == nil || len(a.bodies) == 0 {
		return false
	}
	conn, err := w.server.node.Accept(w.ctx, a.chain, a.address)
	if err != nil {
		w.failf("attack: %v", err)
		return true
	}
	w.tellf("attacker: %s says what %s did", a.name, of.name)
	a.spoiled = true // somebody else uses its counter
	w.speak(conn, a, said)
	return true
}

// speak sends a heartbeat that the device did not make, with the next counter.
func (w *World) speak(conn *simtest.Conn, as *agent, results []json.RawMessage) {
	var beat protocol.Heartbeat
	if err := json.Unmarshal(as.bodies[len(as.bodies)-1], &beat); err != nil {
		w.failf("attack: %v", err)
		return
	}
	r, _ := find(w.oracle.rows, as.name)
	beat.Counter, beat.Epoch, beat.EnrollmentID = r.counter+1, r.epoch, r.enrollment
	beat.Receipt, beat.Nonce, beat.Acks, beat.Results = "", "", nil, results
	body, err := json.Marshal(beat)
	if err != nil {
		w.failf("attack: %v", err)
		return
	}
	w.serve(as.name, conn, protocol.PathHeartbeat, body, func(simtest.Answer) {}, nil)
}
