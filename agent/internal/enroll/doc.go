// Package enroll is first contact: from a token and a fingerprint to a
// certificate that a person has approved.
//
// The order is what makes it safe. The server's CA is found by its pinned
// fingerprint; a new connection believes that CA and the exact name and nothing
// else; only over that one goes the token. The key is made before, stays here,
// and proves itself in every poll (a signed envelope that also names the CA the
// device sees, so that someone in between is noticed by the server too).
//
// An enrollment is begun, submitted, then issued or over:
//
//	begun      key, enrollment_id and device_id are on disk; nothing was sent.
//	           Sending may be repeated: the ids and the key make it the same.
//	submitted  the server has it. The token is not needed any more; a person
//	           compares the key code. Stopping and starting goes on from here.
//	issued     everything that came was verified and is on disk. Only now is the
//	           device enrolled.
//	over       refused for good: what was begun is removed, so that the next try
//	           is a new one.
//
// What is verified at the end: the certificate is of the own key, names this
// device, and chains to a CA that the fleet root names for devices; the fleet
// root has the digest that was given, or is recorded as trusted on first use; the
// CA that served is one that the root names for servers; the policy bundle is in
// order under that root. A device that is enrolled is never enrolled over: that
// would replace its pin.
package enroll
