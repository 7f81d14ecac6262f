package simulation

import "time"

// faults are the probabilities of one world. Each is there in some worlds only,
// so that one does not hide what another would show.
type faults struct {
	// Of the network, for each request.
	loseRequest, loseAnswer, duplicate, late, reset, proxy float64
	// Of the database, for each transaction.
	pause, beginFails, commitFails, commitUnknown, again float64
	// Of the machines, for each round of mishaps.
	serverCrash, crashInCommit, agentCrash, agentCrashAt, agentRollback, clone, clockStep, restore, attack float64
	// Of the operator.
	suspend, revoke, resync, window, reject, tokenRevoked, command, cancel, publish float64
	// How long certificates are valid, and whether a person looks at each renewal.
	life           time.Duration
	reviewRenewals bool
	// Of whoever owns the server, for each answer.
	forge float64
}

// choose draws the faults of a world.
func (w *World) choose() faults {
	some := func(most float64) float64 {
		if w.rng.IntN(2) == 0 {
			return 0
		}
		return most * w.rng.Float64()
	}
	life := 7 * 24 * time.Hour
	if w.rng.IntN(2) == 0 {
		life = w.between(4*time.Minute, 20*time.Minute)
	}
	return faults{
		life: life, reviewRenewals: w.rng.IntN(5) == 0,
		loseRequest: some(0.15), loseAnswer: some(0.15), duplicate: some(0.15), late: some(0.2), reset: some(0.2), proxy: some(0.05),
		pause: some(0.5), beginFails: some(0.03), commitFails: some(0.05), commitUnknown: some(0.05), again: some(0.02),
		serverCrash: some(0.15), crashInCommit: some(0.02), agentCrash: some(0.4), agentCrashAt: some(0.3), agentRollback: some(0.15), clone: some(0.15),
		clockStep: some(0.2), restore: some(0.12), attack: some(0.6),
		suspend: some(0.3), revoke: some(0.12), resync: some(0.5), window: some(0.2), reject: some(0.3), tokenRevoked: some(0.15),
		command: 0.2 + some(0.6), cancel: some(0.2), publish: some(0.25), forge: some(0.3),
	}
}

const (
	requestTimeout = 45 * time.Second // of the agent's client; the simulated network keeps to it
	mishapsEvery   = 25 * time.Second
)
