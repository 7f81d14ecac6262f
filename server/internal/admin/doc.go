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
// A sign-in is a password, with the code of a generator or a recovery code where the
// account has a generator; or a passkey alone, which proves its user. Every cause of a
// refusal is the same ErrSignIn after the same work, so that nothing tells which names
// exist. A password is kept as an Argon2id hash, and few hashes run at once; the secret
// of a generator is sealed; codes that are used once are kept as hashes.
//
// Each step opens a session of a stage: second-factor and new-password reach their own
// step and nothing else, full reaches what the account may do. No token outlives its
// step. What can be used once (a step of the generator, a recovery code, a one-time
// password, a passkey's challenge, an invitation, a pair of break-glass codes) is used
// up by a conditional statement in the transaction that lets in.
//
// Attempts are counted in the database, before anything is tried, by account and by
// source; from where an account signed in before they are counted apart, so that
// whoever knows a name cannot keep its owner out. The way in by passkey is not counted
// by account.
//
// # Sessions
//
// A session is live until it is revoked, unused for too long, at its end, made in
// another restore epoch, or its account is disabled. The token that a person holds
// carries a random secret of which the database knows the hash only. The token says
// nothing else: who it is and what they may do is read from the rows at every
// request, and once more inside the transaction that acts. A session belongs to the
// console (a cookie) or to a program (a bearer token) and is nothing to the other.
//
// Whatever changes a role, a grant or a password, and disabling, ends the account's
// sessions in the same transaction. Changes to what an account proves itself with need
// a full sign-in of the last minutes, and their owner is told at the next one.
//
// # Invitations, machines, the way back
//
// An invitation is bound to a name, a person, a role and its maker's rights at the
// moment it is redeemed. An API token is a machine: it has some of its maker's
// permissions, never one that approves, and ends with its maker's rights. Break-glass
// codes are two, kept by two people, and open one admin session together.
package admin
