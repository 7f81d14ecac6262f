package dashboard

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	goodPassword = "blue kettles sing at noon"
	origin       = "https://console.example"
)

// site is the console over real accounts and sessions, and a fleet that is made up.
type site struct {
	t       *testing.T
	console *Console
	mux     *httpkit.Mux
	people  *admin.Service
	d       *db.DB
	fleet   *madeUp
	log     bytes.Buffer
}

func newSite(t *testing.T) *site {
	t.Helper()
	ctx := context.Background()
	d, err := db.Open(ctx, db.Options{URL: "sqlite:" + dbtest.SQLitePath(t), MaxConns: 4})
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	_, err = d.Migrate(ctx)
	must(t, err)
	_, err = d.Begin(ctx, "trial")
	must(t, err)
	s := &site{t: t, d: d, fleet: &madeUp{}}
	refusals := audit.NewRefusals(d, time.Minute, 1000)
	ring, err := seal.NewRing(bytes.Repeat([]byte("s"), 32), nil)
	must(t, err)
	s.people, err = admin.New(d, refusals, admin.Settings{CheapHashes: true,
		JWTSecrets: [][]byte{bytes.Repeat([]byte("k"), 32)}, Idle: time.Hour, Lifetime: 12 * time.Hour, MinPassword: 15,
		Ring: ring, FleetName: "Test fleet", PeopleURL: func() string { return origin },
	})
	must(t, err)
	s.console, err = New(Deps{
		SignIns: s.people, Sessions: s.people, Accounts: s.people, Factors: s.people,
		Devices: s.fleet, Approvals: s.fleet, Tokens: s.fleet, Commands: s.fleet,
		Overview: func(context.Context) (*view.Overview, error) {
			return &view.Overview{Devices: 1, Verdicts: map[string]int{"trusted": 1}, Beats: []view.Beats{{At: db.At(time.Now()), Accepted: 3}}}, nil
		},
		Fleet: func(context.Context) (*Fleet, error) {
			return &Fleet{Name: "Test fleet", MachineURL: "https://m.example"}, nil
		},
		Health:   func(context.Context) health.Report { return health.Report{Ready: true, At: time.Now()} },
		AuditLog: func(ctx context.Context, f audit.Filter) (audit.Page, error) { return audit.List(ctx, d.Read(), f) },
		Refused:  refusals.Note, PeopleURL: func() string { return origin },
		Log: slog.New(slog.NewJSONHandler(&s.log, nil)), Now: time.Now, Version: "1.2.3",
	})
	must(t, err)
	s.mux = httpkit.NewMux(httpkit.Options{Surface: "people", Guards: s.console.Guards()})
	s.console.Register(s.mux)
	return s
}

// cheapHash is goodPassword hashed as the domain does it, at a fraction of the cost:
// a stored hash names its own.
var cheapHash = func() string {
	salt := make([]byte, 16)
	b64 := base64.RawStdEncoding
	return "$argon2id$v=19$m=64,t=1,p=1$" + b64.EncodeToString(salt) + "$" + b64.EncodeToString(argon2.IDKey([]byte(goodPassword), salt, 1, 64, 1, 32))
}()

// signIn is the cookie's value of a new session of a new account.
func (s *site) signIn(name string, role authz.Role) string {
	s.t.Helper()
	must(s.t, s.d.Write(context.Background(), func(ctx context.Context, tx db.Tx) error {
		_, err := tx.NewInsert().Table("accounts").Model(&map[string]any{
			"id": tx.NewID(), "name": name, "person": name, "role": string(role), "grants": "[]", "password_hash": cheapHash,
			"created_at": tx.At(), "created_by": "test", "password_at": tx.At(),
		}).Exec(ctx)
		return err
	}))
	return s.session(name, admin.ViaConsole)
}

func (s *site) session(name string, via admin.Via) string {
	s.t.Helper()
	token, _, err := s.people.SignIn(context.Background(), admin.Attempt{Source: "192.0.2.200", Name: name, Password: goodPassword, Via: via})
	must(s.t, err)
	return token
}

// request is what the browser of whoever holds the cookie sends.
func request(method, target, cookie string, form url.Values) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.Host = "console.example"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", origin)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	} else {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
	}
	return r
}

func (s *site) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	return w
}

func (s *site) get(target, cookie string) *httptest.ResponseRecorder {
	return s.send(request(http.MethodGet, target, cookie, nil))
}

func (s *site) post(target, cookie string, form url.Values) *httptest.ResponseRecorder {
	return s.send(request(http.MethodPost, target, cookie, form))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// madeUp is a fleet of one device whose every field is text.
type madeUp struct {
	text string
	acts []string
}

var errMadeUp = errors.New("made up")

const someID = "00000000-0000-7000-8000-000000000000"

func (m *madeUp) Devices(context.Context, view.DeviceFilter) ([]view.DeviceRow, string, error) {
	return []view.DeviceRow{{DeviceID: "edge-1", Name: m.text, Owner: m.text, AgentVersion: m.text, State: "active", Verdict: "trusted"}}, "", nil
}

func (m *madeUp) Device(_ context.Context, id string) (*view.Device, error) {
	if id != "edge-1" {
		return nil, device.ErrUnknown
	}
	d := &view.Device{
		DeviceID: id, Name: m.text, Owner: m.text, State: "active", StateReason: m.text, StateBy: m.text, HeldReason: m.text, AgentVersion: m.text, Source: m.text, KeyCode: m.text,
		Labels: map[string]string{"site": m.text}, Facts: map[string]string{"os": m.text, m.text + " ": "x"},
	}
	d.Attestation = &view.Attestation{Verdict: "warning", Maker: m.text, HardwareBound: true, Reasons: []protocol.AttestationReason{{Code: "x", Text: m.text}}}
	d.Certificates = []pki.Certificate{{Serial: "aa", AuthorityID: "outside:0123456789abcdef0123456789abcdef"}, {Serial: "bb", AuthorityID: someID}}
	d.Trust.Verdict = trust.Trusted
	d.Trust.Reasons = []trust.Reason{{Code: "x", Weight: trust.For, Text: m.text, Advice: m.text}}
	return d, nil
}

func (m *madeUp) act(what string) error { m.acts = append(m.acts, what); return nil }

func (m *madeUp) Revoke(context.Context, authz.By, string, string) error  { return m.act("revoke") }
func (m *madeUp) Suspend(context.Context, authz.By, string, string) error { return m.act("suspend") }
func (m *madeUp) Resume(context.Context, authz.By, string, string) (*approval.Request, error) {
	return &approval.Request{}, m.act("resume")
}

func (m *madeUp) Resync(context.Context, authz.By, string, string) (*approval.Request, error) {
	return &approval.Request{}, m.act("resync")
}

func (m *madeUp) approval() view.Approval {
	return view.Approval{
		ID: someID, Kind: "enrollment", Title: "Let a device in", SubjectID: someID, DeviceID: m.text, Requester: m.text, Reason: m.text, State: "open", Needs: 1,
		Votes: []approval.Ballot{{Person: m.text, Reason: m.text}}, Digest: "d", Action: []byte(m.text),
		Fields: []view.ApprovalField{{Name: m.text, Value: m.text}}, MayVote: true, MayReject: true,
	}
}

func (m *madeUp) Approvals(context.Context, view.ApprovalFilter) ([]view.Approval, string, error) {
	return []view.Approval{m.approval()}, "", nil
}

func (m *madeUp) Approval(context.Context, string, approval.Voter) (*view.Approval, error) {
	a := m.approval()
	return &a, nil
}

func (m *madeUp) Decide(context.Context, authz.By, string, flow.Decision) (approval.State, error) {
	return approval.Executed, m.act("decide")
}

func (m *madeUp) ReviewOf(context.Context, string) (*view.Review, error) {
	return &view.Review{KeyCode: m.text, Facts: map[string]string{"os": m.text}, Source: m.text, Rivals: 1}, nil
}

func (m *madeUp) Tokens(context.Context, int) ([]enroll.Token, error) {
	return []enroll.Token{{ID: someID, Note: m.text, Owner: m.text, DeviceName: m.text, LastUsedBy: m.text, MaxUses: 1, Labels: "{}"}}, nil
}

func (m *madeUp) CreateToken(context.Context, authz.By, enroll.NewToken) (*enroll.Token, string, error) {
	return &enroll.Token{ID: someID, Labels: "{}"}, "sxe_secret", m.act("token")
}

func (m *madeUp) RevokeToken(context.Context, authz.By, string, string) error {
	return m.act("end-token")
}

func (m *madeUp) Window(context.Context) (*enroll.Window, error) {
	return &enroll.Window{OpenedBy: m.text, Reason: m.text}, nil
}

func (m *madeUp) OpenWindow(context.Context, authz.By, time.Duration, string) (*enroll.Window, error) {
	return nil, m.act("open")
}
func (m *madeUp) CloseWindow(context.Context, authz.By, string) error { return m.act("close") }

func (m *madeUp) Commands(context.Context, view.CommandFilter) ([]view.CommandRow, string, error) {
	return []view.CommandRow{{ID: someID, Kind: "ping", State: "open", Reason: m.text, RequestedBy: m.text, Targets: 1}}, "", nil
}

func (m *madeUp) Command(context.Context, string) (*view.Command, error) {
	return &view.Command{
		CommandRow: view.CommandRow{ID: someID, Kind: "ping", State: "open", Reason: m.text, RequestedBy: m.text, Targets: 1},
		Parameters: map[string]any{"echo": m.text}, Statement: []byte(m.text), WaitsFor: m.text, Counts: map[string]int{"succeeded": 1},
		FirstTargets: []view.CommandTarget{{DeviceID: "edge-1", State: "succeeded", Reason: m.text, Status: m.text, Output: map[string]string{"echo": m.text}}},
	}, nil
}

func (m *madeUp) CommandTargets(context.Context, string, string, int, string) ([]view.CommandTarget, string, error) {
	return nil, "", errMadeUp
}

func (m *madeUp) SendCommand(_ context.Context, _ authz.By, _ flow.CommandAsk, dry bool) (*flow.CommandPlan, error) {
	plan := &flow.CommandPlan{Targets: 1, First: []string{"edge-1"}}
	if dry {
		return plan, nil
	}
	plan.Command = &command.Command{ID: someID}
	return plan, m.act("command")
}

func (m *madeUp) CancelCommand(context.Context, authz.By, string, string) (flow.Withdrawal, error) {
	return flow.Withdrawal{}, m.act("cancel")
}

// endSessions ends every session, as another node would.
func endSessions(ctx context.Context, tx db.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE sessions SET revoked_at = ?", tx.At())
	return err
}
