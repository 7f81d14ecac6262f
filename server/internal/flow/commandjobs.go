package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

const (
	// commandsEvery is how often the rows are looked at for what another node left:
	// what this node asks for itself wakes it at once.
	commandsEvery = time.Second

	commandsAtOnce = 100 // commands in a round
	queueAtOnce    = 200 // devices told in one transaction: their heartbeats wait for it
	closeAtOnce    = 500 // targets closed in one transaction
)

var commandActor = audit.Actor{Kind: audit.System, ID: "commands"}

// ErrCommandKey says why commands are not signed here.
var ErrCommandKey = errors.New("commands are not signed")

// RunCommands queues and ends commands until ctx ends. The rows are the jobs: several
// nodes may do it at once, and any may be killed at any time.
func (f *Flow) RunCommands(ctx context.Context) error {
	return f.commandRounds(ctx, f.wake, func(ctx context.Context) error {
		return errors.Join(f.queueCommands(ctx), f.endCommands(ctx))
	})
}

// RunSigning signs commands until ctx ends. It is apart from RunCommands, so that a
// signer that takes its time holds up nothing that is signed already.
func (f *Flow) RunSigning(ctx context.Context) error {
	return f.commandRounds(ctx, f.wakeSigning, f.signCommands)
}

func (f *Flow) commandRounds(ctx context.Context, wake <-chan struct{}, round func(context.Context) error) error {
	every := time.NewTicker(commandsEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-every.C:
		}
		if err := round(ctx); err != nil && ctx.Err() == nil {
			f.log.ErrorContext(ctx, "work on commands failed and is tried again", "error", err)
		}
	}
}

// CommandRound does one round of both.
func (f *Flow) CommandRound(ctx context.Context) error {
	return errors.Join(f.signCommands(ctx), f.queueCommands(ctx), f.endCommands(ctx))
}

// wakeCommands starts a round at once. A round that is running already is followed
// by another.
func (f *Flow) wakeCommands() {
	for _, wake := range []chan struct{}{f.wakeSigning, f.wake} {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// tellFor is how long after a signature failed this is told of, where no other was
// tried since.
const tellFor = 2 * time.Minute

// signFailure is the last signature that was asked for and did not come.
type signFailure struct {
	err error
	at  time.Time
}

// CommandKey is nil when this server can sign commands that devices will take, and
// otherwise an error that wraps ErrCommandKey and says what to do.
func (f *Flow) CommandKey(ctx context.Context) error {
	if _, err := f.commandSigner(ctx); err != nil {
		return err
	}
	if last := f.signFailed.Load(); last != nil && f.d.Now().Sub(last.at) < tellFor {
		return &keyError{last.err}
	}
	return nil
}

// keyError is a command key that does not sign. Its text is shown to anyone, so the
// cause is for the log.
type keyError struct{ cause error }

func (e *keyError) Error() string {
	return ErrCommandKey.Error() + ": this server's command key does not sign; see the log, and on the server: sentinel-server keys check command"
}
func (e *keyError) Is(target error) bool { return target == ErrCommandKey }
func (e *keyError) Unwrap() error        { return e.cause }

func (f *Flow) commandSigner(ctx context.Context) (signing.Signer, error) {
	fleet, err := f.policy.Fleet()
	if err != nil {
		return nil, err
	}
	signer, err := f.signer(ctx, fleet.Bundle.CommandKeys)
	if err != nil {
		return nil, &keyError{err}
	}
	key := signer.Key()
	if !slices.ContainsFunc(fleet.Bundle.CommandKeys, func(k signing.Key) bool { return k.ID == key.ID }) {
		return nil, fmt.Errorf("%w: the policy bundle in force (version %d) does not list this server's command key %s; publish one that does", ErrCommandKey, fleet.Bundle.Version, key.ID)
	}
	return signer, nil
}

// signCommands signs what waits for it. One that cannot be signed at all is brought
// to an end, so that it holds up nothing behind it.
func (f *Flow) signCommands(ctx context.Context) error {
	list, err := command.ToSign(ctx, f.d.Read(), db.At(f.d.Now()), commandsAtOnce)
	if err != nil || len(list) == 0 {
		return err
	}
	signer, err := f.commandSigner(ctx)
	if key, ok := errors.AsType[*keyError](err); ok {
		f.log.WarnContext(ctx, "commands wait for their key", "reason", key.cause)
		return nil
	}
	if errors.Is(err, ErrCommandKey) {
		return nil // shown with each command, and by readiness
	}
	if err != nil {
		return err
	}
	var failed []error
	for i := range list {
		err := f.signCommand(ctx, signer, &list[i])
		if err != nil && !errors.Is(err, db.ErrConflict) { // a conflict: another node, or a cancel, was faster
			failed = append(failed, fmt.Errorf("command %s: %w", list[i].ID, err))
		}
		if errors.Is(err, errNotSigned) { // the others would wait for it as long
			break
		}
	}
	select {
	case f.wake <- struct{}{}: // what was signed is to be queued
	default:
	}
	return errors.Join(failed...)
}

func (f *Flow) signCommand(ctx context.Context, signer signing.Signer, c *command.Command) error {
	envelope, err := sealed(ctx, signer, c)
	if errors.Is(err, errUnsignable) {
		f.log.ErrorContext(ctx, "a command cannot be signed and is ended", "command", c.ID, "error", err)
		return f.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
			if err := command.End(ctx, tx, c.ID, command.EndUnsignable, commandActor.ID, err.Error()); err != nil {
				return err
			}
			return audit.Write(ctx, tx, commandActor, audit.Entry{Action: audit.CommandSign, ObjectKind: "command", ObjectID: c.ID, Result: audit.Refused, Reason: command.ReasonUnsignable})
		})
	}
	if err != nil {
		f.signFailed.Store(&signFailure{err, f.d.Now()})
		return err
	}
	f.signFailed.Store(nil)
	return f.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := command.Sign(ctx, tx, c.ID, c.Digest, envelope); err != nil {
			return err
		}
		return audit.Write(ctx, tx, commandActor, audit.Entry{Action: audit.CommandSign, ObjectKind: "command", ObjectID: c.ID,
			Details: map[string]string{"key": signer.Key().ID, "digest": c.Digest}})
	})
}

// errUnsignable says that no try will ever sign a statement.
var errUnsignable = errors.New("the stored statement is not one that can be signed")

// errNotSigned says that the key did not sign this time.
var errNotSigned = errors.New("the command key did not sign")

// sealed signs the stored bytes, verifies what came out, and holds it to what an
// answer may carry.
func sealed(ctx context.Context, signer signing.Signer, c *command.Command) ([]byte, error) {
	s, err := signing.ReadCommand(c.Statement)
	if err != nil || s.ActionID != c.ID || signing.Digest(c.Statement) != c.Digest {
		return nil, errUnsignable
	}
	env, err := signing.SignCommand(ctx, c.Statement, signer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSigned, err)
	}
	data, err := env.Marshal()
	if err != nil {
		return nil, err
	}
	delivery := protocol.CommandDelivery{ActionID: c.ID, Statement: data}
	if delivery.Check() != nil {
		return nil, errUnsignable
	}
	return data, nil
}

// queueCommands tells the devices of signed commands that something waits. It goes
// on where this or another node stopped; doing a part again does no harm.
func (f *Flow) queueCommands(ctx context.Context) error {
	list, err := command.ToQueue(ctx, f.d.Read(), db.At(f.d.Now()), commandsAtOnce)
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range list {
		for from := c.Queued; from < c.Targets; from += queueAtOnce {
			if err := f.queue(ctx, c.ID, from); err != nil {
				failed = append(failed, fmt.Errorf("queue command %s: %w", c.ID, err))
				break
			}
		}
	}
	return errors.Join(failed...)
}

// rowHeld is how long to let those be who hold rows, before they are tried again.
const rowHeld = 5 * time.Millisecond

func (f *Flow) queue(ctx context.Context, id string, from int64) error {
	left, err := command.DevicesFrom(ctx, f.d.Read(), id, from, queueAtOnce)
	if err != nil {
		return err
	}
	to := from + int64(len(left))
	for len(left) > 0 {
		var raised []string
		if err := f.d.Batch(ctx, func(ctx context.Context, tx db.Tx) (err error) {
			raised, err = device.RaisePending(ctx, tx, left, device.PendingCommand)
			return err
		}); err != nil {
			return err
		}
		left = slices.DeleteFunc(left, func(id string) bool { return slices.Contains(raised, id) })
		if len(left) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rowHeld):
		}
	}
	return f.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error { return command.SetQueued(ctx, tx, id, to) })
}

// endCommands closes what is cancelled, what is over, and commands none of whose
// targets is open.
func (f *Flow) endCommands(ctx context.Context) error {
	list, err := command.ToEnd(ctx, f.d.Read(), db.At(f.d.Now()), commandsAtOnce)
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range list {
		if _, err := f.endCommand(ctx, c.ID); err != nil {
			failed = append(failed, fmt.Errorf("end command %s: %w", c.ID, err))
		}
	}
	return errors.Join(failed...)
}

// endCommand closes the targets of one command that are due, in bounded steps, and
// the command when it was the last of them. It says how many targets it closed,
// by the state they were in.
func (f *Flow) endCommand(ctx context.Context, id string) (map[command.TargetState]int, error) {
	total := map[command.TargetState]int{}
	c, err := command.Get(ctx, f.d.Read(), id)
	if err != nil {
		return total, err
	}
	for _, event := range command.Due(c.Ending, c.NotAfter.Time(), f.d.Now()) {
		for closed := closeAtOnce; closed > 0; {
			var some map[command.TargetState]int
			if err := f.d.Batch(ctx, func(ctx context.Context, tx db.Tx) (err error) {
				some, err = command.CloseSome(ctx, tx, id, event, closeAtOnce)
				return err
			}); err != nil {
				return total, err
			}
			closed = 0
			for state, n := range some {
				total[state] += n
				closed += n
			}
		}
	}
	return total, f.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
		last, finished, err := command.Finish(ctx, tx, id)
		if err != nil || !finished {
			return err
		}
		if c.State == command.Review && c.Ending == "" {
			if err := approval.Close(ctx, tx, c.ApprovalID, approval.Expired); err != nil && !errors.Is(err, db.ErrConflict) {
				return err
			}
		}
		if last != command.Expired {
			return nil // its own entry was written when it was asked for, or its results are there
		}
		return audit.Write(ctx, tx, commandActor, audit.Entry{Action: audit.CommandExpire, ObjectKind: "command", ObjectID: id,
			Details: map[string]string{"was": string(c.State)}})
	})
}
