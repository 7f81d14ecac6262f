// Package simtest is the real server as a simulation runs it: everything below the
// listeners, with the clock, the database's hooks and the moment of each call in
// the simulation's hands. Nothing here starts a goroutine or waits.
//
// A Template is a data directory in which a fleet was founded once; each world
// opens a copy of it. A Node is the server on such a directory: Serve answers one
// request of a device through the surface that devices meet, and Person does what
// an operator may. Rows says what is stored, for a simulation to judge.
package simtest
