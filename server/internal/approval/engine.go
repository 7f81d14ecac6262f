package approval

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Ask is an act that needs agreement.
type Ask struct {
	Kind      Kind
	SubjectID string // what the act is about
	Action    []byte // canonical: what exactly is to be done
	Required  int    // distinct persons
	Requester string // person, or the machine that asks
	Excluded  string // person who made it possible to ask, and so may not approve; "" for none
	TTL       time.Duration
}

// Place stores a request.
func Place(ctx context.Context, tx db.Tx, a Ask) (*Request, error) {
	r := &Request{
		ID: tx.NewID(), Kind: a.Kind, SubjectID: a.SubjectID, Action: a.Action, Digest: Digest(a.Action),
		Required: max(a.Required, 1), Requester: a.Requester, Excluded: a.Excluded, State: Open,
		CreatedAt: tx.At(), ExpiresAt: tx.At().Add(a.TTL),
	}
	return r, insertRequest(ctx, tx, r)
}

// Cast records a vote and moves the request on. The state that comes back says
// whether the act may be executed now (Approved).
func Cast(ctx context.Context, tx db.Tx, id string, v Vote) (*Request, error) {
	r, err := get(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	before, err := votes(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	persons, approvals := make([]string, 0, len(before)), 0
	for _, b := range before {
		persons = append(persons, b.Person)
		if b.Approve {
			approvals++
		}
	}
	if err := judge(r, persons, v, tx.Now); err != nil {
		return nil, err
	}
	if v.Approve {
		approvals++
	}
	if err := insertVote(ctx, tx, &voteRow{ApprovalID: id, Person: v.Person, AccountID: v.AccountID, Approve: v.Approve, Reason: v.Reason, At: tx.At()}); err != nil {
		return nil, err
	}
	if next := outcome(r, v, approvals); next != r.State {
		if err := move(ctx, tx, id, r.State, next); err != nil {
			return nil, err
		}
		r.State = next
	}
	return r, nil
}

// Execute marks an approved request as executed, in the transaction that acts. It
// happens once: a second time is db.ErrConflict.
func Execute(ctx context.Context, tx db.Tx, id string) error {
	return move(ctx, tx, id, Approved, Executed)
}

// Close ends an open request with the given state (Expired or Void).
func Close(ctx context.Context, tx db.Tx, id string, to State) error {
	return move(ctx, tx, id, Open, to)
}
