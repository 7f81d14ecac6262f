// Package attestation judges what the TPMs of devices say: it is the Verifier of
// RFC 9334, and keeps the Reference Values that it judges by.
//
// A challenge is made for one device, one enrollment and one certificate, from a
// claim: which TPM the device has (the certificate of its endorsement key) and an
// attestation key. It holds a nonce and a riddle, which is a secret that only the
// TPM of the endorsement key opens, and only if it holds the attestation key too
// (credential activation, TPM 2.0 Part 1 section 24). Its states:
//
//	open     until it is used, expires, or a newer one of the device takes its place
//	used     once, in the transaction that judges the evidence
//
// Evidence is judged by Appraise, a pure function. Its result is affirming (genuine,
// and as a baseline says), warning (genuine, and not so) or contraindicated (not
// genuine), with reasons. Only genuine evidence ties the TPM to the device: from then
// on the device has this TPM and no other, and no other device in use has it.
//
// "Hardware-bound" is said only of a device whose TPM certified the very key of the
// certificate that the evidence came under. A key in a file is never that.
//
// A baseline says which values PCRs may have, for all devices or those with a label,
// from when until when, and what caused it. A person proposes it, others approve it:
//
//	proposed → active, rejected, or expired
//	active   → retired (by one person, at once), or over when its time is
//
// Versions of a baseline only rise. One takes the place of those before it, at once
// or after the overlap that was approved with it; an older one never comes back.
// What becomes of results when baselines change is decided again from the values that
// were proven (Judge), without asking the devices.
//
// A device that a baseline in force is for is expected to bring evidence.
//
// Nothing here knows of a device's other business: a result is one fact of its trust,
// and no reason to refuse it anything.
package attestation
