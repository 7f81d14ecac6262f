package journal

import "errors"

// Each error is named for what its reader has to do.
var (
	// ErrNotEnrolled means that there is no journal. Enroll the device.
	ErrNotEnrolled = errors.New("this device is not enrolled")
	// ErrExists means that there is a journal already. Go on with it, or unenroll.
	ErrExists = errors.New("there is an enrollment already")
	// ErrInUse means that another agent holds the journal. Stop that one.
	ErrInUse = errors.New("another agent is using this state directory")
	// ErrDamaged means that the file is not what the agent wrote. Nothing in it is used,
	// since a counter that is too low looks like a copied device to the server.
	ErrDamaged = errors.New("the journal is damaged")
	// ErrNewer means that a newer agent wrote it. Run that one.
	ErrNewer = errors.New("the journal was written by a newer agent")
	// ErrLoose means that others may read or change the state directory. Nothing in it is
	// used before that is put right, and the key should be replaced.
	ErrLoose = errors.New("others may read or change the state directory")
	// ErrBackwards means that a change would undo what the device holds on to.
	ErrBackwards = errors.New("the journal never goes back")
	// ErrExhausted means that every counter was used.
	ErrExhausted = errors.New("no counter is left")
)
