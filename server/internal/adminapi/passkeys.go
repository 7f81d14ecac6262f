package adminapi

import (
	"context"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// PasskeyChallenge is what a browser is asked to sign.
type PasskeyChallenge struct {
	ID      string          `json:"id" doc:"Send it back with the answer. It is good for one, within a few minutes."`
	Options json.RawMessage `json:"options" doc:"For navigator.credentials.create or .get, with binary members in base64url (WebAuthn level 3, section 5.1)."`
}

type challengeOut struct{ Body PasskeyChallenge }

func challenged(c admin.PasskeyChallenge, err error) (*challengeOut, error) {
	if err != nil {
		return nil, err
	}
	return &challengeOut{PasskeyChallenge(c)}, nil
}

// passkeyAnswer lets a body hold what an authenticator says about itself.
func passkeyAnswer(op huma.Operation) huma.Operation {
	op.MaxBodyBytes = maxPasskeyBody
	return op
}

const maxPasskeyBody = 24 << 10

func (a *API) passkeyRegisterOptions(ctx context.Context, _ *struct{}) (*challengeOut, error) {
	return challenged(a.deps.Factors.PasskeyRegistrationOptions(ctx, acting(ctx)))
}

type registerPasskeyIn struct {
	Body struct {
		ID       string          `json:"id" maxLength:"64"`
		Name     string          `json:"name" maxLength:"64" doc:"What its owner calls it."`
		Response json.RawMessage `json:"response" doc:"What navigator.credentials.create returned, as its toJSON gives it."`
	}
}

type passkeyOut struct{ Body Passkey }

func (a *API) passkeyRegister(ctx context.Context, in *registerPasskeyIn) (*passkeyOut, error) {
	key, err := a.deps.Factors.RegisterPasskey(ctx, acting(ctx), in.Body.ID, in.Body.Name, in.Body.Response)
	if err != nil {
		return nil, err
	}
	return &passkeyOut{Passkey(key)}, nil
}

type passkeyPath struct {
	ID string `path:"id" maxLength:"2048" doc:"The passkey's id."`
}

func (a *API) removePasskey(ctx context.Context, in *passkeyPath) (*struct{}, error) {
	return nil, a.deps.Factors.RemovePasskey(ctx, acting(ctx), in.ID)
}

func (a *API) passkeyOptions(ctx context.Context, _ *struct{}) (*challengeOut, error) {
	return challenged(a.deps.SignIns.PasskeySignInOptions(ctx, originOf(ctx).source))
}

type passkeySignInIn struct {
	Body struct {
		ID       string          `json:"id" maxLength:"64"`
		Response json.RawMessage `json:"response" doc:"What navigator.credentials.get returned, as its toJSON gives it."`
	}
}

func (a *API) passkeySignIn(ctx context.Context, in *passkeySignInIn) (*loginOut, error) {
	from := originOf(ctx)
	token, c, err := a.deps.SignIns.PasskeySignIn(ctx, admin.PasskeyAttempt{
		Source: from.source, RequestID: httpkit.RequestID(ctx), Agent: from.agent, Via: admin.ViaProgram, ChallengeID: in.Body.ID, Response: in.Body.Response,
	})
	return opened(token, &c, err)
}
