package approval

import (
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Voter is who looks at requests, to be told which are theirs to decide.
type Voter struct {
	Person    string
	AccountID string
	May       func(authz.Permission) bool
}

// Ballot is a vote as it was given.
type Ballot struct {
	Person    string    `json:"person"`
	AccountID string    `json:"-"`
	Approve   bool      `json:"approve"`
	Reason    string    `json:"reason"`
	At        db.Micros `json:"at"`
	StruckAt  db.Micros `json:"struck_at,omitzero"` // when it stopped counting
}

// Votes reads the votes on these requests, by request, in the order of their time.
func Votes(ctx context.Context, q bun.IDB, ids ...string) (map[string][]Ballot, error) {
	found := map[string][]Ballot{}
	if len(ids) == 0 {
		return found, nil
	}
	var rows []voteRow
	if err := q.NewSelect().Model(&rows).Where("approval_id IN (?)", bun.List(ids)).OrderExpr("at, person").Scan(ctx); err != nil {
		return nil, err
	}
	for i := range rows {
		v := &rows[i]
		found[v.ApprovalID] = append(found[v.ApprovalID], Ballot{v.Person, v.AccountID, v.Approve, v.Reason, v.At, v.StruckAt})
	}
	return found, nil
}

// Live is the request's state at a time: an open one ends with its time.
func (r *Request) Live(now time.Time) State {
	if r.State == Open && r.InTime(now) != nil {
		return Expired
	}
	return r.State
}

// MayVote says, for display, whether this person may approve or reject the request
// now, and otherwise why not. The transaction of a vote judges for itself.
func (r *Request) MayVote(who Voter, before []Ballot, approve bool, now time.Time) error {
	about, known := r.Kind.About()
	if !known || who.May == nil || !who.May(about.Vote) {
		return r.notVoter(who.Person, approve)
	}
	var voted []string
	for _, c := range before {
		voted = append(voted, c.Person)
		if c.AccountID == who.AccountID && !slices.Contains(voted, who.Person) {
			voted = append(voted, who.Person)
		}
	}
	return judge(r, voted, Vote{Person: who.Person, AccountID: who.AccountID, Approve: approve, Digest: r.Digest, Reason: "x"}, now)
}
