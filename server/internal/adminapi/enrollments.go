package adminapi

import (
	"context"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Enrollments reads what waits for a review and decides on it.
type Enrollments interface {
	Reviews(ctx context.Context, state string, limit int, after string) ([]view.Review, string, error)
	ReviewOf(ctx context.Context, id string) (*view.Review, error)
	Review(ctx context.Context, by authz.By, enrollmentID string, d flow.Decision) (protocol.EnrollState, error)
}

type listEnrollmentsIn struct {
	Paging
	State string `query:"state" enum:"pending,approved,issued,rejected,expired"`
}

func (a *API) listEnrollments(ctx context.Context, in *listEnrollmentsIn) (*listOut[view.Review], error) {
	list, next, err := a.deps.Enrollments.Reviews(ctx, in.State, in.Limit, in.After)
	if err != nil {
		return nil, err
	}
	return listOf(list, next, func(r *view.Review) view.Review { return *r }), nil
}

type enrollmentOut struct{ Body *view.Review }

func (a *API) enrollment(ctx context.Context, in *IDPath) (*enrollmentOut, error) {
	r, err := a.deps.Enrollments.ReviewOf(ctx, in.ID)
	return &enrollmentOut{r}, err
}
