package adminapi

import (
	"context"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
)

// Tokens makes, lists and ends enrollment tokens, and opens the window.
type Tokens interface {
	Tokens(ctx context.Context, limit int) ([]enroll.Token, error)
	CreateToken(ctx context.Context, by authz.By, n enroll.NewToken) (*enroll.Token, string, error)
	RevokeToken(ctx context.Context, by authz.By, id, reason string) error
	Window(ctx context.Context) (*enroll.Window, error)
	OpenWindow(ctx context.Context, by authz.By, d time.Duration, reason string) (*enroll.Window, error)
	CloseWindow(ctx context.Context, by authz.By, reason string) error
}

// EnrollToken is one token, without its secret.
type EnrollToken struct {
	ID         string            `json:"id"`
	State      string            `json:"state" enum:"usable,used-up,expired,revoked"`
	Note       string            `json:"note,omitempty"`
	Uses       int64             `json:"uses"`
	MaxUses    int64             `json:"max_uses"`
	CreatedBy  string            `json:"created_by"`
	CreatedAt  time.Time         `json:"created_at"`
	ExpiresAt  time.Time         `json:"expires_at"`
	RevokedAt  time.Time         `json:"revoked_at,omitzero"`
	RevokedBy  string            `json:"revoked_by,omitempty"`
	LastUsedAt time.Time         `json:"last_used_at,omitzero"`
	LastUsedBy string            `json:"last_used_by,omitempty" doc:"device_id"`
	DeviceName string            `json:"device_name,omitempty"`
	Owner      string            `json:"owner,omitempty"`
	Labels     map[string]string `json:"labels"`
	Sensitive  bool              `json:"sensitive"`
}

func (a *API) viewToken(t *enroll.Token) EnrollToken {
	return EnrollToken{
		ID: t.ID, State: t.Standing(a.deps.Now()), Note: t.Note, Uses: t.Uses, MaxUses: t.MaxUses, CreatedBy: t.CreatedBy,
		CreatedAt: t.CreatedAt.Time(), ExpiresAt: t.ExpiresAt.Time(), RevokedAt: t.RevokedAt.Time(), RevokedBy: t.RevokedBy,
		LastUsedAt: t.LastUsedAt.Time(), LastUsedBy: t.LastUsedBy, DeviceName: t.DeviceName, Owner: t.Owner,
		Labels: t.LabelMap(), Sensitive: t.Sensitive,
	}
}

// maxTokens is how many tokens a list shows: the newest.
const maxTokens = 500

func (a *API) listTokens(ctx context.Context, _ *struct{}) (*listOut[EnrollToken], error) {
	list, err := a.deps.Tokens.Tokens(ctx, maxTokens)
	if err != nil {
		return nil, err
	}
	return listOf(list, "", a.viewToken), nil
}

type createTokenIn struct {
	Body struct {
		Note       string            `json:"note,omitempty" maxLength:"200"`
		Uses       int64             `json:"uses" minimum:"1" maximum:"100000" doc:"How many devices may enroll with it."`
		Seconds    int64             `json:"life_seconds" minimum:"60" maximum:"31536000"`
		DeviceName string            `json:"device_name,omitempty" maxLength:"200"`
		Owner      string            `json:"owner,omitempty" maxLength:"200"`
		Labels     map[string]string `json:"labels,omitempty"`
		Sensitive  bool              `json:"sensitive,omitempty" doc:"Always reviewed."`
	}
}

type createdTokenOut struct {
	Body struct {
		EnrollToken
		Secret  string `json:"secret" doc:"Shown this once."`
		Command string `json:"command" doc:"To run on the device."`
	}
}

func (a *API) createToken(ctx context.Context, in *createTokenIn) (*createdTokenOut, error) {
	b := in.Body
	t, secret, err := a.deps.Tokens.CreateToken(ctx, acting(ctx), enroll.NewToken{
		Note: b.Note, Uses: b.Uses, Life: time.Duration(b.Seconds) * time.Second,
		DeviceName: b.DeviceName, Owner: b.Owner, Labels: b.Labels, Sensitive: b.Sensitive,
	})
	if err != nil {
		return nil, err
	}
	out := &createdTokenOut{}
	out.Body.EnrollToken, out.Body.Secret = a.viewToken(t), secret
	fleet, err := a.deps.Fleet(ctx)
	if err != nil {
		return out, nil //nolint:nilerr // the token stands; without a fleet root there is no line to paste yet
	}
	// Without the fleet root's digest: a device that believes what this server prints
	// trusts on first use, and says so. The digest reaches it by another way.
	out.Body.Command = strings.Join([]string{"sentinel-agent enroll --server", fleet.MachineURL, "--token", secret,
		"--ca-fingerprint", fleet.CAFingerprint}, " ")
	return out, nil
}

type revokeTokenIn struct {
	IDPath
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"400"`
	}
}

func (a *API) revokeToken(ctx context.Context, in *revokeTokenIn) (*struct{}, error) {
	return nil, a.deps.Tokens.RevokeToken(ctx, acting(ctx), in.ID, in.Body.Reason)
}

// EnrollWindow is whether devices are let in without a review.
type EnrollWindow struct {
	Open     bool      `json:"open"`
	OpenedBy string    `json:"opened_by,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	OpenedAt time.Time `json:"opened_at,omitzero"`
	ClosesAt time.Time `json:"closes_at,omitzero"`
}

type windowOut struct{ Body EnrollWindow }

func viewWindow(w *enroll.Window) *windowOut {
	if w == nil {
		return &windowOut{}
	}
	return &windowOut{EnrollWindow{true, w.OpenedBy, w.Reason, w.OpenedAt.Time(), w.ClosesAt.Time()}}
}

func (a *API) window(ctx context.Context, _ *struct{}) (*windowOut, error) {
	w, err := a.deps.Tokens.Window(ctx)
	return viewWindow(w), err
}

type openWindowIn struct {
	Body struct {
		Seconds int64  `json:"seconds" minimum:"60" maximum:"86400"`
		Reason  string `json:"reason" minLength:"1" maxLength:"400"`
	}
}

func (a *API) openWindow(ctx context.Context, in *openWindowIn) (*windowOut, error) {
	w, err := a.deps.Tokens.OpenWindow(ctx, acting(ctx), time.Duration(in.Body.Seconds)*time.Second, in.Body.Reason)
	if err != nil {
		return nil, err
	}
	return viewWindow(w), nil
}

type closeWindowIn struct{ Body reasonBody }

func (a *API) closeWindow(ctx context.Context, in *closeWindowIn) (*struct{}, error) {
	return nil, a.deps.Tokens.CloseWindow(ctx, acting(ctx), in.Body.Reason)
}
