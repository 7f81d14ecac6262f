package dashboard

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// SignIns opens sessions and finds who is behind a cookie.
type SignIns interface {
	SignIn(ctx context.Context, at admin.Attempt) (string, admin.Caller, error)
	SecondStep(ctx context.Context, token string, in admin.SecondStep) (string, admin.Caller, error)
	SetNewPassword(ctx context.Context, token string, in admin.NewPassword) (string, admin.Caller, error)
	Authenticate(ctx context.Context, token string, via admin.Via) (admin.Caller, error)
	// Alive finds the caller of a session without counting as its use.
	Alive(ctx context.Context, sessionID string, via admin.Via) (admin.Caller, error)
	PasskeySignInOptions(ctx context.Context, source string) (admin.PasskeyChallenge, error)
	PasskeySignIn(ctx context.Context, at admin.PasskeyAttempt) (string, admin.Caller, error)
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
}

// Devices reads the registry and acts on one device.
type Devices interface {
	Devices(ctx context.Context, f view.DeviceFilter) ([]view.DeviceRow, string, error)
	Device(ctx context.Context, id string) (*view.Device, error)
	Revoke(ctx context.Context, by authz.By, deviceID, reason string) error
	Suspend(ctx context.Context, by authz.By, deviceID, reason string) error
	Resume(ctx context.Context, by authz.By, deviceID, reason string) (*approval.Request, error)
	Resync(ctx context.Context, by authz.By, deviceID, reason string) (*approval.Request, error)
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

// Approvals reads what waits for people, and decides on it.
type Approvals interface {
	Approvals(ctx context.Context, f view.ApprovalFilter) ([]view.Approval, string, error)
	Approval(ctx context.Context, id string, who approval.Voter) (*view.Approval, error)
	Decide(ctx context.Context, by authz.By, id string, d flow.Decision) (approval.State, error)
	// ReviewOf adds to the approval of an enrollment what the device says of itself.
	ReviewOf(ctx context.Context, id string) (*view.Review, error)
}

// Tokens makes, lists and ends enrollment tokens, and opens the window.
type Tokens interface {
	Tokens(ctx context.Context, limit int) ([]enroll.Token, error)
	CreateToken(ctx context.Context, by authz.By, n enroll.NewToken) (*enroll.Token, string, error)
	RevokeToken(ctx context.Context, by authz.By, id, reason string) error
	Window(ctx context.Context) (*enroll.Window, error)
	OpenWindow(ctx context.Context, by authz.By, d time.Duration, reason string) (*enroll.Window, error)
	CloseWindow(ctx context.Context, by authz.By, reason string) error
}

// Commands asks for commands, decides on them, and reads what became of them.
type Commands interface {
	Commands(ctx context.Context, f view.CommandFilter) ([]view.CommandRow, string, error)
	Command(ctx context.Context, id string) (*view.Command, error)
	CommandTargets(ctx context.Context, id, state string, limit int, after string) ([]view.CommandTarget, string, error)
	SendCommand(ctx context.Context, by authz.By, ask flow.CommandAsk, dry bool) (*flow.CommandPlan, error)
	CancelCommand(ctx context.Context, by authz.By, id, reason string) (flow.Withdrawal, error)
}

// Fleet is what the console shows of the fleet itself.
type Fleet struct {
	Name          string
	FleetID       string
	MachineURL    string
	CAFingerprint string
	RootDigest    string // of the first fleet root
	BundleVersion int64
}

// Deps are what the console calls. All are needed.
type Deps struct {
	SignIns  SignIns
	Sessions Sessions
	Accounts Accounts

	Devices   Devices
	Factors   FactorActs
	Approvals Approvals
	Tokens    Tokens
	Commands  Commands

	Overview func(ctx context.Context) (*view.Overview, error)
	Fleet    func(ctx context.Context) (*Fleet, error)
	Health   func(ctx context.Context) health.Report
	AuditLog func(ctx context.Context, f audit.Filter) (audit.Page, error)
	Refused  func(ctx context.Context, who audit.Actor, e audit.Entry) error // records a refusal

	PeopleURL func() string // where people reach this server
	Log       *slog.Logger
	Now       func() time.Time
	Version   string // of the server
}

// Console is the routes of the console.
type Console struct {
	deps    Deps
	pages   *pages
	assets  *assets
	streams *streams
	routed  []route

	overviewKept kept[*view.Overview]
}

// New makes the console with all its routes.
func New(deps Deps) (*Console, error) {
	c := &Console{deps: deps, streams: newStreams()}
	var err error
	if c.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	if c.pages, err = loadPages(c); err != nil {
		return nil, err
	}
	c.routes()
	return c, nil
}

// Guards are what a mux needs for the console's routes.
func (c *Console) Guards() httpkit.Guards { return httpkit.Guards{httpkit.KindConsole: c.guard} }

// Register adds the routes to the surface for people.
func (c *Console) Register(mux *httpkit.Mux) {
	for _, r := range c.routed {
		mux.Handle(r.Route, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			protect(w.Header())
			r.handler.ServeHTTP(w, req)
		}))
	}
}

// Close ends the streams of open pages, so that a listener can stop.
func (c *Console) Close() { c.streams.close() }

// pagePolicy is what every answer of the console carries: nothing runs, shows or is
// asked for that this server does not serve itself.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// protect sets the headers of pages, in place of those of the surface.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", pagePolicy)
	// Under no-referrer a browser would send "Origin: null" with the console's own
	// forms (Fetch section 3.1, "serializing a request origin").
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}

func (c *Console) logError(ctx context.Context, err error) {
	c.deps.Log.LogAttrs(ctx, slog.LevelError, "console", slog.String("request_id", httpkit.RequestID(ctx)), slog.String("error", err.Error()))
}

// note records a refusal. The request is refused all the same when it cannot be
// written.
func (c *Console) note(ctx context.Context, who audit.Actor, e audit.Entry) {
	if err := c.deps.Refused(ctx, who, e); err != nil {
		c.logError(ctx, err)
	}
}

// writeJSON answers the script.
func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil { // types of ours that always encode
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}
