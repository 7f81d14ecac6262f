// Package admin holds the people who run the fleet: their accounts, how they sign
// in, and the sessions that come of it.
//
// # Accounts
//
// An account has a name in exactly one spelling, the person it belongs to (two
// accounts of one person are one person wherever people are counted), one role, and
// permissions granted beside it. It is active or disabled; it is never removed,
// since the audit log names it. There is always one active account with the role
// admin once there was one: the last can be neither disabled nor demoted.
//
// The first account is made on the server's host (CreateLocal). No network request
// makes an account without an account behind it.
//
// # Signing in
//
// A password is kept as an Argon2id hash. Every cause of a refusal is the same
// ErrSignIn after the same work, so that nothing tells which names exist. Attempts
// are throttled by account and by source, and few hashes run at once.
//
// # Sessions
//
// A session is live until it is revoked, unused for too long, at its end, made in
// another restore epoch, or its account is disabled. The token that a person holds
// carries a random secret of which the database knows the hash only. The token says
// nothing else: who it is and what they may do is read from the rows at every
// request, and once more inside the transaction that acts.
//
// Whatever changes a role, a grant or a password, and disabling, ends the account's
// sessions in the same transaction.
package admin
