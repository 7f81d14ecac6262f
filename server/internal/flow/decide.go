package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

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

	stale  func(ctx context.Context, tx db.Tx) (why string, err error) // why what it rests on is gone, which voids it; nil: it rests on nothing
	ready  func(ctx context.Context, tx db.Tx) error                   // what must hold before anyone may agree; nil: nothing
	do     func(ctx context.Context, tx db.Tx, why verdict) error      // carries it out
	refuse func(ctx context.Context, tx db.Tx, why verdict) error      // ends what waits for it; nil: nothing does
	undo   func(ctx context.Context, tx db.Tx, why verdict) error      // not nil: it was carried out, and a refusal takes it back
	after  func(ctx context.Context, decided approval.State) error     // once the transaction is committed; nil: nothing
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
	approval.Enrollment:  {open: (*Flow).openEnrollment, write: (*Flow).atTheDoor},
	approval.Identity:    {open: (*Flow).openIdentity},
	approval.Command:     {open: (*Flow).openCommand},
	approval.Resume:      {open: (*Flow).openResume},
	approval.Resync:      {open: (*Flow).openResync},
	approval.Rights:      {open: (*Flow).openRights},
	approval.FactorReset: {open: (*Flow).openFactorReset},
	approval.Quorum:      {open: (*Flow).openQuorum},
	approval.Issuing:     {open: (*Flow).openIssuing},
	approval.Baseline:    {open: (*Flow).openBaseline},
	approval.ForgetTPM:   {open: (*Flow).openForgetTPM},
}

// Decide records a person's decision about a request of any kind and, when it was
// the last one needed, carries the act out in the same transaction. The digest names
// the very bytes that the person was shown, and those are what is carried out. The
// state that comes back is Open (others are needed), Approved (it takes effect after
// its delay), Executed, or Rejected, which is also that of an act that was taken back
// or cancelled.
//
// A request is void when what it rests on has changed: that is written down, and
// heard as approval.ErrVoid.
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
	void := false
	err = write(ctx, func(ctx context.Context, tx db.Tx) error {
		void = false
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
		why, err := f.lapsed(ctx, tx, r, about)
		if err != nil {
			return err
		}
		if why != "" {
			void, state = true, approval.Void
			return annul(ctx, tx, r, about, why)
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
	if err == nil && void {
		err = approval.ErrVoid
	}
	return state, err
}

// settleVote casts the vote and does what follows from it.
func (f *Flow) settleVote(ctx context.Context, tx db.Tx, by authz.By, r *approval.Request, about *deed, d Decision) (approval.State, error) {
	why := verdict{by.Actor, d.Reason}
	switch {
	case about.undo != nil:
		return approval.Rejected, takeBack(ctx, tx, by, r, about, d.Reason)
	case r.State == approval.Approved && !d.Approve:
		return approval.Rejected, cancel(ctx, tx, by, r, about, d.Reason)
	case by.Kind != audit.Person: // the server, its host and machines ask; people decide
		return "", authz.ErrDenied
	}
	if d.Approve {
		if err := f.fresh(by, tx.Now); err != nil {
			return "", err
		}
		if about.ready != nil {
			if err := about.ready(ctx, tx); err != nil {
				return "", err
			}
		}
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
		state, err := f.approved(ctx, tx, r, about, why)
		if err == nil { // its time is judged again as the last thing before the commit
			err = r.InTime(f.d.Now())
		}
		return state, err
	case approval.Rejected:
		if err := about.end(ctx, tx, why); err != nil {
			return "", err
		}
		return r.State, audit.Write(ctx, tx, by.Actor, about.noted(about.refused, d.Reason, r))
	}
	return r.State, nil // others are needed
}

// fresh holds an approval to a sign-in that is not old, where that is asked for. A
// rejection protects, and takes any session.
func (f *Flow) fresh(by authz.By, now time.Time) error {
	age := now.Sub(by.FullAt)
	if f.settings.FreshSignIn > 0 && (by.FullAt.IsZero() || age < 0 || age > f.settings.FreshSignIn) {
		return approval.ErrFresh
	}
	return nil
}

// approved carries out what enough people agreed to, or lets its delay begin.
func (f *Flow) approved(ctx context.Context, tx db.Tx, r *approval.Request, about *deed, why verdict) (approval.State, error) {
	if kind, _ := r.Kind.About(); kind.Delayed && f.settings.ApprovalDelay > 0 {
		return approval.Approved, approval.Delay(ctx, tx, r, tx.At().Add(f.settings.ApprovalDelay))
	}
	return approval.Executed, f.execute(ctx, tx, r, about, why)
}

// execute carries out what was approved, once.
func (f *Flow) execute(ctx context.Context, tx db.Tx, r *approval.Request, about *deed, why verdict) error {
	approvers, err := approval.Execute(ctx, tx, r.ID, electorate)
	if err != nil {
		return err
	}
	if err := about.do(ctx, tx, why); err != nil {
		return err
	}
	return audit.Write(ctx, tx, why.who, about.noted(about.done, why.reason, r, "approved_by", strings.Join(approvers, ", "), "requested_by", r.Requester))
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

// cancel ends what was approved and did not take effect yet. It takes one person who
// could have voted on it.
func cancel(ctx context.Context, tx db.Tx, by authz.By, r *approval.Request, about *deed, reason string) error {
	if reason == "" {
		return approval.ErrNoReason
	}
	if err := mayVote(ctx, tx, by, r.Kind); err != nil {
		return err
	}
	if err := approval.Cancel(ctx, tx, r.ID); err != nil {
		return err
	}
	if err := about.end(ctx, tx, verdict{by.Actor, reason}); err != nil {
		return err
	}
	return audit.Write(ctx, tx, by.Actor, about.noted(about.refused, reason, r, "cancelled", "true"))
}

// end ends what waits for the request.
func (d *deed) end(ctx context.Context, tx db.Tx, why verdict) error {
	if d.refuse == nil {
		return nil
	}
	return d.refuse(ctx, tx, why)
}

// lapsed says why a request that was not carried out yet is void: whoever asked may
// not ask any more, too few of those who approved may still do so, or its subject is
// not what it was.
func (f *Flow) lapsed(ctx context.Context, tx db.Tx, r *approval.Request, about *deed) (why string, err error) {
	if r.State != approval.Open && r.State != approval.Approved {
		return "", nil
	}
	kind, _ := r.Kind.About()
	if r.AccountID != "" {
		found, err := admin.Standing(ctx, tx, r.AccountID)
		if err != nil {
			return "", err
		}
		a, ok := found[r.AccountID]
		if !ok || !asks(&a, kind) || a.Person != r.Requester {
			return lostRight, nil
		}
	}
	if r.State == approval.Approved {
		switch _, err := approval.Tally(ctx, tx, r, electorate); {
		case errors.Is(err, approval.ErrFew):
			return "too few of those who approved may still do so", nil
		case err != nil:
			return "", err
		}
	}
	if about.stale == nil {
		return "", nil
	}
	return about.stale(ctx, tx)
}

const lostRight = "whoever asked may not ask for it any more"

// asks reports whether an account may ask for acts of a kind.
func asks(a *admin.Account, kind approval.About) bool {
	return a.Active() && (kind.Ask == "" || a.May(kind.Ask))
}

// annul voids a request, with what waits for it.
func annul(ctx context.Context, tx db.Tx, r *approval.Request, about *deed, why string) error {
	if err := approval.Annul(ctx, tx, r); err != nil {
		return err
	}
	if err := about.end(ctx, tx, verdict{upkeep, why}); err != nil {
		return err
	}
	return audit.Write(ctx, tx, upkeep, about.noted(audit.ApprovalVoid, why, r, "kind", string(r.Kind)))
}

// annulAll voids what waits of a kind about a subject, in the transaction that
// changes the subject.
func (f *Flow) annulAll(ctx context.Context, tx db.Tx, kind approval.Kind, subjectID, why string) error {
	list, err := approval.Waiting(ctx, tx, kind, subjectID, "")
	if err != nil {
		return err
	}
	for i := range list {
		if err := f.annul(ctx, tx, &list[i], why); err != nil {
			return err
		}
	}
	return nil
}

// annul voids a request, whatever its kind. One whose subject is past a decision
// already holds nothing up: what ended the subject ends with it.
func (f *Flow) annul(ctx context.Context, tx db.Tx, r *approval.Request, why string) error {
	about, err := acts[r.Kind].open(f, ctx, tx, r, false)
	if errors.Is(err, approval.ErrClosed) {
		about, err = &deed{entry: audit.Entry{ObjectKind: "approval", ObjectID: r.ID}}, nil
	}
	if err != nil {
		return err
	}
	return annul(ctx, tx, r, about, why)
}

// ExecuteDue carries out what was approved and whose delay is over, each once
// whatever the number of nodes. Everything is judged again.
func (f *Flow) ExecuteDue(ctx context.Context) error {
	due, err := approval.Due(ctx, f.d.Read(), db.At(f.d.Now()), upkeepBatch)
	if err != nil {
		return err
	}
	var failed []error // one row that errs does not hold the others up
	for i := range due {
		if err := f.executeDue(ctx, due[i].ID); err != nil && !errors.Is(err, db.ErrConflict) { // a conflict: another node was faster, or a person
			failed = append(failed, fmt.Errorf("approval %s: %w", due[i].ID, err))
		}
	}
	return errors.Join(failed...)
}

func (f *Flow) executeDue(ctx context.Context, id string) error {
	return f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		r, err := approval.Get(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State != approval.Approved || r.DueAt == 0 || r.DueAt > tx.At() {
			return db.ErrConflict
		}
		about, err := acts[r.Kind].open(f, ctx, tx, r, true)
		if err != nil {
			return err
		}
		switch why, err := f.lapsed(ctx, tx, r, about); {
		case err != nil:
			return err
		case why != "":
			return annul(ctx, tx, r, about, why)
		}
		return f.execute(ctx, tx, r, about, verdict{upkeep, "approved, and its delay is over"})
	})
}

// ExpireApprovals writes down that the time of requests is over that nothing else
// waits for. They are refused from that time on, whether it is written or not.
func (f *Flow) ExpireApprovals(ctx context.Context) error {
	overdue, err := approval.Overdue(ctx, f.d.Read(), db.At(f.d.Now()), upkeepBatch, approval.Alone()...)
	if err != nil {
		return err
	}
	var failed []error
	for i := range overdue {
		r := &overdue[i]
		err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
			if err := approval.Close(ctx, tx, r.ID, approval.Expired); err != nil {
				return err
			}
			return audit.Write(ctx, tx, upkeep, audit.Entry{Action: audit.ApprovalExpire, ObjectKind: "approval", ObjectID: r.ID,
				Details: map[string]string{"kind": string(r.Kind), "subject": r.SubjectID, "digest": r.Digest}})
		})
		if err != nil && !errors.Is(err, db.ErrConflict) { // a conflict: another node was faster
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
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
