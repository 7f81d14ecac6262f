// Package journal is what the agent must still know after a crash, and the
// directory that holds it.
//
// The journal is one small file, replaced whole and flushed before a call
// returns: after a crash either the old or the new content stands there. The
// device is in one of three states:
//
//	not enrolled  there is no journal (ErrNotEnrolled)
//	enrolling     State.Enrolled is nil; key, enrollment_id and device_id are
//	              fixed, so that a lost answer or a restart goes on with the same
//	              enrollment
//	enrolled      State.Enrolled is there and stays: only Remove ends it
//
// What larger documents the agent keeps (certificate, fleet roots, policy
// bundle) lie beside the journal in files of their own. They are written before
// it, and the journal holds their digests, so a file that it does not name
// counts for nothing.
//
// Invariants:
//   - A counter is stored before Next returns it, and is returned once, ever.
//   - The counter, the versions of root and policy, the digest of the first
//     fleet root, the number of commands begun and the time floor never go back
//     (ErrBackwards).
//   - Key and certificate lie in one of two slots. The slot in use changes only to
//     the other, after the certificate there was tried.
//   - One process holds the journal at a time (ErrInUse). Read needs no lock.
//   - A damaged file, or one by a newer agent, is refused and never reset.
//   - The directory and the files belong to the agent alone (ErrLoose).
package journal
