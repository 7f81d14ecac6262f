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

		NewPassword string `json:"new_password,omitempty" maxLength:"256" secret:"true" doc:"The password that the step new-password will set, if it comes to that. One that would not be taken is refused before a one-time password is used up."`
	}
}

type loginOut struct{ Body Login }

// Login is a session just opened.
type Login struct {
	Token     string    `json:"token" doc:"Send it as Authorization: Bearer. It is shown this once."`
	ExpiresAt time.Time `json:"expires_at"`
	Due       string    `json:"due,omitempty" doc:"The step that is due, with this token: second-factor (POST /api/admin/login/second-step) or new-password (POST /api/admin/login/new-password). Absent: the sign-in is complete."`
	Me        *Me       `json:"me,omitempty" doc:"Absent while a step is due."`
}

// Notice is what happened to an account since its sign-in before this one.
type Notice struct {
	At     time.Time        `json:"at"`
	Kind   admin.NoticeKind `json:"kind"`
	Detail string           `json:"detail"`
	Source string           `json:"source,omitempty" doc:"Network address it came from."`
}

// Me is who is signed in.
type Me struct {
	Account     Account            `json:"account"`
	Permissions []authz.Permission `json:"permissions" nullable:"false"`
	Session     Session            `json:"session"`
	Notices     []Notice           `json:"notices" nullable:"false" doc:"What happened to the account since the sign-in before this one, the newest first."`
}

func viewMe(c *admin.Caller) Me {
	s := viewSession(&c.Session)
	s.Current = true
	me := Me{Account: viewAccount(&c.Account), Permissions: c.Account.Permissions(), Session: s, Notices: []Notice{}}
	for _, n := range c.Notices {
		me.Notices = append(me.Notices, Notice(n))
	}
	return me
}

// opened is a session just opened, as an answer.
func opened(token string, c *admin.Caller, err error) (*loginOut, error) {
	if err != nil {
		return nil, err
	}
	out := &loginOut{Login{Token: token, ExpiresAt: c.Session.ExpiresAt}}
	if c.Session.Stage != admin.StageFull {
		out.Body.Due = string(c.Session.Stage)
		return out, nil
	}
	out.Body.Me = new(viewMe(c))
	if c.WaitsFor != "" {
		out.Body.Me.Account.Waits = new(waiting(c.WaitsFor, 1))
	}
	return out, nil
}

func (a *API) login(ctx context.Context, in *loginIn) (*loginOut, error) {
	from := originOf(ctx)
	token, c, err := a.deps.SignIns.SignIn(ctx, admin.Attempt{
		Source: from.source, RequestID: httpkit.RequestID(ctx), Agent: from.agent, Via: admin.ViaProgram, Name: in.Body.Name, Password: in.Body.Password,
		NewPassword: in.Body.NewPassword,
	})
	return opened(token, &c, err)
}

type secondStepIn struct {
	Body struct {
		Code string `json:"code" maxLength:"64" secret:"true" doc:"Six digits of the code generator, or a recovery code."`
	}
}

func (a *API) secondStep(ctx context.Context, in *secondStepIn) (*loginOut, error) {
	from := originOf(ctx)
	token, c, err := a.deps.SignIns.SecondStep(ctx, halfToken(ctx), admin.SecondStep{
		Source: from.source, RequestID: httpkit.RequestID(ctx), Agent: from.agent, Via: admin.ViaProgram, Code: in.Body.Code,
	})
	return opened(token, &c, err)
}

type newPasswordIn struct {
	Body struct {
		Password string `json:"password" maxLength:"256" secret:"true"`
	}
}

func (a *API) newPassword(ctx context.Context, in *newPasswordIn) (*loginOut, error) {
	from := originOf(ctx)
	token, c, err := a.deps.SignIns.SetNewPassword(ctx, halfToken(ctx), admin.NewPassword{
		Source: from.source, RequestID: httpkit.RequestID(ctx), Agent: from.agent, Via: admin.ViaProgram, Password: in.Body.Password,
	})
	return opened(token, &c, err)
}

func (a *API) logout(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, a.deps.SignIns.SignOut(ctx, acting(ctx), callerOf(ctx).Session.ID)
}

type meOut struct{ Body Me }

func (a *API) me(ctx context.Context, _ *struct{}) (*meOut, error) {
	c := callerOf(ctx).Caller
	var err error
	if c.Notices, err = a.deps.SignIns.Notices(ctx, c); err != nil {
		return nil, err
	}
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
