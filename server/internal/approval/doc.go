// Package approval is the one engine behind every act that another person must
// agree to.
//
// An act is asked for as canonical bytes, and its digest is what people vote on:
// whoever approves names the digest that they were shown, and nothing but those
// bytes is ever executed. A request is open until enough distinct persons approved
// (approved), one rejected (rejected), its time is over (expired), or what it rests
// on is gone (void). An approved request is executed once, in the transaction that
// acts.
//
// Persons count, not accounts: two accounts of one person are one vote, and whoever
// asked never counts. Whoever made it possible to ask may reject, and not approve.
// Votes and state are checked inside the transaction that changes them.
package approval
