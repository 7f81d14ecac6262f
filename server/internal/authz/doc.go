// Package authz says who acts and what they may do.
//
// A right is a permission; a role is a set of permissions; nothing else grants
// one. A By is the authority that one act rests on: the actor for the audit log,
// and a check that is made inside the transaction that acts, so that a session
// revoked or an account demoted a moment ago no longer counts. A By without a check
// has no authority.
package authz
