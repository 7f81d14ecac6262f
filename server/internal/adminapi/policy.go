package adminapi

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// Policies publishes and reads policy bundles.
type Policies interface {
	PublishBundle(ctx context.Context, by authz.By, envelope []byte) (*policy.Document, error)
	Bundles(ctx context.Context, below int64, limit int) ([]policy.Document, int64, error)
	Bundle(ctx context.Context, version int64) (*policy.Document, error)
}

// signedBody is an envelope as a body: the bytes are kept as they are.
type signedBody struct{ json.RawMessage }

// Schema describes it.
func (signedBody) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Description: "A DSSE envelope over a policy bundle.", AdditionalProperties: true}
}

type publishIn struct{ Body signedBody }

type bundleOut struct{ Body *policy.Document }

func (a *API) publishBundle(ctx context.Context, in *publishIn) (*bundleOut, error) {
	doc, err := a.deps.Policies.PublishBundle(ctx, acting(ctx), in.Body.RawMessage)
	return &bundleOut{doc}, err
}

func (a *API) listBundles(ctx context.Context, in *Paging) (*listOut[policy.Document], error) {
	below := int64(0)
	if in.After != "" {
		var err error
		if below, err = strconv.ParseInt(in.After, 10, 64); err != nil || below < 1 {
			return nil, view.ErrCursor
		}
	}
	list, next, err := a.deps.Policies.Bundles(ctx, below, in.Limit)
	if err != nil {
		return nil, err
	}
	after := ""
	if next > 0 {
		after = strconv.FormatInt(next, 10)
	}
	return listOf(list, after, func(d *policy.Document) policy.Document { return *d }), nil
}

type bundleIn struct {
	Version int64 `path:"version" minimum:"0" doc:"0 is the one in force."`
}

func (a *API) bundle(ctx context.Context, in *bundleIn) (*bundleOut, error) {
	doc, err := a.deps.Policies.Bundle(ctx, in.Version)
	return &bundleOut{doc}, err
}
