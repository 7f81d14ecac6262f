// Package device is the registry of devices that were let in, and their counters.
//
// A device is active, suspended, revoked or retired. Active and suspended go back
// and forth by a person's act; revoked and retired are final: no act leads out of
// them, and the device_id is never used again. An active device can be held: its
// counter went back twice, or under a second boot, as after a snapshot or by a
// clone. A hold ends by an audited resync only.
//
// The counter row repeats what a heartbeat must be checked against (certificate,
// enrollment, a gate made of state and hold), so that one statement judges and
// raises it. Whoever changes state or hold changes the gate in the same
// transaction. Accepted counters only rise, within an epoch and over epochs.
//
// A revocation is also written to a journal outside the database, before it is
// acknowledged: a restored backup gets its revocations back from there.
package device
