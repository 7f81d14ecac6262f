// Package agentsim is the agent's own code as a simulation runs it: the same
// enrollment, journal, pins and conversation with the server, with the clock, the
// network and the waiting in the simulation's hands. Nothing here starts a
// goroutine.
//
// Enroll and Run each are what a process of the agent does until it ends; what
// they leave on the disk is what the next one finds.
package agentsim
