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
