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
	Path      Path   // whose number Required is; "" for none
	Required  int    // distinct persons
	Requester string // person, or the machine that asks
	AccountID string // of the person who asks, or whose machine does; "" for the server and its host
	Excluded  string // person who made it possible to ask, and so may not approve; "" for none
	Reason    string // the words of whoever asks
	TTL       time.Duration
}

// Electorate says, in the transaction that counts, which person each of the
// accounts belongs to: of those that are active and may vote on a kind, and of no
// others.
type Electorate func(ctx context.Context, tx db.Tx, kind Kind, accounts []string) (persons map[string]string, err error)

// Place stores a request.
func Place(ctx context.Context, tx db.Tx, a Ask) (*Request, error) {
	r := &Request{
		ID: tx.NewID(), Kind: a.Kind, Path: a.Path, SubjectID: a.SubjectID, Action: a.Action, Digest: Digest(a.Action),
		Required: max(a.Required, 1), Requester: a.Requester, AccountID: a.AccountID, Excluded: a.Excluded, Reason: a.Reason, State: Open,
		CreatedAt: tx.At(), ExpiresAt: tx.At().Add(a.TTL),
	}
	return r, insertRequest(ctx, tx, r)
}

// Cast records a vote and moves the request on. The state that comes back says
// whether the act may be executed now (Approved). Approvals of accounts that do not
// stand any more are struck, for good, and not counted.
func Cast(ctx context.Context, tx db.Tx, id string, v Vote, who Electorate) (*Request, error) {
	r, err := Get(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	before, err := votes(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	accounts := []string{v.AccountID}
	voted := make([]string, 0, len(before)) // also whose vote was struck
	for i := range before {
		accounts, voted = append(accounts, before[i].AccountID), append(voted, before[i].Person)
	}
	persons, err := who(ctx, tx, r.Kind, accounts)
	if err != nil {
		return nil, err
	}
	if persons[v.AccountID] != v.Person {
		return nil, r.notVoter(v.Person, v.Approve)
	}
	if err := judge(r, voted, v, tx.Now); err != nil {
		return nil, err
	}
	standing, struck := tally(r, before, persons)
	if err := strike(ctx, tx, id, struck); err != nil {
		return nil, err
	}
	approvals := len(standing)
	if v.Approve {
		approvals++
	}
	if err := insertVote(ctx, tx, r, v); err != nil {
		return nil, err
	}
	return r, advance(ctx, tx, r, outcome(r, v, approvals))
}

func advance(ctx context.Context, tx db.Tx, r *Request, to State) error {
	if to == r.State {
		return nil
	}
	if err := move(ctx, tx, r.ID, r.State, to); err != nil {
		return err
	}
	r.State = to
	return nil
}

// Tally says whose approvals of a request count at this moment: those of accounts
// that stand. Fewer than the request needs are ErrFew.
func Tally(ctx context.Context, tx db.Tx, r *Request, who Electorate) (approvers []string, err error) {
	cast, err := votes(ctx, tx, r.ID)
	if err != nil {
		return nil, err
	}
	accounts := make([]string, len(cast))
	for i := range cast {
		accounts[i] = cast[i].AccountID
	}
	persons, err := who(ctx, tx, r.Kind, accounts)
	if err != nil {
		return nil, err
	}
	standing, _ := tally(r, cast, persons)
	if len(standing) < r.Required {
		return nil, ErrFew
	}
	return standing, nil
}

// Execute marks an approved request as executed, in the transaction that acts, and
// says by whom it was approved. It counts again (ErrFew), and holds the bytes to
// their digest (ErrDigest). It happens once: a second time is db.ErrConflict.
func Execute(ctx context.Context, tx db.Tx, id string, who Electorate) (approvers []string, err error) {
	r, err := Get(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	if err := move(ctx, tx, id, Approved, Executed); err != nil {
		return nil, err
	}
	if Digest(r.Action) != r.Digest {
		return nil, ErrDigest
	}
	return Tally(ctx, tx, r, who)
}

// Delay lets an approved request take effect at a later time only.
func Delay(ctx context.Context, tx db.Tx, r *Request, until db.Micros) error {
	r.DueAt = until
	return setDue(ctx, tx, r.ID, until)
}

// Cancel ends what was approved and did not take effect yet.
func Cancel(ctx context.Context, tx db.Tx, id string) error {
	return move(ctx, tx, id, Approved, Rejected)
}

// Close ends an open request with the given state (Expired or Void).
func Close(ctx context.Context, tx db.Tx, id string, to State) error {
	return move(ctx, tx, id, Open, to)
}

// Annul voids a request that was not carried out yet, whatever it waits for. It is
// db.ErrConflict when there is nothing to void.
func Annul(ctx context.Context, tx db.Tx, r *Request) error {
	if r.State != Open && r.State != Approved {
		return db.ErrConflict
	}
	return advance(ctx, tx, r, Void)
}

// Forget ends, for good, what a person's account voted while it was another: its
// approvals of requests that were not carried out yet. It says how many.
func Forget(ctx context.Context, tx db.Tx, accountID string, kinds ...Kind) (int64, error) {
	return strikeAccount(ctx, tx, accountID, kinds)
}
