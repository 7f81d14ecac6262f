package adminapi

import (
	"context"
	"time"
)

// Factors are what an account proves itself with beside its password.
type Factors struct {
	TOTP         bool      `json:"totp" doc:"A code generator is in use."`
	TOTPSince    time.Time `json:"totp_since,omitzero" doc:"Since when it is in use."`
	TOTPUsed     time.Time `json:"totp_used_at,omitzero" doc:"Time of the last code that was taken, to 30 seconds."`
	Passkeys     []Passkey `json:"passkeys" nullable:"false"`
	RecoveryLeft int       `json:"recovery_codes_left"`
	MustPasskey  bool      `json:"must_passkey" doc:"Once there is a passkey, the password opens nothing."`
}

// Passkey is one passkey.
type Passkey struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	UsedAt    time.Time `json:"used_at,omitzero" doc:"Last sign-in with it; absent: never."`
}

type factorsOut struct{ Body Factors }

func (a *API) factors(ctx context.Context, _ *struct{}) (*factorsOut, error) {
	f, err := a.deps.Factors.Factors(ctx, acting(ctx))
	if err != nil {
		return nil, err
	}
	out := &factorsOut{Factors{TOTP: f.TOTP, TOTPSince: f.TOTPSince, TOTPUsed: f.TOTPUsed, RecoveryLeft: f.RecoveryLeft, MustPasskey: f.MustPasskey, Passkeys: []Passkey{}}}
	for _, k := range f.Passkeys {
		out.Body.Passkeys = append(out.Body.Passkeys, Passkey(k))
	}
	return out, nil
}

// TOTPSetup is what an authenticator app is given.
type TOTPSetup struct {
	Secret string `json:"secret" doc:"Base32. It is shown this once."`
	URI    string `json:"uri" doc:"otpauth URI, for a QR code."`
}

type totpSetupOut struct{ Body TOTPSetup }

func (a *API) startTOTP(ctx context.Context, _ *struct{}) (*totpSetupOut, error) {
	setup, err := a.deps.Factors.StartTOTP(ctx, acting(ctx))
	if err != nil {
		return nil, err
	}
	return &totpSetupOut{TOTPSetup(setup)}, nil
}

// RecoveryCodes stand in for the code generator, each once.
type RecoveryCodes struct {
	Codes []string `json:"codes" nullable:"false" doc:"They are shown this once."`
}

type recoveryOut struct{ Body RecoveryCodes }

func (a *API) confirmTOTP(ctx context.Context, in *secondStepIn) (*recoveryOut, error) {
	return recovery(a.deps.Factors.ConfirmTOTP(ctx, acting(ctx), in.Body.Code))
}

func (a *API) newRecoveryCodes(ctx context.Context, _ *struct{}) (*recoveryOut, error) {
	return recovery(a.deps.Factors.NewRecoveryCodes(ctx, acting(ctx)))
}

func recovery(codes []string, err error) (*recoveryOut, error) {
	if err != nil {
		return nil, err
	}
	return &recoveryOut{RecoveryCodes{codes}}, nil
}

func (a *API) removeTOTP(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, a.deps.Factors.RemoveTOTP(ctx, acting(ctx))
}
