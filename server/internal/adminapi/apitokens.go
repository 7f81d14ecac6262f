package adminapi

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// APIToken is the identity of a machine.
type APIToken struct {
	ID          string             `json:"id"`
	Name        string             `json:"name" doc:"As the audit log names the machine."`
	Permissions []authz.Permission `json:"permissions" nullable:"false" doc:"Those of them that its maker still has."`
	Maker       string             `json:"maker" doc:"Account that made it."`
	CreatedAt   time.Time          `json:"created_at"`
	ExpiresAt   time.Time          `json:"expires_at"`
	UsedAt      time.Time          `json:"used_at,omitzero" doc:"Last use, to about a minute; absent: never."`
	RevokedAt   time.Time          `json:"revoked_at,omitzero"`
	Token       string             `json:"token,omitempty" doc:"Send it as Authorization: Bearer. It is shown this once."`
}

func viewAPIToken(t *admin.APIToken) APIToken {
	return APIToken{
		ID: t.ID, Name: t.Name, Permissions: append([]authz.Permission{}, t.Permissions...), Maker: t.Maker,
		CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, UsedAt: t.UsedAt, RevokedAt: t.RevokedAt,
	}
}

func (a *API) listAPITokens(ctx context.Context, _ *struct{}) (*listOut[APIToken], error) {
	list, err := a.deps.Accounts.APITokens(ctx)
	if err != nil {
		return nil, err
	}
	return listOf(list, "", viewAPIToken), nil
}

type createAPITokenIn struct {
	Body struct {
		Name        string             `json:"name" maxLength:"64" doc:"a-z, 0-9, '.', '_', '-' and '@'."`
		Permissions []authz.Permission `json:"permissions" minItems:"1" maxItems:"64" nullable:"false" doc:"Some of one's own, and none that only a person may use."`
		Life        int                `json:"life_seconds" minimum:"60" maximum:"31622400"`
	}
}

type apiTokenOut struct{ Body APIToken }

func (a *API) createAPIToken(ctx context.Context, in *createAPITokenIn) (*apiTokenOut, error) {
	made, secret, err := a.deps.Accounts.CreateAPIToken(ctx, acting(ctx), admin.NewAPIToken{
		Name: in.Body.Name, Permissions: in.Body.Permissions, Life: time.Duration(in.Body.Life) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	out := &apiTokenOut{viewAPIToken(&made)}
	out.Body.Token = secret
	return out, nil
}

func (a *API) revokeAPIToken(ctx context.Context, in *IDPath) (*struct{}, error) {
	return nil, a.deps.Accounts.RevokeAPIToken(ctx, acting(ctx), in.ID)
}
