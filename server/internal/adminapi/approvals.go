package adminapi

import (
	"context"
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// Approvals reads what waits for people, and decides on it.
type Approvals interface {
	Approvals(ctx context.Context, f view.ApprovalFilter) ([]view.Approval, string, error)
	Approval(ctx context.Context, id string, who approval.Voter) (*view.Approval, error)
	Decide(ctx context.Context, by authz.By, id string, d flow.Decision) (approval.State, error)
	ResetFactors(ctx context.Context, by authz.By, accountID, reason string) (*approval.Request, error)
}

// decisionBody is what a person says of a request, whatever it is about.
type decisionBody struct {
	Decision string `json:"decision" enum:"approve,reject"`
	Digest   string `json:"digest" maxLength:"64" doc:"Of what was shown: the request's digest."`
	Reason   string `json:"reason" minLength:"1" maxLength:"400" doc:"Why; it is kept in the audit log."`
}

func (b decisionBody) decision() flow.Decision {
	return flow.Decision{Approve: b.Decision == "approve", Digest: b.Digest, Reason: b.Reason}
}

type reviewIn struct {
	IDPath
	Body decisionBody
}

type deviceReviewIn struct {
	DevicePath
	Body decisionBody
}

// Decided is where what was decided on stands.
type Decided struct {
	State string `json:"state"`
}

type decidedOut struct{ Body Decided }

func decided[S ~string](state S, err error) (*decidedOut, error) {
	return &decidedOut{Decided{string(state)}}, err
}

// Waits is an act that was asked for and that others decide on first.
type Waits struct {
	ApprovalID string `json:"approval_id"`
	Needs      int    `json:"needs,omitempty" doc:"People who must agree, beside whoever asked."`
	Next       string `json:"next" doc:"What happens next."`
}

type waitsOut struct{ Body Waits }

func waiting(id string, needs int) Waits {
	return Waits{id, needs, "It happens once others agree: sentinel-server approval show " + id}
}

// The routes of single kinds lead to the same door.

func (a *API) reviewEnrollment(ctx context.Context, in *reviewIn) (*decidedOut, error) {
	return decided(a.deps.Enrollments.Review(ctx, acting(ctx), in.ID, in.Body.decision()))
}

func (a *API) reviewIdentity(ctx context.Context, in *deviceReviewIn) (*decidedOut, error) {
	return decided(a.deps.Identities.IdentityReview(ctx, acting(ctx), in.DeviceID, in.Body.decision()))
}

func (a *API) reviewCommand(ctx context.Context, in *reviewIn) (*decidedOut, error) {
	return decided(a.deps.Commands.ReviewCommand(ctx, acting(ctx), in.ID, in.Body.decision()))
}

func (a *API) reviewApproval(ctx context.Context, in *reviewIn) (*decidedOut, error) {
	return decided(a.deps.Approvals.Decide(ctx, acting(ctx), in.ID, in.Body.decision()))
}

type listApprovalsIn struct {
	Paging
	State   string `query:"state" enum:"open,approved,executed,rejected,expired,void"`
	Waiting bool   `query:"waiting" doc:"Those that wait, for votes or for their delay to end."`
	Mine    bool   `query:"mine" doc:"Those that wait for the caller's own vote."`
	Subject string `query:"subject" maxLength:"200" doc:"What they are about: a device_id, or an id."`
}

func (a *API) listApprovals(ctx context.Context, in *listApprovalsIn) (*listOut[view.Approval], error) {
	list, next, err := a.deps.Approvals.Approvals(ctx, view.ApprovalFilter{
		State: in.State, Waiting: in.Waiting, Mine: in.Mine, Subject: in.Subject, For: voter(ctx), Limit: in.Limit, After: in.After,
	})
	if err != nil {
		return nil, err
	}
	return listOf(list, next, func(v *view.Approval) view.Approval { return *v }), nil
}

type approvalOut struct{ Body *view.Approval }

func (a *API) approval(ctx context.Context, in *IDPath) (*approvalOut, error) {
	v, err := a.deps.Approvals.Approval(ctx, in.ID, voter(ctx))
	return &approvalOut{v}, err
}

// voter is the caller as one who may decide.
func voter(ctx context.Context) approval.Voter {
	c := callerOf(ctx)
	return approval.Voter{Person: c.Account.Person, AccountID: c.Account.ID, May: c.May}
}

func (a *API) resetFactors(ctx context.Context, in *struct {
	IDPath
	Body reasonBody
}) (*resetFactorsOut, error) {
	r, err := a.deps.Approvals.ResetFactors(ctx, acting(ctx), in.ID, in.Body.Reason)
	if err != nil || r == nil {
		return &resetFactorsOut{Status: http.StatusNoContent}, err
	}
	w := waiting(r.ID, r.Required)
	return &resetFactorsOut{http.StatusAccepted, &w}, nil
}

type resetFactorsOut struct {
	Status int
	Body   *Waits
}
