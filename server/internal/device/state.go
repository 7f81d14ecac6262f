package device

import "errors"

// State is where a device stands.
type State string

// The states; see the package's documentation.
const (
	Active    State = "active"
	Suspended State = "suspended"
	Revoked   State = "revoked"
	Retired   State = "retired"
)

// Gate is the short form of state and hold in the counter row.
type Gate int

// The gates. Only an open one lets heartbeats through.
const (
	GateOpen Gate = iota
	GateSuspended
	GateHeld
	GateRevoked
)

// Refusals of an act on a device.
var (
	ErrUnknown = errors.New("there is no such device")
	ErrFinal   = errors.New("the device is revoked or retired, which is final")
	ErrAlready = errors.New("the device is in that state already")
	ErrNotHeld = errors.New("the device is not held")
	ErrExists  = errors.New("the device_id is taken")
)

// Final reports whether no act leads out of the state.
func (s State) Final() bool { return s == Revoked || s == Retired }

// Change says whether an act may bring a device from one state to another.
func Change(from, to State) error {
	switch {
	case from.Final():
		return ErrFinal
	case from == to:
		return ErrAlready
	}
	return nil
}

// GateOf is the gate that state and hold make.
func GateOf(s State, held bool) Gate {
	switch {
	case s == Active && !held:
		return GateOpen
	case s == Active:
		return GateHeld
	case s == Suspended:
		return GateSuspended
	default: // revoked, retired, and anything that is not known
		return GateRevoked
	}
}
