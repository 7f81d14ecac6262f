// Package assertion keeps the public keys of what this server asserts to other
// systems: the verdict on a device, the identity of a workload. Others fetch them as a
// JWK set (RFC 7517), one for each purpose, so that a key of one is never taken for
// another's.
//
// A key is published (others can fetch it, it does not sign yet), signs, is former
// (another signs, and what it signed may still be valid), and is gone from the set once
// everything that it signed has ended. A person publishes a key and may retire it; all
// else is a rule of the times at which keys were published, the same on every node:
//
//   - the newest key signs that was published at least Lead ago. The oldest one signs
//     at once while there is none: nobody has an older set of it.
//   - nothing that is signed may be valid for longer than MaxLife, so a former key stays
//     for MaxLife after the next one began to sign, and Lead for clocks and caches.
//   - a retired key is gone at once.
//
// The private keys are elsewhere (package keysource). A node signs only with the key
// whose turn it is, wherever its settings say that this is.
package assertion
