package adminapi

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// maxBody is far above any body that a person's act needs.
const maxBody = 8 << 10

// endpoint is a route with its handler, before it has a guard.
type endpoint struct {
	route   httpkit.Route
	handler http.Handler
}

// policyKey is where an operation keeps its route's policy. One without it ends as
// a route without a policy, which no mux takes.
const policyKey = "policy"

var pathVariables = regexp.MustCompile(`\{([^}]+)\}`)

// adapter gathers huma's operations as routes, so that everything that guards a
// route stands before huma reads anything.
type adapter API

// Handle is called by huma for each operation. It panics, at start, when the
// handler would not see a variable of its path.
func (c *adapter) Handle(op *huma.Operation, h func(huma.Context)) {
	for _, variable := range pathVariables.FindAllStringSubmatch(op.Path, -1) {
		if !slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "path" && p.Name == variable[1] }) {
			panic("adminapi: " + op.OperationID + " has no input for {" + variable[1] + "}; is it in an embedded type that is not exported?") //nolint:forbidigo // a mistake in this program, found when it starts
		}
	}
	route := httpkit.Route{Method: op.Method, Pattern: op.Path}
	route.Policy, _ = op.Metadata[policyKey].(httpkit.Policy)
	if op.RequestBody != nil {
		route.MaxBody = op.MaxBodyBytes - 1
	}
	c.endpoints = append(c.endpoints, endpoint{route, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithValue(r.Context(), originKey{}, origin{httpkit.Source(r), r.UserAgent()}))
		h(inMemory{humago.NewContext(op, r, w)})
	})})
}

// ServeHTTP is never reached: the mux serves.
func (c *adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// inMemory is a request whose body was read already: huma's deadline for reading
// it would end a connection that only waits for its answer.
type inMemory struct{ humaContext }

// humaContext only gives huma.Context a name that its own method has not.
type humaContext huma.Context

func (inMemory) SetReadDeadline(time.Time) error { return nil }

type originKey struct{}

// origin is where a request comes from.
type origin struct{ source, agent string }

func originOf(ctx context.Context) origin {
	o, _ := ctx.Value(originKey{}).(origin)
	return o
}

// add registers an operation under the policy of its route. What the handler
// returns as an error becomes a problem.
func add[I, O any](a *API, policy httpkit.Policy, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	op.Metadata = map[string]any{policyKey: policy}
	op.Extensions = map[string]any{"x-policy": policy.String()}
	if policy.Kind() == httpkit.KindPermission {
		op.Security = []map[string][]string{{"bearer": {}}}
	}
	op.MaxBodyBytes = max(op.MaxBodyBytes, maxBody) + 1 // the route's own limit comes first
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		if err := checkText(ctx, in); err != nil {
			return nil, err
		}
		out, err := h(ctx, in)
		if err != nil {
			return nil, a.refusal(ctx, err)
		}
		return out, nil
	})
}
