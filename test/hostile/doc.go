// Package hostile is a server that has turned against its fleet, and a device that
// it cannot command.
//
// The server is what whoever takes over a production server gets: its issuing CAs
// with their keys, the command key, the audit key, and everything that is stored,
// documents of before and of other fleets too. The fleet root and policy keys are
// not among it. The device is the agent's own code on a state directory, over real
// TLS; its clock is the test's.
//
// Each attempt is delivered for real, to a process of the agent of its own, and
// must be seen to be refused by the device, for the reason that is meant: an
// attempt that never arrived would prove nothing. What was done is then counted by
// four witnesses: the device's journal, the outcomes that it signs, whether its
// process ended, and which certificate it shows.
package hostile
