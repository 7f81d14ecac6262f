package adminapi

import (
	"context"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// Identities reads what devices ask for, another key, and decides on it.
type Identities interface {
	IdentityRequests(ctx context.Context, state string, limit int, after string) ([]view.IdentityRequest, string, error)
	IdentityReview(ctx context.Context, by authz.By, deviceID string, d flow.Decision) (identity.State, error)
}

type listIdentitiesIn struct {
	Paging
	State string `query:"state" enum:"pending,approved,issued,used,rejected,expired" default:"pending"`
}

func (a *API) listIdentities(ctx context.Context, in *listIdentitiesIn) (*listOut[view.IdentityRequest], error) {
	list, next, err := a.deps.Identities.IdentityRequests(ctx, in.State, in.Limit, in.After)
	if err != nil {
		return nil, err
	}
	return listOf(list, next, func(r *view.IdentityRequest) view.IdentityRequest { return *r }), nil
}

type identityReviewIn struct {
	DevicePath
	Body struct {
		Decision string `json:"decision" enum:"approve,reject"`
		Digest   string `json:"digest" maxLength:"64" doc:"Of what was shown: the request's digest."`
		Reason   string `json:"reason" minLength:"1" maxLength:"400" doc:"Why; it is kept in the audit log."`
	}
}

type identityReviewOut struct {
	Body struct {
		State identity.State `json:"state"`
	}
}

func (a *API) reviewIdentity(ctx context.Context, in *identityReviewIn) (*identityReviewOut, error) {
	state, err := a.deps.Identities.IdentityReview(ctx, acting(ctx), in.DeviceID, flow.Decision{
		Approve: in.Body.Decision == "approve", Digest: in.Body.Digest, Reason: in.Body.Reason,
	})
	out := &identityReviewOut{}
	out.Body.State = state
	return out, err
}
