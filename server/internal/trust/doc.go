// Package trust decides whether a device may be trusted right now.
//
// The decision is a pure function from facts to a verdict, with the reasons for it
// and the time until which it holds. The verdict is stored in the transaction that
// changes a fact and decided again when it lapses, so that everyone who asks is
// given the same answer, and an old answer says so itself.
//
// A verdict is trusted only if nothing speaks against it. What is self-reported
// never speaks for a device.
package trust
