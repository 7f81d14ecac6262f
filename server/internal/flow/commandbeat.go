package flow

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// commands takes what an accepted heartbeat says of commands, and puts those that
// wait into its answer. A heartbeat without any of it costs nothing. A failure is
// no reason to refuse a heartbeat that is stored: the device says it again, and is
// given it again.
func (f *Flow) commands(ctx context.Context, id certs.Identity, h *protocol.Heartbeat, pending int, answer *protocol.HeartbeatAnswer) {
	if pending&device.PendingCommand == 0 && len(h.Acks) == 0 && len(h.Results) == 0 {
		return
	}
	x := &exchange{flow: f, deviceID: id.DeviceID, enrollmentID: h.EnrollmentID, acks: h.Acks}
	err := x.read(ctx, h.Results)
	if err == nil {
		err = f.d.Batch(ctx, x.run)
	}
	if err != nil {
		f.log.ErrorContext(ctx, "what a heartbeat says of commands is left for the next", "device", id.DeviceID, "error", err)
		return
	}
	answer.ResultsStored, answer.Commands = x.stored, x.out
	for _, r := range x.refused {
		who := audit.Actor{Kind: audit.Device, ID: id.DeviceID}
		entry := audit.Entry{Action: audit.CommandResult, ObjectKind: "device", ObjectID: id.DeviceID, Reason: r.reason, Details: map[string]string{"command": r.commandID}}
		if err := f.refusals.Note(ctx, who, entry); err != nil {
			f.log.ErrorContext(ctx, "a refusal could not be written down", "device", id.DeviceID, "error", err)
		}
	}
	if len(x.stored) > 0 {
		f.wakeCommands() // a command may be over now
	}
}

// Why what a device says of a command is not stored, as the audit log names it.
const (
	refusedInvalid     = "result-invalid"    // not an envelope of this device's key
	refusedOther       = "result-of-another" // it names another device or enrollment
	refusedForeign     = "command-foreign"   // the command is not for this device
	refusedDigest      = "result-digest"     // it answers another statement
	refusedOver        = "command-over"      // it ended otherwise before
	refusedUndelivered = "command-not-delivered"
)

type refusedSay struct{ commandID, reason string }

// exchange is what one heartbeat does with commands.
type exchange struct {
	flow                   *Flow
	deviceID, enrollmentID string
	acks                   []string
	results                []saidResult
	unreadable             []refusedSay // results that no transaction needs to look at

	stored  []string
	refused []refusedSay
	out     []protocol.CommandDelivery
}

// saidResult is a result that the device's key signed.
type saidResult struct {
	*signing.CommandResult
	payload, envelope []byte
}

// read verifies the results, before anything is locked for them.
func (x *exchange) read(ctx context.Context, results []json.RawMessage) error {
	if len(results) == 0 {
		return nil
	}
	keys, err := x.flow.keysOf(ctx, x.deviceID)
	if err != nil {
		return err
	}
	for _, data := range results {
		r, claimed := readResult(data, keys)
		switch {
		case r == nil:
			x.unreadable = append(x.unreadable, refusedSay{claimed, refusedInvalid})
		case r.DeviceID != x.deviceID || r.EnrollmentID != x.enrollmentID:
			x.unreadable = append(x.unreadable, refusedSay{r.ActionID, refusedOther})
		default:
			x.results = append(x.results, *r)
		}
	}
	return nil
}

// keysOf are the keys that a device may have signed a result with: those of its
// certificates that are neither revoked nor run out. That is the present one and,
// for a while after a renewal, the one before it, which signed what the device had
// to say then. Who brings the result has proven the present one already.
func (f *Flow) keysOf(ctx context.Context, deviceID string) (keys []crypto.PublicKey, err error) {
	list, err := pki.OfDevice(ctx, f.d.Read(), deviceID)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.RevokedAt != 0 || c.NotAfter <= db.At(f.d.Now()) {
			continue
		}
		cert, err := x509.ParseCertificate(c.DER)
		if err != nil {
			return nil, err
		}
		keys = append(keys, cert.PublicKey)
	}
	return keys, nil
}

// readResult verifies a result with one of the keys. Where none did, it says which
// command the sender claims to speak of, so that it can be told to stop.
func readResult(data []byte, keys []crypto.PublicKey) (r *saidResult, claimed string) {
	env, err := signing.ParseEnvelope(data)
	if err != nil {
		return nil, ""
	}
	for _, key := range keys {
		if read, err := signing.VerifyResult(env, key); err == nil {
			return &saidResult{read, env.Payload, data}, read.ActionID
		}
	}
	var say struct {
		ActionID string `json:"action_id"`
	}
	if json.Unmarshal(env.Payload, &say) != nil || protocol.CheckID(say.ActionID) != nil {
		return nil, ""
	}
	return nil, say.ActionID
}

// run is the exchange in one transaction. The device's counter row is held first, as
// heartbeats do, so that its pending flag is never unset over what comes to wait
// meanwhile. Everything after it asks the target's row itself.
func (x *exchange) run(ctx context.Context, tx db.Tx) error {
	x.stored, x.refused, x.out = nil, nil, nil
	for _, r := range x.unreadable {
		x.refuse(r.commandID, r.reason)
	}
	if _, err := device.HoldPending(ctx, tx, x.deviceID); err != nil {
		return err
	}
	if err := x.take(ctx, tx); err != nil {
		return err
	}
	waiting, err := command.WaitingFor(ctx, tx, x.deviceID, x.enrollmentID, protocol.MaxCommands)
	if err != nil {
		return err
	}
	if len(waiting) == 0 {
		return device.ClearPending(ctx, tx, x.deviceID, device.PendingCommand)
	}
	for _, w := range waiting {
		if !w.Due { // nor are those behind it; the flag stays
			break
		}
		if err := x.give(ctx, tx, w); err != nil {
			return err
		}
	}
	return nil
}

// refuse remembers what is not stored. Named as stored it is not sent again.
func (x *exchange) refuse(commandID, reason string) {
	x.refused = append(x.refused, refusedSay{commandID, reason})
	if commandID != "" && reason != refusedUndelivered {
		x.stored = append(x.stored, commandID)
	}
}

// take stores acknowledgements, then results.
func (x *exchange) take(ctx context.Context, tx db.Tx) error {
	ids := append([]string{}, x.acks...)
	for _, r := range x.results {
		ids = append(ids, r.ActionID)
	}
	if len(ids) == 0 {
		return nil
	}
	known, err := command.KnownTo(ctx, tx, x.deviceID, ids)
	if err != nil {
		return err
	}
	answered := map[string]bool{}
	for _, r := range x.results {
		answered[r.ActionID] = true
	}
	for _, id := range x.acks {
		if answered[id] {
			continue // the result says more
		}
		if err := x.acknowledge(ctx, tx, id, known[id]); err != nil {
			return err
		}
	}
	for _, r := range x.results {
		if err := x.store(ctx, tx, r, known[r.ActionID]); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) acknowledge(ctx context.Context, tx db.Tx, id string, k *command.Known) error {
	if k == nil || k.EnrollmentID != x.enrollmentID {
		x.refused = append(x.refused, refusedSay{id, refusedForeign})
		return nil
	}
	_, _, err := command.Next(k.State, command.Acknowledge)
	if err == nil {
		// False: it was cancelled meanwhile, which stands.
		_, err := command.MarkAcknowledged(ctx, tx, id, x.deviceID)
		return err
	}
	switch {
	case errors.Is(err, command.ErrAgain):
	case errors.Is(err, command.ErrOver) && len(k.Result) > 0: // its result is here: the acknowledgement is only late
	case errors.Is(err, command.ErrNotDelivered):
		x.refused = append(x.refused, refusedSay{id, refusedUndelivered})
	default:
		x.refused = append(x.refused, refusedSay{id, refusedOver})
	}
	return nil
}

func (x *exchange) store(ctx context.Context, tx db.Tx, r saidResult, k *command.Known) error {
	switch {
	case k == nil || k.EnrollmentID != x.enrollmentID || !k.Signed:
		x.refuse(r.ActionID, refusedForeign)
		return nil
	case !answers(r.CommandResult, k):
		x.refuse(r.ActionID, refusedDigest)
		return nil
	}
	if !k.State.Final() {
		event, reason := command.Outcome(r.CommandResult)
		closed, err := command.Close(ctx, tx, r.ActionID, x.deviceID, event, reason, r.envelope)
		if err != nil {
			return err
		}
		if closed {
			failpoint.Here("command.result-stored")
			x.stored = append(x.stored, r.ActionID)
			details := map[string]string{"device": x.deviceID, "status": string(r.Status)}
			return audit.Write(ctx, tx, audit.Actor{Kind: audit.Device, ID: x.deviceID},
				audit.Entry{Action: audit.CommandResult, ObjectKind: "command", ObjectID: r.ActionID, Reason: reason, Details: details})
		}
		// It was cancelled, or its time was over, a moment ago.
	}
	if stored, err := signing.ParseEnvelope(k.Result); err == nil && bytes.Equal(stored.Payload, r.payload) {
		x.stored = append(x.stored, r.ActionID) // the same again
		return nil
	}
	x.refuse(r.ActionID, refusedOver)
	return nil
}

// answers says whether a result is about the statement that its command is. A
// refusal may also name what was given in its place, when that is not what was
// asked for: the device's word on what the database was made to hand out is worth
// keeping.
func answers(r *signing.CommandResult, k *command.Known) bool {
	if r.StatementDigest == k.Digest {
		return true
	}
	if r.Status != signing.Refused {
		return false
	}
	if env, err := signing.ParseEnvelope(k.Envelope); err == nil && r.StatementDigest == signing.Digest(env.Payload) {
		return true
	}
	return r.StatementDigest == signing.Digest(k.Envelope)
}

// give puts one command into the answer. One that no answer can carry is ended for
// this device, so that it holds up nothing behind it.
func (x *exchange) give(ctx context.Context, tx db.Tx, w command.Waiting) error {
	delivery, err := x.flow.delivery(ctx, tx, w)
	if errors.Is(err, errUndeliverable) {
		closed, err := command.Close(ctx, tx, w.CommandID, x.deviceID, command.Undeliverable, "", nil)
		if err != nil || !closed {
			return err
		}
		return audit.Write(ctx, tx, commandActor, audit.Entry{Action: audit.CommandResult, ObjectKind: "command", ObjectID: w.CommandID, Result: audit.Refused,
			Reason: command.ReasonUndeliverable, Details: map[string]string{"device": x.deviceID}})
	}
	if err != nil {
		return err
	}
	marked, err := command.MarkDelivered(ctx, tx, w.CommandID, x.deviceID)
	if marked {
		x.out = append(x.out, delivery)
	}
	return err
}
