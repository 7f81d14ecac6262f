package command

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Before adds to a heartbeat what the server does not know yet: ids that were
// written down, and outcomes. Outcomes are signed here, by the key whose
// certificate goes with the heartbeat: what they say was fixed when they ended.
func (r *Runner) Before(ctx context.Context, hb *protocol.Heartbeat) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outbox.silent {
		return nil
	}
	for id := range r.acks {
		if len(hb.Acks) < protocol.MaxAcks {
			hb.Acks = append(hb.Acks, id)
			r.acks[id] = true
		}
	}
	slices.Sort(hb.Acks)
	for _, id := range r.outbox.choose(r.refusals) {
		data, err := r.signed(ctx, id)
		r.outbox.tries[id]++
		if err != nil { // it stays; the heartbeat is worth more than this outcome
			r.Log.ErrorContext(ctx, "the outcome of a command cannot be sent", "action_id", id, "error", err.Error())
			continue
		}
		hb.Results = append(hb.Results, data)
	}
	return nil
}

var errTooLong = errors.New("it is too long")

func (r *Runner) signed(ctx context.Context, id string) (json.RawMessage, error) {
	result := r.refusals[id]
	if result == nil {
		var err error
		if result, err = r.Store.Result(id); err != nil {
			return nil, err
		}
	}
	env, err := signing.SignResult(ctx, *result, r.Key())
	if err != nil {
		return nil, err
	}
	data, err := env.Marshal()
	if err == nil && len(data) > protocol.MaxResult {
		err = errTooLong
	}
	return data, err
}

// After takes what the answer brought: outcomes that are stored for good, and
// commands.
func (r *Runner) After(_ context.Context, a *protocol.HeartbeatAnswer) error {
	var errs []error
	r.mu.Lock()
	r.outbox.silent = false
	for id, sent := range r.acks {
		if sent {
			delete(r.acks, id)
		}
	}
	failpoint.Here("command.before-reported")
	for _, id := range a.ResultsStored {
		delete(r.refusals, id)
		r.outbox.stored(id)
		errs = append(errs, r.Store.Reported(id))
	}
	for _, d := range a.Commands[:min(len(a.Commands), protocol.MaxCommands)] {
		if protocol.CheckID(d.ActionID) == nil { // otherwise not even a refusal could be told
			errs = append(errs, r.take(d))
		}
	}
	more := r.outbox.fresh(r.refusals)
	waiting := len(r.queue) > 0
	r.mu.Unlock()
	if more {
		r.Nudge()
	}
	if waiting {
		select {
		case r.work <- struct{}{}:
		default:
		}
	}
	if agreed := r.Now(); !a.ServerTime.IsZero() {
		if a.ServerTime.Before(agreed) {
			agreed = a.ServerTime
		}
		errs = append(errs, r.Store.Prune(agreed))
	}
	return errors.Join(errs...)
}

// take puts a delivery into the queue, or answers it with what is known.
func (r *Runner) take(d protocol.CommandDelivery) error {
	begun, ended, err := r.Store.Known(d.ActionID)
	switch {
	case err != nil:
		return err
	case ended:
		r.outbox.repeat(d.ActionID)
	case begun:
		r.acks[d.ActionID] = false
	case r.refusals[d.ActionID] != nil:
		r.outbox.repeat(d.ActionID)
	case d.ActionID == r.running || len(r.queue) >= maxQueue:
	case !slices.ContainsFunc(r.queue, func(q protocol.CommandDelivery) bool { return q.ActionID == d.ActionID }):
		r.queue = append(r.queue, d)
	}
	return nil
}

// Refused keeps everything for the next heartbeat. One that the server cannot read
// may be so for what is added here: the next goes without, so that nothing that
// this device says of commands can silence it.
func (r *Runner) Refused(_ context.Context, code protocol.Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.acks {
		r.acks[id] = false
	}
	r.outbox.silent = code == protocol.CodeMalformed || code == protocol.CodeTooLarge
}

// outbox chooses what is told next, so that an outcome which the server never takes
// holds up no other. It is used under the runner's lock.
type outbox struct {
	store  *Store
	again  map[string]bool // reported, and asked for once more
	tries  map[string]int
	silent bool
}

func (o *outbox) init(s *Store) {
	o.store, o.again, o.tries = s, map[string]bool{}, map[string]int{}
}

func (o *outbox) pending(refusals map[string]*signing.CommandResult) []string {
	var ids []string
	for _, b := range o.store.Unreported() {
		ids = append(ids, b.ActionID)
	}
	for id := range refusals {
		ids = append(ids, id)
	}
	for id := range o.again {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// choose picks those that were tried the least.
func (o *outbox) choose(refusals map[string]*signing.CommandResult) []string {
	ids := o.pending(refusals)
	slices.SortStableFunc(ids, func(a, b string) int { return o.tries[a] - o.tries[b] })
	return ids[:min(len(ids), protocol.MaxResults)]
}

// fresh says whether something was never told. What is asked for once more waits
// for the next heartbeat, so that asking does not quicken the pace.
func (o *outbox) fresh(refusals map[string]*signing.CommandResult) bool {
	return slices.ContainsFunc(o.pending(refusals), func(id string) bool { return o.tries[id] == 0 && !o.again[id] })
}

func (o *outbox) repeat(id string) { o.again[id] = true }

func (o *outbox) stored(id string) {
	delete(o.again, id)
	delete(o.tries, id)
}
