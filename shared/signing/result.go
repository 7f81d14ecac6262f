package signing

import (
	"context"
	"crypto"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	typeResult = "command-result"

	maxOutput      = 48      // members
	maxOutputBytes = 8 << 10 // of keys and values together
)

// ResultStatus is how a command ended on a device.
type ResultStatus string

// The ways in which a command ends. Unknown means that the agent was interrupted
// after it had written down that it begins: it may have been done or not, and is
// not tried again.
const (
	Succeeded ResultStatus = "succeeded"
	Failed    ResultStatus = "failed"
	Refused   ResultStatus = "refused"
	Unknown   ResultStatus = "unknown"
)

// CommandResult is what became of a command, in the device's own words and under
// the device's own key.
type CommandResult struct {
	Type            string            `json:"type"` // "command-result"
	DeviceID        string            `json:"device_id"`
	EnrollmentID    string            `json:"enrollment_id"`
	ActionID        string            `json:"action_id"`
	StatementDigest string            `json:"statement_digest"` // of the payload that it answers
	Status          ResultStatus      `json:"status"`
	Reason          string            `json:"reason,omitempty"` // a code: lower-case words joined by '-'
	Output          map[string]string `json:"output,omitempty"`
	At              time.Time         `json:"at"` // on the device's clock
}

// Check holds the result to its rules (ErrRule).
func (r *CommandResult) Check() error {
	if r.Type != typeResult {
		return fmt.Errorf("%w: type is not %s", ErrRule, typeResult)
	}
	if err := (Target{DeviceID: r.DeviceID, EnrollmentID: r.EnrollmentID}).check(); err != nil {
		return err
	}
	if err := protocol.CheckID(r.ActionID); err != nil {
		return fmt.Errorf("%w: action_id: %w", ErrRule, err)
	}
	if err := checkDigest("statement_digest", r.StatementDigest); err != nil {
		return err
	}
	switch r.Status {
	case Succeeded:
	case Failed, Refused, Unknown:
		if !validName(r.Reason) {
			return fmt.Errorf("%w: what did not succeed needs a reason", ErrRule)
		}
	default:
		return fmt.Errorf("%w: a status that is not known", ErrRule)
	}
	if r.Reason != "" && !validName(r.Reason) {
		return fmt.Errorf("%w: reason is not lower-case words joined by '-'", ErrRule)
	}
	if len(r.Output) > maxOutput {
		return fmt.Errorf("%w: output has more than %d members", ErrRule, maxOutput)
	}
	size := 0
	for k, v := range r.Output {
		if err := protocol.CheckText("output", k, protocol.MaxFactKey); err != nil || k == "" {
			return fmt.Errorf("%w: a name in output has not the form", ErrRule)
		}
		if err := protocol.CheckText("output", v, protocol.MaxFactValue); err != nil {
			return fmt.Errorf("%w: %w", ErrRule, err)
		}
		size += len(k) + len(v)
	}
	if size > maxOutputBytes {
		return fmt.Errorf("%w: output is longer than %d bytes", ErrRule, maxOutputBytes)
	}
	return checkTime("at", r.At)
}

// SignResult fills in the type, brings the time into form, checks the result and
// signs it with the device's key.
func SignResult(ctx context.Context, r CommandResult, device crypto.Signer) (*Envelope, error) {
	r.Type, r.At = typeResult, stamp(r.At)
	if err := r.Check(); err != nil {
		return nil, err
	}
	signer, err := NewSigner(PurposeResult, device)
	if err != nil {
		return nil, err
	}
	return seal(ctx, PurposeResult, r, &CommandResult{}, []Signer{signer})
}

// VerifyResult makes sure that the device's key signed the result. Whether it fits
// the command that it names is the caller's to ask.
func VerifyResult(env *Envelope, device crypto.PublicKey) (*CommandResult, error) {
	key, err := NewKey(PurposeResult, device)
	if err != nil {
		return nil, err
	}
	payload, _, err := env.Verify(PurposeResult, []Key{key}, 1)
	if err != nil {
		return nil, err
	}
	var r CommandResult
	if err := decode(payload, &r); err != nil {
		return nil, err
	}
	return &r, r.Check()
}
