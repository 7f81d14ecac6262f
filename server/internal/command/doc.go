// Package command keeps what devices were told to do, and what became of it.
//
// A command is one statement for one or many devices. Its canonical bytes are made
// when it is asked for, so that what is reviewed is what is signed and what a device
// reads. It is
//
//	review     a person has to agree first
//	unsigned   it waits for the server's command key
//	open       it is signed; devices are given it
//	done       every target ended before its time was over
//	rejected   a reviewer said no
//	cancelled  it was taken back, or could not be signed
//	expired    its time was over before every target had ended
//
// The last four are final. What brings a command to an end before its time (its
// Ending) is written first, at once, and holds from then on: nothing is signed or
// delivered any more. Its targets are closed after that in bounded steps, which any
// node goes on with, and its final state is written when none is open.
//
// A target is one device in one enrollment. It is
//
//	queued        nothing was given to the device
//	delivered     it was in an answer, once or more often; the device may have it
//	acknowledged  the device has written it down: it runs, or did
//	succeeded, failed, expired, cancelled
//
// The last four are final, and each has a reason and a time: nothing leaves a final
// state, so the first result stands. A device acknowledges what it was given, and
// nothing else. A result stands for the acknowledgement that was lost before it.
// Whoever cancels ends queued targets, and delivered ones with a reason that says
// that the device may run it all the same; what is acknowledged runs, and is not
// cancelled. Nothing waits for ever: queued targets end with the statement's
// not_after, the others ReportGrace later.
//
// The rules are in rules.go, and every statement of store.go takes the states that
// it may start from out of them. Each changes one target by a condition on its row
// as it is at that moment, so that two nodes never both win.
package command
