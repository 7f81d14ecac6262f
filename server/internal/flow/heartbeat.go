package flow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// EpochError refuses a heartbeat and says how to go on: in this epoch, with this
// nonce, above this counter.
type EpochError struct {
	Epoch   string
	Nonce   string
	Counter int64
	cause   error
}

func (e *EpochError) Error() string { return e.cause.Error() }
func (e *EpochError) Unwrap() error { return e.cause }

// ErrIdentity says that a message names another device than the certificate.
var ErrIdentity = errors.New("the message names another device than the certificate does")

// Heartbeat judges and stores a sign of life and answers once it is committed.
// A refusal is one of the errors of package device, ErrIdentity or an EpochError.
func (f *Flow) Heartbeat(ctx context.Context, id certs.Identity, h *protocol.Heartbeat) (*protocol.HeartbeatAnswer, error) {
	if h.DeviceID != id.DeviceID {
		return nil, ErrIdentity
	}
	fleet, err := f.policy.Fleet()
	if err != nil {
		return nil, err
	}
	b := &beat{said: device.Said{AgentVersion: h.AgentVersion, PolicyVersion: h.PolicyVersion, RootVersion: h.RootVersion, FirstUse: h.FirstUse, Facts: h.Facts}}
	b.Beat = device.Beat{
		DeviceID: id.DeviceID, EnrollmentID: h.EnrollmentID, Fingerprint: id.Fingerprint,
		Counter: h.Counter, Epoch: h.Epoch, BootID: h.BootID, NonceFor: -1, At: db.At(f.d.Now()), Said: said(b.said),
	}
	if n, ok := f.number("heartbeat nonce", h.Nonce, id.DeviceID, h.Epoch); ok {
		b.NonceFor = n
	}
	if n, ok := f.number("heartbeat receipt", h.Receipt, id.DeviceID, h.Epoch); ok {
		b.Receipt = n
	}
	pending, err := f.beats.do(ctx, b)
	f.beatCount.add(b.At.Time(), err)
	if err != nil {
		return nil, err
	}
	answer := &protocol.HeartbeatAnswer{
		Counter: h.Counter, Epoch: h.Epoch, ServerTime: f.d.Now(),
		IntervalSeconds: int(f.settings.HeartbeatInterval.Seconds()),
		Nonce:           f.beatNonce(id.DeviceID, h.Epoch, h.Counter),
		Receipt:         f.receipt(id.DeviceID, h.Epoch, h.Counter),
		PolicyVersion:   fleet.Bundle.Version, RootVersion: fleet.Root.Root.Version,
	}
	documents(fleet, h, answer)
	f.commands(ctx, id, h, pending, answer)
	return answer, nil
}

// said is the digest that tells whether what a device says of itself changed.
// Facts are sent only when they changed, so they are no part of it.
func said(s device.Said) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %d %t", s.AgentVersion, s.PolicyVersion, s.RootVersion, s.FirstUse))
	return hex.EncodeToString(sum[:8])
}

// beat is a heartbeat on its way into a batch.
type beat struct {
	device.Beat
	said device.Said
}

func (b *beat) device() string { return b.DeviceID }

// outcome is what became of a beat: whether something waits for the device.
type outcome = result[int]

// writers is how many batches are stored at once: SQLite has one writer anyway,
// and on PostgreSQL one a core keeps the batches large.
func writers(d db.Dialect) int {
	if d == db.SQLite {
		return 1
	}
	return max(2, runtime.NumCPU())
}

// RunHeartbeats stores batches until ctx ends, then what is still waiting.
func (f *Flow) RunHeartbeats(ctx context.Context) error {
	if err := device.Prepare(ctx, f.d); err != nil {
		return err
	}
	return f.beats.run(ctx)
}

// store is one batch, at most one beat a device: an outcome for each.
func (f *Flow) store(ctx context.Context, batch []*beat) []outcome {
	outcomes := make([]outcome, len(batch))
	refusals, in, err := f.raise(ctx, batch, outcomes)
	if err != nil {
		for i := range outcomes {
			outcomes[i] = outcome{err: err}
		}
		return outcomes
	}
	var met []int // beats that met a change under way: it is over now
	for i, b := range batch {
		r, ok := refusals[b.DeviceID]
		switch {
		case !ok:
		case errors.Is(r.Cause, device.ErrRace) && !again(ctx):
			met = append(met, i)
		default:
			outcomes[i].err = f.refused(ctx, b, in, r)
		}
	}
	if len(met) == 0 {
		return outcomes
	}
	second := make([]*beat, len(met))
	for j, i := range met {
		second[j] = batch[i]
	}
	for j, o := range f.store(context.WithValue(ctx, againKey{}, true), second) {
		outcomes[met[j]] = o
	}
	return outcomes
}

type againKey struct{}

// again reports whether a batch is tried for the second time; there is no third.
func again(ctx context.Context) bool { return ctx.Value(againKey{}) != nil }

// raise accepts what passes and judges the rest, in one transaction.
func (f *Flow) raise(ctx context.Context, batch []*beat, outcomes []outcome) (refusals map[string]device.Refusal, in db.Instance, err error) {
	beats := make([]device.Beat, len(batch))
	for i, b := range batch {
		beats[i] = b.Beat
	}
	first := false
	err = f.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
		refusals, first = nil, false
		accepted, err := device.Raise(ctx, tx, beats)
		if err != nil {
			return err
		}
		failpoint.Here("heartbeat.before-commit")
		var rest []device.Beat
		var n news
		for i, b := range batch {
			r, ok := accepted[b.DeviceID]
			if !ok {
				rest = append(rest, b.Beat)
				continue
			}
			outcomes[i] = outcome{got: r.Pending}
			n.add(b, r)
		}
		first = len(n.used) > 0
		if err := n.store(ctx, tx); err != nil {
			return err
		}
		if first {
			failpoint.Here("first-use.before-commit")
		}
		if len(rest) == 0 {
			return nil
		}
		if in, err = tx.Instance(ctx); err != nil {
			return err
		}
		refusals, err = device.Refuse(ctx, tx, in, rest)
		return err
	})
	failpoint.Here("heartbeat.after-commit")
	if first {
		failpoint.Here("first-use.after-commit")
	}
	return refusals, in, err
}

// news is what the accepted beats of a batch change besides their counters. After a
// rotation or a new bundle that is something of every device, so it is stored for all of
// them at once.
type news struct {
	used, fingerprints []string         // devices that use their next certificates for the first time
	told               []device.Telling // what devices say of themselves and did not before
	judge              []string         // devices of which a fact of their trust changed
	back               []string         // devices that are heard for the first time in an epoch, or may be
}

func (n *news) add(b *beat, r device.Raised) {
	if r.First {
		n.used, n.fingerprints = append(n.used, b.DeviceID), append(n.fingerprints, b.Fingerprint)
	}
	says := r.Said != b.Said // whether it trusted on first use is a fact of its trust
	if says || b.said.Facts != nil {
		n.told = append(n.told, device.Telling{DeviceID: b.DeviceID, Digest: b.Said, Said: b.said})
	}
	if b.Receipt == 0 && !r.First { // one that was accepted in this epoch has a receipt of it
		n.back = append(n.back, b.DeviceID)
	}
	if r.First || says {
		n.judge = append(n.judge, b.DeviceID)
	}
}

func (n *news) store(ctx context.Context, tx db.Tx) error {
	if len(n.used) > 0 {
		if err := supersede(ctx, tx, n.used, n.fingerprints); err != nil {
			return err
		}
	}
	if len(n.back) > 0 {
		if err := endRivals(ctx, tx, n.back); err != nil {
			return err
		}
	}
	if len(n.told) > 0 {
		if err := device.SetSaid(ctx, tx, n.told...); err != nil {
			return err
		}
	}
	if len(n.judge) > 0 {
		return retrust(ctx, tx, n.judge...)
	}
	return nil
}

// refused does what a refusal asks for besides the answer.
func (f *Flow) refused(ctx context.Context, b *beat, in db.Instance, r device.Refusal) error {
	switch {
	case errors.Is(r.Cause, device.ErrEpoch), errors.Is(r.Cause, device.ErrNonce):
		return &EpochError{Epoch: in.Epoch, Nonce: f.beatNonce(b.DeviceID, in.Epoch, r.Counter), Counter: r.Counter, cause: r.Cause}
	case errors.Is(r.Cause, device.ErrBehind):
		if err := f.behind(ctx, b); err != nil {
			f.log.ErrorContext(ctx, "a device knows of more than the database, and this could not be recorded", "device", b.DeviceID, "error", err)
		}
	case device.Holds(r.Cause, r.InARow):
		if err := f.hold(ctx, b, r.Cause); err != nil && !errors.Is(err, device.ErrAlready) {
			f.log.ErrorContext(ctx, "a device could not be held", "device", b.DeviceID, "error", err)
		}
	}
	return r.Cause
}

func (f *Flow) hold(ctx context.Context, b *beat, cause error) error {
	return f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		d, err := device.Hold(ctx, tx, b.DeviceID, cause.Error())
		if err != nil {
			return err
		}
		if err := retrust(ctx, tx, d.DeviceID); err != nil {
			return err
		}
		return audit.Write(ctx, tx, audit.Actor{Kind: audit.System, ID: "heartbeat"},
			audit.Entry{Action: audit.DeviceHold, ObjectKind: "device", ObjectID: b.DeviceID, Reason: cause.Error()})
	})
}

// behind records that a device holds a receipt for what the database does not
// know. The server is not ready until an operator says that it was restored.
func (f *Flow) behind(ctx context.Context, b *beat) error {
	reason := fmt.Sprintf("device %s holds a receipt for counter %d", b.DeviceID, b.Receipt)
	return f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		in, err := tx.Instance(ctx)
		if err != nil || in.BehindSince != 0 {
			return err
		}
		c, err := device.GetCounter(ctx, tx, b.DeviceID)
		if err != nil || b.Receipt <= c.Counter || b.Epoch != in.Epoch {
			return err // it was another node's batch that was not seen yet
		}
		if err := tx.SetBehind(ctx, reason); err != nil {
			return err
		}
		return audit.Write(ctx, tx, audit.Actor{Kind: audit.System, ID: "heartbeat"},
			audit.Entry{Action: audit.Behind, ObjectKind: "database", Reason: reason})
	})
}
