package flow

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Decision is what a person says of a request.
type Decision struct {
	Approve bool
	Digest  string // of the action that the person was shown
	Reason  string
}

// deed is what a request is about, as it stands in the transaction that decides.
// Each function runs in that transaction, for whoever decides, with their reason.
type deed struct {
	entry   audit.Entry // its object and details
	done    string      // the audit action of carrying it out
	refused string      // and of refusing it

	ready  func(ctx context.Context, tx db.Tx) error               // what must hold before anyone may agree; nil: nothing
	do     func(ctx context.Context, tx db.Tx, why verdict) error  // carries it out
	refuse func(ctx context.Context, tx db.Tx, why verdict) error  // ends what waits for it; nil: nothing does
	undo   func(ctx context.Context, tx db.Tx, why verdict) error  // not nil: it was carried out, and a refusal takes it back
	after  func(ctx context.Context, decided approval.State) error // once the transaction is committed; nil: nothing
}

// verdict is by whom something is carried out or ended, and in which words.
type verdict struct {
	who    audit.Actor
	reason string
}

// act is how requests of one kind are decided on. It opens what a request is about;
// an error says that no decision of this sort is possible on it any more.
type act struct {
	open  func(f *Flow, ctx context.Context, tx db.Tx, r *approval.Request, approve bool) (*deed, error)
	write func(f *Flow, ctx context.Context, act func(context.Context, db.Tx) error) error // nil: db.Write
}

// acts has an executor for every kind there is.
var acts = map[approval.Kind]act{
	approval.Enrollment: {open: (*Flow).openEnrollment, write: (*Flow).atTheDoor},
	approval.Identity:   {open: (*Flow).openIdentity},
	approval.Command:    {open: (*Flow).openCommand},
}

// Decide records a person's decision about a request of any kind and, when it was
// the last one needed, carries the act out in the same transaction. The digest names
// the very bytes that the person was shown, and those are what is carried out. The
// state that comes back is Open (others are needed), Executed, or Rejected, which is
// also that of an act that was carried out and taken back.
//
// It refuses with authz.ErrDenied, an error of package approval, or what the kind
// says of its subject.
func (f *Flow) Decide(ctx context.Context, by authz.By, id string, d Decision) (approval.State, error) {
	var kind approval.Kind
	switch known, err := approval.Get(ctx, f.d.Read(), id); { // for its kind, which never changes
	case err == nil:
		kind = known.Kind
	case !errors.Is(err, approval.ErrUnknown): // whoever may not ask is told no more than that
		return "", err
	}
	return f.decide(ctx, by, kind, d, func(ctx context.Context, tx db.Tx) (*approval.Request, error) {
		return approval.Get(ctx, tx, id)
	})
}

// find reads the request that a decision is about, in the transaction that decides.
type find func(ctx context.Context, tx db.Tx) (*approval.Request, error)

func (f *Flow) decide(ctx context.Context, by authz.By, kind approval.Kind, d Decision, find find) (state approval.State, err error) {
	act := acts[kind]
	write := f.d.Write
	if act.write != nil {
		write = func(ctx context.Context, do func(context.Context, db.Tx) error) error { return act.write(f, ctx, do) }
	}
	var about *deed
	err = write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		r, err := find(ctx, tx)
		if err != nil {
			return err
		}
		if act.open == nil {
			return authz.ErrDenied // nothing decides on such a kind
		}
		if about, err = act.open(f, ctx, tx, r, d.Approve); err != nil {
			return err
		}
		state, err = f.settleVote(ctx, tx, by, r, about, d)
		return err
	})
	if errors.Is(err, db.ErrConflict) {
		err = approval.ErrClosed
	}
	if err == nil && about.after != nil {
		err = about.after(ctx, state)
	}
	return state, err
}

// settleVote casts the vote and does what follows from it.
func (f *Flow) settleVote(ctx context.Context, tx db.Tx, by authz.By, r *approval.Request, about *deed, d Decision) (approval.State, error) {
	why := verdict{by.Actor, d.Reason}
	if about.undo != nil {
		return approval.Rejected, takeBack(ctx, tx, by, r, about, d.Reason)
	}
	if d.Approve && about.ready != nil {
		if err := about.ready(ctx, tx); err != nil {
			return "", err
		}
	}
	if by.Kind != audit.Person { // the server, its host and machines ask; people decide
		return "", authz.ErrDenied
	}
	r, err := approval.Cast(ctx, tx, r.ID, approval.Vote{
		Person: by.Person, AccountID: by.AccountID, Approve: d.Approve, Digest: d.Digest, Reason: d.Reason,
	}, electorate)
	if err != nil {
		return "", err
	}
	if err := audit.Write(ctx, tx, by.Actor, about.noted(audit.ApprovalVote, d.Reason, r, "person", by.Person, "decision", d.word())); err != nil {
		return "", err
	}
	switch r.State {
	case approval.Approved:
		return approval.Executed, f.execute(ctx, tx, r, about, why)
	case approval.Rejected:
		if about.refuse != nil {
			if err := about.refuse(ctx, tx, why); err != nil {
				return "", err
			}
		}
		return r.State, audit.Write(ctx, tx, by.Actor, about.noted(about.refused, d.Reason, r))
	}
	return r.State, nil // others are needed
}

// execute carries out what was approved, once. Its time is judged again as the last
// thing before the commit.
func (f *Flow) execute(ctx context.Context, tx db.Tx, r *approval.Request, about *deed, why verdict) error {
	approvers, err := approval.Execute(ctx, tx, r.ID, electorate)
	if err != nil {
		return err
	}
	if err := about.do(ctx, tx, why); err != nil {
		return err
	}
	if err := audit.Write(ctx, tx, why.who, about.noted(about.done, why.reason, r, "approved_by", strings.Join(approvers, ", "))); err != nil {
		return err
	}
	return r.InTime(f.d.Now())
}

// takeBack ends what was carried out and is not past yet: whoever is in time is not
// too late. It protects, and so takes one person.
func takeBack(ctx context.Context, tx db.Tx, by authz.By, r *approval.Request, about *deed, reason string) error {
	if reason == "" {
		return approval.ErrNoReason
	}
	if err := mayVote(ctx, tx, by, r.Kind); err != nil {
		return err
	}
	if err := about.undo(ctx, tx, verdict{by.Actor, reason}); err != nil {
		return err
	}
	return audit.Write(ctx, tx, by.Actor, about.noted(about.refused, reason, r, "taken_back", "true"))
}

func (d Decision) word() string {
	if d.Approve {
		return "approve"
	}
	return "reject"
}

// noted is the audit entry of something that happened to a request.
func (d *deed) noted(action, reason string, r *approval.Request, more ...string) audit.Entry {
	e := d.entry
	e.Action, e.Reason, e.Details = action, reason, maps.Clone(d.entry.Details)
	if e.Details == nil {
		e.Details = map[string]string{}
	}
	if r.ID != "" {
		e.Details["approval"], e.Details["digest"] = r.ID, r.Digest
	}
	for i := 0; i+1 < len(more); i += 2 {
		e.Details[more[i]] = more[i+1]
	}
	return e
}

// electorate finds, in the transaction, the persons behind those accounts that are
// active and may vote on this kind.
func electorate(ctx context.Context, tx db.Tx, kind approval.Kind, accounts []string) (map[string]string, error) {
	persons := map[string]string{}
	about, known := kind.About()
	if !known {
		return persons, nil
	}
	found, err := admin.Standing(ctx, tx, accounts...)
	for id, a := range found {
		if a.Active() && a.May(about.Vote) {
			persons[id] = a.Person
		}
	}
	return persons, err
}

// mayVote makes sure that whoever acts could vote on requests of this kind.
func mayVote(ctx context.Context, tx db.Tx, by authz.By, kind approval.Kind) error {
	persons, err := electorate(ctx, tx, kind, []string{by.AccountID})
	if err == nil && (by.Kind != audit.Person || by.Person == "" || persons[by.AccountID] != by.Person) {
		err = authz.ErrDenied
	}
	return err
}
