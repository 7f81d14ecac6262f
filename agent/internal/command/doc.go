// Package command is what the device does because it was told to, and why it does
// nothing else.
//
// A command comes with the answer to a heartbeat, as often as the server likes. It
// goes through four steps, in this order:
//
//	judge    Judge says whether the statement may be believed and done, by what
//	         the device holds: the chain of fleet roots, the policy bundle in
//	         force, its own name, its time, and the journal of commands. What is
//	         not allowed by all of them is refused with a reason of fixed words.
//	begin    the action id is on the disk before anything is done.
//	execute  one command at a time, each within its time, by a handler that takes
//	         typed parameters. No handler passes anything to a shell.
//	report   the outcome is on the disk before it is sent, and sent in every
//	         heartbeat, signed by the device's key, until the server has it.
//
// States of an action id:
//
//	(none) -> begun -> ended -> reported
//
// What holds:
//   - An id is begun once, ever. A begun one that a crash kept from ending is not
//     tried again: it ends as unknown. A restart is the exception, since a crash or
//     a stop is just what it asks for: begun under another boot, it succeeded.
//   - An ended id that is delivered again is answered with the outcome that it
//     had.
//   - An id is forgotten only after the time floor of the device was raised past
//     the end of its statement: no clock set back makes it good again.
//   - The agent's journal holds how many ids were ever begun, so that a journal of
//     commands that was lost or put back is noticed. Another one is begun then (Anew),
//     and what was made until the latest that was begun is not done any more.
//   - A refusal is told and not kept: it began nothing.
//   - A bundle that has expired leaves the kinds of signing.AlwaysAllowed that it
//     has a rule for. How often those are done an hour is bounded, since no person
//     stands behind them.
package command
