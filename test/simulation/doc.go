// Package simulation runs whole fleets, server and agents, in one process under a
// clock and a schedule that a seed decides, with faults that the seed chooses. The
// same seed is the same world, event for event.
//
// What is real: the server below its listeners on SQLite (server/simtest), the
// agent's enrollment, journal, pins and conversation (agent/agentsim), their files,
// certificates and signatures. What is simulated: time, who runs next, the network,
// the moment of each transaction, whether a commit fails, crashes, clocks, and the
// people who operate the fleet.
//
// A world is single-threaded. Every agent, every request in the server and every
// act of an operator is a process: a goroutine that runs only while the scheduler
// waits for it, and gives way where it waits for something (a request, a sleep, the
// beginning or the end of a transaction). A crash ends it right there: deferred
// calls run, nothing else does, and what was written stays. The seeded queue says
// who goes on.
//
// Keys, ids and nonces are random and differ between two runs of a seed. Nothing
// that a world does depends on them, which a test proves by running seeds twice.
//
// The oracle looks at the rows after every single commit, at every answer that the
// server gives and at what each agent holds on to. When a world has had its time,
// faults end and an operator tidies up; then every honest device must be accepted
// again (liveness), and acts must be equal to audit entries.
//
//	make simulate SEEDS=10000 FROM=1   many worlds, with a rate
//	make simulate SEED=123 TRACE=1     one world, told event by event
package simulation
