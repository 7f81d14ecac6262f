package adminapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// SignIns opens sessions and finds who is behind a token.
type SignIns interface {
	SignIn(ctx context.Context, at admin.Attempt) (string, admin.Caller, error)
	SecondStep(ctx context.Context, token string, in admin.SecondStep) (string, admin.Caller, error)
	SetNewPassword(ctx context.Context, token string, in admin.NewPassword) (string, admin.Caller, error)
	PasskeySignInOptions(ctx context.Context, source string) (admin.PasskeyChallenge, error)
	PasskeySignIn(ctx context.Context, at admin.PasskeyAttempt) (string, admin.Caller, error)
	Redeem(ctx context.Context, in admin.Redeeming) (string, admin.Caller, error)
	BreakGlass(ctx context.Context, in admin.Breaking) (string, admin.Caller, error)
	Authenticate(ctx context.Context, token string, via admin.Via) (admin.Caller, error)
	Notices(ctx context.Context, c admin.Caller) ([]admin.Notice, error)
	SignOut(ctx context.Context, by authz.By, id string) error
}

// Sessions lists and ends sessions.
type Sessions interface {
	Sessions(ctx context.Context, f admin.SessionFilter) ([]admin.Session, string, error)
	RevokeOwn(ctx context.Context, by authz.By, id string) error
	RevokeSession(ctx context.Context, by authz.By, id string) error
}

// Accounts lists, makes and changes accounts.
type Accounts interface {
	List(ctx context.Context, after string, limit int) ([]admin.Account, string, error)
	CreateAccount(ctx context.Context, by authz.By, n admin.NewAccount) (admin.Account, error)
	Update(ctx context.Context, by authz.By, id string, c admin.Change) (admin.Account, error)
	ChangePassword(ctx context.Context, by authz.By, current, next string) error

	Invitations(ctx context.Context) ([]admin.Invitation, error)
	Invite(ctx context.Context, by authz.By, n admin.NewInvitation) (admin.Invitation, string, error)
	Uninvite(ctx context.Context, by authz.By, id string) error

	APITokens(ctx context.Context) ([]admin.APIToken, error)
	CreateAPIToken(ctx context.Context, by authz.By, n admin.NewAPIToken) (admin.APIToken, string, error)
	RevokeAPIToken(ctx context.Context, by authz.By, id string) error
}

// FactorActs lists and changes what people prove themselves with beside their
// passwords.
type FactorActs interface {
	Factors(ctx context.Context, by authz.By) (admin.Factors, error)
	StartTOTP(ctx context.Context, by authz.By) (admin.TOTPSetup, error)
	ConfirmTOTP(ctx context.Context, by authz.By, code string) ([]string, error)
	RemoveTOTP(ctx context.Context, by authz.By) error
	NewRecoveryCodes(ctx context.Context, by authz.By) ([]string, error)
	PasskeyRegistrationOptions(ctx context.Context, by authz.By) (admin.PasskeyChallenge, error)
	RegisterPasskey(ctx context.Context, by authz.By, challengeID, name string, response []byte) (admin.Passkey, error)
	RemovePasskey(ctx context.Context, by authz.By, id string) error
}

// Deps are what the API calls. All are needed.
type Deps struct {
	SignIns  SignIns
	Sessions Sessions
	Accounts Accounts
	Factors  FactorActs

	Devices     Devices
	Enrollments Enrollments
	Identities  Identities
	Tokens      Tokens
	Commands    Commands
	Approvals   Approvals
	Policies    Policies
	Issuers     Issuers

	Attestations Attestations

	Fleet func(ctx context.Context) (*Fleet, error)

	AuditLog func(ctx context.Context, f audit.Filter) (audit.Page, error)
	Refused  func(ctx context.Context, who audit.Actor, e audit.Entry) error // records a refusal

	Log     *slog.Logger
	Now     func() time.Time
	Version string // of the server
}

// API is the routes of the admin API.
type API struct {
	deps      Deps
	huma      huma.API
	endpoints []endpoint
	openAPI   func() []byte
}

// New makes the API with all its routes.
func New(deps Deps) *API {
	a := &API{deps: deps}
	a.huma = huma.NewAPI(config(deps.Version), (*adapter)(a))
	a.routes()
	a.describeOthers()
	a.openAPI = sync.OnceValue(a.describe)
	return a
}

// Guards are what a mux needs for this API's routes.
func (a *API) Guards() httpkit.Guards {
	return httpkit.Guards{httpkit.KindPermission: a.guard, httpkit.KindHalf: a.halfGuard}
}

// Register adds the routes to the surface for people.
func (a *API) Register(mux *httpkit.Mux) {
	for _, e := range a.endpoints {
		mux.Handle(e.route, e.handler)
	}
}

// OpenAPI is the description of the API, indented JSON.
func (a *API) OpenAPI() []byte { return slices.Clone(a.openAPI()) }

func (a *API) describe() []byte {
	doc, err := json.MarshalIndent(a.huma.OpenAPI(), "", "  ")
	if err != nil {
		panic(err) //nolint:forbidigo // a mistake in this program, found when it starts
	}
	return append(doc, '\n')
}

func (a *API) serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(a.openAPI())
}

// config is JSON alone, decoded strictly, without pages for browsers and without
// the members that the library would add.
func config(version string) huma.Config {
	format := huma.Format{
		Marshal: func(w io.Writer, v any) error {
			e := json.NewEncoder(w)
			e.SetEscapeHTML(true)
			return e.Encode(v)
		},
		Unmarshal: protocol.Decode,
	}
	c := huma.DefaultConfig("Sentinel Secure X admin API", version)
	c.Formats = map[string]huma.Format{"application/json": format, "json": format}
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil
	c.RejectUnknownQueryParameters = true
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "The token that signing in returns."},
	}
	return c
}
