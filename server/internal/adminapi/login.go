package adminapi

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

type loginIn struct {
	Body struct {
		Name     string `json:"name" maxLength:"64"`
		Password string `json:"password" maxLength:"256" secret:"true"`
	}
}

type loginOut struct{ Body Login }

// Login is a session just opened.
type Login struct {
	Token     string    `json:"token" doc:"Send it as Authorization: Bearer. It is shown this once."`
	ExpiresAt time.Time `json:"expires_at"`
	Me        Me        `json:"me"`
}

// Me is who is signed in.
type Me struct {
	Account     Account            `json:"account"`
	Permissions []authz.Permission `json:"permissions" nullable:"false"`
	Session     Session            `json:"session"`
}

func viewMe(c *admin.Caller) Me {
	s := viewSession(&c.Session)
	s.Current = true
	return Me{Account: viewAccount(&c.Account), Permissions: c.Account.Permissions(), Session: s}
}

func (a *API) login(ctx context.Context, in *loginIn) (*loginOut, error) {
	from := originOf(ctx)
	token, c, err := a.deps.SignIns.SignIn(ctx, admin.Attempt{
		Source: from.source, RequestID: httpkit.RequestID(ctx), Agent: from.agent, Name: in.Body.Name, Password: in.Body.Password,
	})
	if err != nil {
		return nil, err
	}
	return &loginOut{Login{Token: token, ExpiresAt: c.Session.ExpiresAt, Me: viewMe(&c)}}, nil
}

func (a *API) logout(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, a.deps.SignIns.SignOut(ctx, acting(ctx), callerOf(ctx).Session.ID)
}

type meOut struct{ Body Me }

func (a *API) me(ctx context.Context, _ *struct{}) (*meOut, error) {
	c := callerOf(ctx).Caller
	return &meOut{viewMe(&c)}, nil
}

type passwordIn struct {
	Body struct {
		Current string `json:"current" maxLength:"256" secret:"true"`
		New     string `json:"new" maxLength:"256" secret:"true"`
	}
}

func (a *API) changePassword(ctx context.Context, in *passwordIn) (*struct{}, error) {
	return nil, a.deps.Accounts.ChangePassword(ctx, acting(ctx), in.Body.Current, in.Body.New)
}
