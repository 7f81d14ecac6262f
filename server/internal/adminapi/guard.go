package adminapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

type callerKey struct{}

// caller is who is behind a request, with the authority that its route gives.
type caller struct {
	admin.Caller
	by authz.By
}

// guard lets in whoever has a live session and the route's permission.
func (a *API) guard(route httpkit.Route, next http.Handler) http.Handler {
	need := route.Policy.Permission()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		from := audit.Actor{Kind: audit.Anonymous, Source: httpkit.Source(r), RequestID: httpkit.RequestID(ctx)}
		entry := audit.Entry{Action: audit.Access, ObjectKind: "route", ObjectID: route.Method + " " + route.Pattern}
		token, ok := httpkit.Bearer(r)
		if !ok {
			httpkit.Refuse(w, r, httpkit.CodeUnauthenticated, "")
			return
		}
		c, err := a.deps.SignIns.Authenticate(ctx, token, admin.ViaProgram)
		switch {
		case errors.Is(err, admin.ErrHalf):
			entry.Reason = string(httpkit.CodeStepDue)
			a.note(ctx, from, entry)
			httpkit.Refuse(w, r, httpkit.CodeStepDue, "")
			return
		case errors.Is(err, admin.ErrSignedOut):
			entry.Reason = string(httpkit.CodeUnauthenticated)
			a.note(ctx, from, entry)
			httpkit.Refuse(w, r, httpkit.CodeUnauthenticated, "")
			return
		case err != nil:
			a.logError(ctx, err)
			httpkit.Refuse(w, r, protocol.CodeNotReady, "")
			return
		}
		by := c.By(need, from.Source, from.RequestID)
		if !c.May(need) {
			entry.Reason = string(httpkit.CodeForbidden)
			a.note(ctx, by.Actor, entry)
			httpkit.Refuse(w, r, httpkit.CodeForbidden, "this needs the permission "+string(need))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, callerKey{}, caller{c, by})))
	})
}

type halfKey struct{}

// halfGuard hands the token of a sign-in that misses a step to that step, which
// finds its session or refuses.
func (a *API) halfGuard(_ httpkit.Route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := httpkit.Bearer(r)
		if !ok {
			httpkit.Refuse(w, r, httpkit.CodeUnauthenticated, "")
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), halfKey{}, token)))
	})
}

// halfToken is the token that halfGuard found, "" elsewhere.
func halfToken(ctx context.Context) string {
	token, _ := ctx.Value(halfKey{}).(string)
	return token
}

// callerOf is who calls. On a route that is open to anyone it is nobody, who may
// nothing.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// acting is the authority of the caller for what the route is for.
func acting(ctx context.Context) authz.By { return callerOf(ctx).by }

// actingWith is the authority of the caller for an act that needs more than the
// route does.
func actingWith(ctx context.Context, p authz.Permission) authz.By {
	c := callerOf(ctx)
	return c.By(p, c.by.Source, c.by.RequestID)
}

// note records a refusal. The request is refused all the same when it cannot be
// written.
func (a *API) note(ctx context.Context, who audit.Actor, e audit.Entry) {
	if err := a.deps.Refused(ctx, who, e); err != nil {
		a.logError(ctx, err)
	}
}

func (a *API) logError(ctx context.Context, err error) {
	a.deps.Log.LogAttrs(ctx, slog.LevelError, "admin API", slog.String("request_id", httpkit.RequestID(ctx)), slog.String("error", err.Error()))
}
