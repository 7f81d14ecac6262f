package dashboard

import (
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// voter is the caller as one who may decide.
func voter(r *http.Request) approval.Voter {
	c := callerOf(r)
	return approval.Voter{Person: c.Account.Person, AccountID: c.Account.ID, May: c.May}
}

// reviewsData is what waits for people.
type reviewsData struct {
	Which       string // mine, waiting, or past
	Rows        []view.Approval
	Next, First string
}

func (c *Console) reviews(r *http.Request) (*page, error) {
	q := r.URL.Query()
	f := view.ApprovalFilter{For: voter(r), After: q.Get("after"), Limit: 50}
	d := reviewsData{Which: q.Get("show")}
	switch d.Which {
	case "waiting":
		f.Waiting = true
	case "executed", "rejected", "expired":
		f.State = d.Which
	default:
		d.Which, f.Mine = "mine", true
	}
	var err error
	var next string
	if d.Rows, next, err = c.deps.Approvals.Approvals(r.Context(), f); err != nil {
		return nil, err
	}
	if next != "" {
		d.Next = withQuery(r.URL, "after", next)
	}
	if f.After != "" {
		d.First = withQuery(r.URL, "after", "")
	}
	return c.newPage(r, "reviews", "Reviews", d), nil
}

// reviewData is one request with what helps to judge it.
type reviewData struct {
	*view.Approval

	Enrollment *view.Review         // of a new device
	Command    *view.Command        // of a command
	Targets    []view.CommandTarget // its first devices
	More       int64                // devices beside those
	Text       string               // the exact bytes, as text
}

func (c *Console) review(r *http.Request) (*page, error) {
	id := r.PathValue("id")
	if protocol.CheckID(id) != nil {
		return nil, approval.ErrUnknown
	}
	a, err := c.deps.Approvals.Approval(r.Context(), id, voter(r))
	if err != nil {
		return nil, err
	}
	d := reviewData{Approval: a, Text: string(a.Action)}
	switch approval.Kind(a.Kind) {
	case approval.Enrollment:
		if d.Enrollment, err = c.deps.Approvals.ReviewOf(r.Context(), a.SubjectID); err != nil {
			return nil, err
		}
	case approval.Command:
		if d.Command, err = c.deps.Commands.Command(r.Context(), a.SubjectID); err != nil {
			return nil, err
		}
		d.Targets = d.Command.FirstTargets
		d.More = d.Command.Targets - int64(len(d.Targets))
	}
	return c.newPage(r, "reviews", a.Title, d), nil
}

// decide is the one form for every kind of request. The vote is bound to the digest
// of what the page showed.
func (c *Console) decide(w http.ResponseWriter, r *http.Request) {
	if err := form(r); err != nil {
		c.fail(w, r, err)
		return
	}
	id := r.PathValue("id")
	if protocol.CheckID(id) != nil {
		c.fail(w, r, approval.ErrUnknown)
		return
	}
	reason, err := reasonOf(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	decision := flow.Decision{Digest: r.PostFormValue("digest"), Reason: reason}
	said := "rejected"
	switch r.PostFormValue("decision") {
	case "approve":
		decision.Approve, said = true, "approved"
	case "reject":
	default:
		c.fail(w, r, inputError("choose to approve or to reject"))
		return
	}
	state, err := c.deps.Approvals.Decide(r.Context(), acting(r), id, decision)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	if decision.Approve && state == approval.Executed {
		said = "carried-out"
	}
	done(w, r, "/dashboard/reviews", said)
}
