// Package policy keeps what the fleet's owner signed: the chain of fleet roots and
// the policy bundles. The server stores and hands out the very bytes that were
// signed; it cannot make them, unless it holds the keys, as in a trial (package ceremony).
//
// Versions only rise. A document is verified when it is installed, with the same
// code that devices verify it with.
package policy
