package command

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// ErrRestart means that the agent was told to end, for its supervisor to start it
// again.
var ErrRestart = errors.New("told to restart")

const (
	maxQueue    = 2 * protocol.MaxCommands // deliveries that wait; more come again
	maxRefusals = 64                       // refusals not reported yet
	retryDisk   = 30 * time.Second         // after a write that failed
)

// Options are what a Runner works with. All are needed.
type Options struct {
	Store      *Store
	Device     func() (Device, error)               // what is believed now
	Key        func() crypto.Signer                 // of the certificate that is shown to the server
	BootID     string                               // of this start of the agent
	Version    string                               // of the agent
	Facts      func() map[string]string             // read anew
	FactsAgain func() error                         // the next heartbeat brings the facts, changed or not
	Renew      func(ctx context.Context) Reason     // the device's certificate, now
	Now        func() time.Time                     // never below the time floor
	Timer      func(time.Duration) <-chan time.Time // time.After
	Nudge      func()                               // asks for a heartbeat soon
	Log        *slog.Logger
}

// Runner does commands, one at a time, in a goroutine of its own. It is a party of
// the link, which brings commands and takes outcomes in another.
type Runner struct {
	Options

	work chan struct{} // something waits in the queue

	mu       sync.Mutex
	queue    []protocol.CommandDelivery
	running  string          // the id that is being done
	acks     map[string]bool // begun, and not known to the server; true while a heartbeat with it is on its way
	refusals map[string]*signing.CommandResult
	outbox   outbox

	unwritten []signing.CommandResult // outcomes that the disk did not take yet
	restart   <-chan time.Time
	restartAt time.Time
	restarts  map[string]bool // begun in this boot
	inline    bool            // handlers run in the goroutine of whoever calls Round
}

// NewRunner ends what the agent was doing when it last stopped, so that it is
// reported.
func NewRunner(o Options) (*Runner, error) {
	r := &Runner{
		Options: o, work: make(chan struct{}, 1),
		acks: map[string]bool{}, refusals: map[string]*signing.CommandResult{}, restarts: map[string]bool{},
	}
	r.outbox.init(o.Store)
	return r, r.settle()
}

// settle ends what was begun and is not being done.
func (r *Runner) settle() error {
	device, err := r.Device()
	if err != nil {
		return err
	}
	for _, b := range r.Store.Open() {
		result := r.result(device.Target, b.ActionID, b.Digest, signing.Unknown, Interrupted)
		switch {
		case r.restarts[b.ActionID]:
			continue
		case b.Kind == "restart-agent" && b.BootID != r.BootID:
			result.Status, result.Reason = signing.Succeeded, ""
		}
		if err := r.Store.End(result); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) result(t signing.Target, id, digest string, status signing.ResultStatus, reason Reason) signing.CommandResult {
	return signing.CommandResult{
		Type: "command-result", DeviceID: t.DeviceID, EnrollmentID: t.EnrollmentID, ActionID: id, StatementDigest: digest,
		Status: status, Reason: string(reason), At: r.Now().UTC().Truncate(time.Microsecond),
	}
}

// Run does commands until ctx is done, or returns ErrRestart.
func (r *Runner) Run(ctx context.Context) error {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.restart:
			return ErrRestart
		case <-r.work:
		case <-again:
		}
		again = nil
		if err := r.drain(ctx); err != nil {
			r.Log.ErrorContext(ctx, "a command cannot be written down, so none is done now", "error", err.Error())
			again = r.Timer(retryDisk)
		}
	}
}

// drain does what waits. An error is the disk's.
func (r *Runner) drain(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.catchUp(); err != nil {
			return err
		}
		d, ok := r.next()
		if !ok {
			return nil
		}
		err := r.do(ctx, d)
		r.mu.Lock()
		r.running = ""
		r.mu.Unlock()
		if err != nil {
			return err
		}
		r.Nudge()
	}
	return nil
}

// catchUp writes down what the disk did not take before.
func (r *Runner) catchUp() error {
	for len(r.unwritten) > 0 {
		if err := r.Store.End(r.unwritten[0]); err != nil {
			return err
		}
		r.unwritten = r.unwritten[1:]
	}
	return r.settle()
}

func (r *Runner) next() (protocol.CommandDelivery, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return protocol.CommandDelivery{}, false
	}
	d := r.queue[0]
	r.queue = r.queue[1:]
	r.running = d.ActionID
	return d, true
}

// do takes one delivery through judge, begin, execute and the first part of
// report.
func (r *Runner) do(ctx context.Context, d protocol.CommandDelivery) error {
	if known, _, err := r.Store.Known(d.ActionID); known || err != nil {
		return err
	}
	device, err := r.Device()
	if err != nil {
		return err
	}
	c, reason := Judge(d, device, r.Store.Past())
	if reason == "" && kinds[c.Kind].do == nil {
		reason = KindNotAllowed
	}
	digest := digestOf(d.Statement)
	if reason != "" {
		r.Log.WarnContext(ctx, "a command is refused", "action_id", d.ActionID, "reason", string(reason))
		status := signing.Refused
		if device.mayHaveBegun(reason) {
			status = signing.Unknown
		}
		r.refuse(r.result(device.Target, d.ActionID, digest, status, reason))
		return nil
	}
	if err := r.Store.Begin(c, digest, r.BootID, r.Now()); err != nil {
		return err
	}
	failpoint.Here("command.begun")
	r.ack(c.ActionID)
	r.Log.InfoContext(ctx, "a command begins", "action_id", c.ActionID, "kind", c.Kind, "requester", c.Requester)
	outcome, ended := r.execute(ctx, c)
	failpoint.Here("command.done")
	if !ended {
		return nil // the agent is stopping; the next start tells that it was interrupted
	}
	if outcome.again {
		r.arm(c.ActionID, outcome.restart)
		return nil
	}
	result := r.result(device.Target, c.ActionID, digest, signing.Succeeded, outcome.Reason)
	if outcome.Reason != "" {
		result.Status = signing.Failed
	}
	result.Output = fit(outcome.Output)
	r.Log.InfoContext(ctx, "a command has ended", "action_id", c.ActionID, "kind", c.Kind, "status", string(result.Status), "reason", result.Reason)
	if err := r.Store.End(result); err != nil {
		r.unwritten = append(r.unwritten, result)
		return err
	}
	failpoint.Here("command.ended")
	return nil
}

// execute runs the handler within its time. One that does not come back is left
// behind: it blocks nobody, and its outcome counts no more.
func (r *Runner) execute(ctx context.Context, c *signing.CommandStatement) (o Outcome, ended bool) {
	k := kinds[c.Kind]
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.inline {
		return k.do(within, r, c.Parameters), true
	}
	done := make(chan Outcome, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				r.Log.ErrorContext(ctx, "a command's handler panicked", "kind", c.Kind, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				done <- Outcome{Reason: Crashed}
			}
		}()
		done <- k.do(within, r, c.Parameters)
	}()
	select {
	case o := <-done:
		return o, ctx.Err() == nil || o.Reason == ""
	case <-r.Timer(k.within):
		return Outcome{Reason: TimedOut}, true
	case <-ctx.Done():
		return Outcome{}, false
	}
}

// arm lets Run end after the delay, or earlier if an earlier restart is due.
// Commands go on until then.
func (r *Runner) arm(id string, delay time.Duration) {
	r.restarts[id] = true
	if at := r.Now().Add(delay); r.restart == nil || at.Before(r.restartAt) {
		r.restart, r.restartAt = r.Timer(delay), at
	}
}

func (r *Runner) ack(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acks[id] = false
}

// refuse keeps a refusal until the server has it. When there are too many the
// command comes again.
func (r *Runner) refuse(result signing.CommandResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.refusals) < maxRefusals {
		r.refusals[result.ActionID] = &result
	}
}
