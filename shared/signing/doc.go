// Package signing is what may be believed beyond the connection that brought it:
// envelopes, the keys that sign them, and the two documents that name the keys.
//
// An envelope (DSSE v1) carries a payload as bytes, the type of the payload, and
// signatures over both. The type names a purpose, and each purpose has keys of its
// own: a key record is made for one purpose, its id depends on that purpose, and a
// record of another purpose never counts. The record also fixes the algorithm, so
// nothing in an envelope chooses how it is verified. Whoever verifies reads the
// bytes that Verify returns and no others.
//
// A device believes a chain, each link naming the keys of the next:
//
//	fleet root    signed by root keys; names the root and policy keys and the CAs.
//	              Version N+1 is signed by the thresholds of N and of N+1, so only
//	              the holders of the old keys can hand over to new ones.
//	policy bundle signed by policy keys; names the command keys and which kinds of
//	              command are allowed. It lasts 30 days at most; an expired one
//	              leaves the kinds of AlwaysAllowed only.
//	the rest      commands by command keys; results, evidence and polls by the
//	              device's own key.
//
// What holds at all times: versions only rise, a document of another fleet is
// refused, a missing member is a refusal and never "no limit", and a signed
// document has exactly one form, the one that this package writes.
package signing
