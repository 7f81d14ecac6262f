package enroll

import (
	"errors"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Each error is named for what the person has to do.
var (
	// ErrMissing means that something that a new enrollment needs was not given.
	ErrMissing = errors.New("something is missing")
	// ErrEnrolled means that the device is enrolled. Unenroll it first, if that is meant.
	ErrEnrolled = errors.New("already enrolled")
	// ErrOther means that another enrollment is under way. Finish it, or unenroll.
	ErrOther = errors.New("another enrollment is under way")
	// ErrOver means that it was refused for good. Read why; a new one may be begun.
	ErrOver = errors.New("enrollment refused")
	// ErrPending means that nobody has decided in time. Run the same again to go on waiting.
	ErrPending = errors.New("not decided yet")
	// ErrUnsent means that in all the time the server did not say that it has the request.
	// Run the same again, with the token: sent twice it is one request.
	ErrUnsent = errors.New("the server has not taken the request yet")
	// ErrStopped means that the person, or the system, ended the wait. Run the same again to
	// go on.
	ErrStopped = errors.New("stopped before the decision")
	// ErrBetween means that the server sees another CA than this device. Someone is between.
	ErrBetween = errors.New("someone may be between this device and the server")
	// ErrClock means that a clock is wrong, so that what is valid looks as if it were not.
	// Put it right and run the same again.
	ErrClock = errors.New("a clock is wrong")
	// ErrNotOurs means that what was issued does not fit this device or what was given.
	ErrNotOurs = errors.New("what the server issued cannot be accepted")
)

// RefusedError is a refusal for good. It wraps ErrOver.
type RefusedError struct {
	Code   protocol.Code // "" when a person rejected it, or its time ran out
	Reason string        // printable
}

func (r *RefusedError) Error() string {
	if r.Code == "" {
		return fmt.Sprintf("%v: %s", ErrOver, r.Reason)
	}
	return fmt.Sprintf("%v: %s (%s)", ErrOver, r.Reason, r.Code)
}

func (r *RefusedError) Unwrap() error { return ErrOver }

// over are the codes after which the same enrollment cannot succeed any more.
var over = map[protocol.Code]bool{
	protocol.CodeTokenUnknown:   true,
	protocol.CodeTokenUsedUp:    true,
	protocol.CodeTokenExpired:   true,
	protocol.CodeTokenRevoked:   true,
	protocol.CodeCSRMalformed:   true,
	protocol.CodeCSRSignature:   true,
	protocol.CodeWeakKey:        true,
	protocol.CodeWrongName:      true,
	protocol.CodeExtraNames:     true,
	protocol.CodeDeviceExists:   true,
	protocol.CodeDeviceGone:     true,
	protocol.CodeEnrollConflict: true,
	protocol.CodeEnrollUnknown:  true,
	protocol.CodeReviewRejected: true,
}

// later are the codes after which asking again may help.
var later = map[protocol.Code]bool{
	protocol.CodeEnrollFull:  true,
	protocol.CodeRateLimited: true,
	protocol.CodeNotReady:    true,
	protocol.CodeInternal:    true,

	protocol.CodeIssuingStopped:    true,
	protocol.CodeRevocationUnknown: true,
}
