package command

import (
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// State is where a command stands; see the package's documentation.
type State string

// The states of a command.
const (
	Review    State = "review"
	Unsigned  State = "unsigned"
	Open      State = "open"
	Done      State = "done"
	Rejected  State = "rejected"
	Cancelled State = "cancelled"
	Expired   State = "expired"
)

// States lists them.
func States() []State {
	return []State{Review, Unsigned, Open, Done, Rejected, Cancelled, Expired}
}

// Final reports whether nothing leads out of the state.
func (s State) Final() bool { return s != Review && s != Unsigned && s != Open }

// TargetState is where a command stands with one device.
type TargetState string

// The states of a target.
const (
	Queued          TargetState = "queued"
	Delivered       TargetState = "delivered"
	Acknowledged    TargetState = "acknowledged"
	TargetSucceeded TargetState = "succeeded"
	TargetFailed    TargetState = "failed"
	TargetExpired   TargetState = "expired"
	TargetCancelled TargetState = "cancelled"
)

// TargetStates lists them, in the order in which they are passed.
func TargetStates() []TargetState {
	return []TargetState{Queued, Delivered, Acknowledged, TargetSucceeded, TargetFailed, TargetExpired, TargetCancelled}
}

// Final reports whether nothing leads out of the state.
func (s TargetState) Final() bool { return s != Queued && s != Delivered && s != Acknowledged }

// Event is what happens to a target.
type Event string

// The events.
const (
	Deliver       Event = "deliver"       // it goes with an answer
	Acknowledge   Event = "acknowledge"   // the device has written it down
	Succeed       Event = "succeed"       // a result of the device
	Fail          Event = "fail"          // a result of the device that is no success
	Cancel        Event = "cancel"        // a person takes the command back
	Reject        Event = "reject"        // a reviewer says no
	NotSignable   Event = "unsignable"    // it cannot be signed
	Restore       Event = "restore"       // the database came from a backup
	EndDevice     Event = "end-device"    // the device was revoked or retired
	Undeliverable Event = "undeliverable" // it does not fit into an answer
	NotAfter      Event = "not-after"     // the statement's time is over
	Overdue       Event = "overdue"       // and the time to report, too
)

// Why an event does not count.
var (
	ErrOver         = errors.New("the command has ended for this device")
	ErrRunning      = errors.New("the device has acknowledged the command, and runs it or did")
	ErrNotDelivered = errors.New("the device was never given the command")
	ErrAgain        = errors.New("the device has acknowledged the command already")
	ErrNotDue       = errors.New("the command's time is not over for this device")
)

// The reasons of final states that are not the device's own words.
const (
	ReasonCancelled      = "cancelled"
	ReasonMayRun         = "cancelled-after-delivery" // the device may run it all the same
	ReasonRejected       = "rejected"
	ReasonUnsignable     = "unsignable"
	ReasonRestored       = "database-restored"
	ReasonDevice         = "device-revoked"
	ReasonUndeliverable  = "undeliverable"
	ReasonNeverDelivered = "never-delivered"
	ReasonNoAck          = "no-acknowledgement"
	ReasonNoResult       = "no-result"
)

// Next is the state that an event leads to, with the reason of a final one. For
// Fail the reason is the device's own and comes with the result.
func Next(from TargetState, e Event) (to TargetState, reason string, err error) {
	if from.Final() {
		return from, "", ErrOver
	}
	switch e {
	case Deliver:
		if from == Acknowledged {
			return from, "", ErrAgain
		}
		return Delivered, "", nil
	case Acknowledge:
		switch from {
		case Queued:
			return from, "", ErrNotDelivered
		case Acknowledged:
			return from, "", ErrAgain
		}
		return Acknowledged, "", nil
	case Succeed:
		// Also of one that is queued: the device's signature over the statement's
		// digest proves more than this database remembers after a restore.
		return TargetSucceeded, "", nil
	case Fail:
		return TargetFailed, "", nil
	case EndDevice:
		return TargetCancelled, ReasonDevice, nil
	case Restore:
		return notRunning(from, TargetCancelled, ReasonRestored, ReasonRestored)
	case Cancel:
		return notRunning(from, TargetCancelled, ReasonCancelled, ReasonMayRun)
	case Undeliverable:
		return notRunning(from, TargetFailed, ReasonUndeliverable, ReasonUndeliverable)
	case Reject, NotSignable:
		if from != Queued {
			return from, "", ErrRunning // it was signed: nobody rejects it any more
		}
		if e == Reject {
			return TargetCancelled, ReasonRejected, nil
		}
		return TargetFailed, ReasonUnsignable, nil
	case NotAfter:
		if from != Queued {
			return from, "", ErrNotDue
		}
		return TargetExpired, ReasonNeverDelivered, nil
	case Overdue:
		return TargetExpired, map[TargetState]string{Queued: ReasonNeverDelivered, Delivered: ReasonNoAck, Acknowledged: ReasonNoResult}[from], nil
	}
	return from, "", errors.New("command: no such event")
}

// notRunning ends what the device has not acknowledged.
func notRunning(from, to TargetState, queued, delivered string) (TargetState, string, error) {
	switch from {
	case Queued:
		return to, queued, nil
	case Delivered:
		return to, delivered, nil
	default:
		return from, "", ErrRunning
	}
}

// From lists the states that an event leads out of. The statements that change
// targets take their conditions from here.
func From(e Event) []TargetState {
	var list []TargetState
	for _, s := range TargetStates() {
		if _, _, err := Next(s, e); err == nil {
			list = append(list, s)
		}
	}
	return list
}

// ReportGrace is how long after the statement's not_after a device that was given it
// may still say what became of it: it began in time, and reports with a heartbeat.
const ReportGrace = 10 * time.Minute

// Ending is why a command is brought to an end before its time; "" while it is not.
type Ending string

// The endings.
const (
	EndCancelled  Ending = "cancelled"
	EndRejected   Ending = "rejected"
	EndUnsignable Ending = "unsignable"
	EndRestored   Ending = "restored"
)

// event is what an ending is to a target.
func (e Ending) event() Event {
	return map[Ending]Event{EndCancelled: Cancel, EndRejected: Reject, EndUnsignable: NotSignable, EndRestored: Restore}[e]
}

// Due lists the events that close targets of a command now.
func Due(ending Ending, notAfter, now time.Time) []Event {
	var due []Event
	if ending != "" {
		due = append(due, ending.event())
	}
	switch {
	case !now.Before(notAfter.Add(ReportGrace)):
		due = append(due, Overdue)
	case !now.Before(notAfter):
		due = append(due, NotAfter)
	}
	return due
}

// Last is the final state of a command none of whose targets is open any more.
// expired says that the time of one of them was over.
func Last(from State, ending Ending, expired bool) State {
	switch {
	case ending == EndRejected:
		return Rejected
	case ending != "":
		return Cancelled
	case expired:
		return Expired
	case from != Open:
		return Cancelled // its devices were revoked before it was signed
	}
	return Done
}

// Outcome is what a result of a device is to its target: the event, and the reason
// to keep.
func Outcome(r *signing.CommandResult) (Event, string) {
	switch r.Status {
	case signing.Succeeded:
		return Succeed, r.Reason
	case signing.Failed:
		return Fail, r.Reason
	case signing.Refused:
		return Fail, "refused-" + r.Reason
	default:
		return Fail, "outcome-unknown"
	}
}
