package adminapi

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// Invitation lets one person make one account.
type Invitation struct {
	ID        string             `json:"id"`
	Name      string             `json:"name" doc:"The account's, and no other."`
	Person    string             `json:"person"`
	Role      authz.Role         `json:"role"`
	Grants    []authz.Permission `json:"grants" nullable:"false"`
	Inviter   string             `json:"inviter" doc:"Account that wrote it. It counts while that account may make accounts."`
	CreatedAt time.Time          `json:"created_at"`
	ExpiresAt time.Time          `json:"expires_at"`
	Secret    string             `json:"secret,omitempty" doc:"It is shown this once."`
}

func viewInvitation(i *admin.Invitation) Invitation {
	return Invitation{
		ID: i.ID, Name: i.Name, Person: i.Person, Role: i.Role, Grants: append([]authz.Permission{}, i.Grants...), Inviter: i.Inviter,
		CreatedAt: i.CreatedAt, ExpiresAt: i.ExpiresAt,
	}
}

func (a *API) listInvitations(ctx context.Context, _ *struct{}) (*listOut[Invitation], error) {
	list, err := a.deps.Accounts.Invitations(ctx)
	if err != nil {
		return nil, err
	}
	return listOf(list, "", viewInvitation), nil
}

type createInvitationIn struct {
	Body struct {
		Name   string             `json:"name" maxLength:"64" doc:"a-z, 0-9, '.', '_', '-' and '@'."`
		Person string             `json:"person,omitempty" maxLength:"64" doc:"Whose it is; absent: the name."`
		Role   authz.Role         `json:"role" enum:"viewer,operator,approver,security,admin"`
		Grants []authz.Permission `json:"grants,omitempty" maxItems:"64" nullable:"false"`
		Life   int                `json:"life_seconds,omitempty" minimum:"60" maximum:"1209600" doc:"Absent: three days."`
	}
}

type invitationOut struct{ Body Invitation }

func (a *API) createInvitation(ctx context.Context, in *createInvitationIn) (*invitationOut, error) {
	b := in.Body
	made, secret, err := a.deps.Accounts.Invite(ctx, acting(ctx), admin.NewInvitation{
		Name: b.Name, Person: b.Person, Role: b.Role, Grants: b.Grants, Life: time.Duration(b.Life) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	out := &invitationOut{viewInvitation(&made)}
	out.Body.Secret = secret
	return out, nil
}

func (a *API) revokeInvitation(ctx context.Context, in *IDPath) (*struct{}, error) {
	return nil, a.deps.Accounts.Uninvite(ctx, acting(ctx), in.ID)
}

type redeemIn struct {
	Body struct {
		Secret   string `json:"secret" maxLength:"128" secret:"true"`
		Name     string `json:"name" maxLength:"64" doc:"The name that the invitation was written for."`
		Password string `json:"password" maxLength:"256" secret:"true"`
	}
}

func (a *API) redeem(ctx context.Context, in *redeemIn) (*loginOut, error) {
	from := originOf(ctx)
	token, c, err := a.deps.SignIns.Redeem(ctx, admin.Redeeming{
		Source: from.source, RequestID: httpkit.RequestID(ctx), Agent: from.agent, Via: admin.ViaProgram,
		Secret: in.Body.Secret, Name: in.Body.Name, Password: in.Body.Password,
	})
	return opened(token, &c, err)
}

type breakGlassIn struct {
	Body struct {
		First  string `json:"first" maxLength:"128" secret:"true" doc:"One of the two sealed codes."`
		Second string `json:"second" maxLength:"128" secret:"true" doc:"The other."`
		Name   string `json:"name" maxLength:"64" doc:"Account with the role admin that is opened."`

		NewPassword string `json:"new_password,omitempty" maxLength:"256" secret:"true" doc:"The password that the step new-password will set. One that would not be taken is refused before the codes are used up."`
	}
}

func (a *API) breakGlass(ctx context.Context, in *breakGlassIn) (*loginOut, error) {
	from := originOf(ctx)
	token, c, err := a.deps.SignIns.BreakGlass(ctx, admin.Breaking{
		Source: from.source, RequestID: httpkit.RequestID(ctx), Agent: from.agent, Via: admin.ViaProgram,
		First: in.Body.First, Second: in.Body.Second, Name: in.Body.Name, NewPassword: in.Body.NewPassword,
	})
	return opened(token, &c, err)
}
