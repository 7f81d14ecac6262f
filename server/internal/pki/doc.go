// Package pki is the built-in certificate authority.
//
// A root certificate stands above two issuing authorities: one for devices
// (client use, names of the fleet's trust domain only), one for the server's own
// names (server use). The root's key signs twice, at the ceremony, and is not here
// afterwards. The issuing keys are made here and stored sealed; they never leave
// in plain text. Where key sources are configured (UseKeys), they are not here at all:
// an authority is then known by its public key, and signs through its source.
//
// An authority is requested (its key exists, nobody signed it), published (a fleet
// root names it, so that it is believed, but does not issue), active (it issues),
// retired (what it issued is still believed) or dropped (a fleet root names it no
// more, and nothing of it is believed). Exactly one of a kind is active. The first
// ones are active at once; later ones are published first, so that devices learn of
// them before they meet what they issue.
//
// An authority that is not ours may be on record too (Outside), for the certificates
// of devices that it issued: it is in none of these states.
//
// Which certificates are revoked is told to others by lists (Lists) and by answers
// (Responder), for each authority that is believed. Both say what the inventory says,
// are signed outside of any transaction, and are checked before they leave. While
// issuing is stopped (MayIssue) no certificate of a device is recorded, and so none
// leaves; what revocation is told by goes on.
//
// A certificate is built from a template of ours and takes nothing from a request
// but the public key. Before it leaves, other code checks it against the
// template, and it is recorded in the transaction that hands it out: no
// certificate that verifies is missing from the inventory.
package pki
