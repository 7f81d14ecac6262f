package simulation

import (
	"slices"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/simtest"
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
