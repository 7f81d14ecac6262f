package attestation

import "errors"

// Refusals of a claim.
var (
	ErrOff         = errors.New("no makers of TPMs are believed here, so that no evidence is taken")
	ErrEndorsement = errors.New("the TPM's certificate does not lead to a maker that is believed")
	ErrKey         = errors.New("the attestation key is of a form that is not taken")
	ErrTPMChanged  = errors.New("the device has another TPM than the one on record")
	ErrTPMTaken    = errors.New("the TPM is on record for another device")
)

// Refusals of evidence that answers no open challenge. They say nothing of the device:
// an answer may have been lost.
var (
	ErrUnknown = errors.New("there is no such challenge")
	ErrUsed    = errors.New("the challenge was used before")
	ErrExpired = errors.New("the challenge has expired")
	ErrForeign = errors.New("the challenge was made for another device, enrollment or certificate")
)

// Refusals about baselines.
var (
	ErrNoBaseline = errors.New("there is no such baseline")
	ErrState      = errors.New("the baseline is not where this is possible")
	ErrNone       = errors.New("the device has brought no evidence")
)

// InvalidError says which rule a baseline breaks.
type InvalidError struct{ Rule string }

func (e *InvalidError) Error() string { return e.Rule }
