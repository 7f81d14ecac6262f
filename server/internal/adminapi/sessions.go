package adminapi

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// Session is one sign-in.
type Session struct {
	ID        string    `json:"id"`
	AccountID string    `json:"account_id"`
	Account   string    `json:"account" doc:"The account's name."`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at" doc:"Last use, to about a minute."`
	ExpiresAt time.Time `json:"expires_at"`
	Source    string    `json:"source" doc:"Network address that signed in."`
	Agent     string    `json:"agent" doc:"What the client called itself."`
	Via       admin.Via `json:"via" doc:"console or program: what the token travels in."`
	Method    string    `json:"method" doc:"How the person proved who they are."`
	Due       string    `json:"due,omitempty" doc:"The step that the sign-in still misses: second-factor or new-password."`
	Current   bool      `json:"current" doc:"It is the session of this very request."`
}

func viewSession(s *admin.Session) Session {
	v := Session{
		ID: s.ID, AccountID: s.AccountID, Account: s.AccountName, CreatedAt: s.CreatedAt, SeenAt: s.SeenAt, ExpiresAt: s.ExpiresAt,
		Source: s.Source, Agent: s.Agent, Via: s.Via, Method: string(s.Method),
	}
	if s.Stage != admin.StageFull {
		v.Due = string(s.Stage)
	}
	return v
}

type listSessionsIn struct {
	Paging
	All bool `query:"all" doc:"Everyone's; needs session:manage."`
}

func (a *API) listSessions(ctx context.Context, in *listSessionsIn) (*listOut[Session], error) {
	c := callerOf(ctx)
	f := admin.SessionFilter{AccountID: c.Account.ID, Limit: in.Limit, After: in.After}
	if in.All {
		if !c.May(authz.SessionManage) {
			return nil, authz.ErrDenied
		}
		f.AccountID = ""
	}
	sessions, next, err := a.deps.Sessions.Sessions(ctx, f)
	if err != nil {
		return nil, err
	}
	return listOf(sessions, next, func(s *admin.Session) Session {
		v := viewSession(s)
		v.Current = s.ID == c.Session.ID
		return v
	}), nil
}

// IDPath is the id in a route's path. It is exported because huma passes over
// embedded types that are not.
type IDPath struct {
	ID string `path:"id" maxLength:"64"`
}

func (a *API) revokeSession(ctx context.Context, in *IDPath) (*struct{}, error) {
	if callerOf(ctx).May(authz.SessionManage) {
		return nil, a.deps.Sessions.RevokeSession(ctx, actingWith(ctx, authz.SessionManage), in.ID)
	}
	return nil, a.deps.Sessions.RevokeOwn(ctx, acting(ctx), in.ID)
}
