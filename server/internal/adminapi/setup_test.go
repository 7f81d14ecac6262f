package adminapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/argon2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const goodPassword = "blue kettles sing at noon"

// site is the API on a database of its own.
type site struct {
	t      testing.TB
	api    *API
	mux    *httpkit.Mux
	people *admin.Service
	d      *db.DB
	log    buffer
}

// buffer is a bytes.Buffer for several writers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newSite(t testing.TB, url string) *site {
	t.Helper()
	ctx := context.Background()
	d, err := db.Open(ctx, db.Options{URL: url, MaxConns: 8})
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	_, err = d.Migrate(ctx)
	must(t, err)
	_, err = d.Begin(ctx, "trial")
	must(t, err)
	s := &site{t: t, d: d}
	refusals := audit.NewRefusals(d, time.Minute, 1000)
	ring, err := seal.NewRing(bytes.Repeat([]byte("r"), 32))
	must(t, err)
	s.people, err = admin.New(d, refusals, admin.Settings{CheapHashes: true,
		JWTSecrets: [][]byte{bytes.Repeat([]byte("k"), 32)}, Idle: time.Hour, Lifetime: 12 * time.Hour, MinPassword: 15,
		Ring: ring, PeopleURL: func() string { return "http://localhost:8080" },
	})
	must(t, err)
	s.serve(Deps{
		SignIns: s.people, Sessions: s.people, Accounts: s.people, Factors: s.people, Refused: refusals.Note,
		AuditLog: func(ctx context.Context, f audit.Filter) (audit.Page, error) { return audit.List(ctx, d.Read(), f) },
	})
	return s
}

func newSQLiteSite(t testing.TB) *site { return newSite(t, "sqlite:"+dbtest.SQLitePath(t)) }

func (s *site) serve(deps Deps) {
	deps.Log = slog.New(slog.NewJSONHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	deps.Version, deps.Now = "1.2.3", time.Now
	deps.Devices, deps.Enrollments, deps.Tokens, deps.Commands, deps.Policies, deps.Approvals = empty{}, empty{}, empty{}, empty{}, empty{}, empty{}
	deps.Attestations = empty{}
	deps.Fleet = func(context.Context) (*Fleet, error) { return nil, admin.ErrNotFound }
	s.api = New(deps)
	s.mux = httpkit.NewMux(httpkit.Options{Surface: "people", Guards: s.api.Guards(), Log: deps.Log})
	s.api.Register(s.mux)
}

// cheapHash is goodPassword hashed as the domain does it, at a fraction of the
// cost: a stored hash names its own.
var cheapHash = func() string {
	salt := make([]byte, 16)
	b64 := base64.RawStdEncoding
	return "$argon2id$v=19$m=64,t=1,p=1$" + b64.EncodeToString(salt) + "$" + b64.EncodeToString(argon2.IDKey([]byte(goodPassword), salt, 1, 64, 1, 32))
}()

// account puts an account into the database as it stands there.
func (s *site) account(name string, role authz.Role) admin.Account {
	s.t.Helper()
	ctx := context.Background()
	var id string
	must(s.t, s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		id = tx.NewID()
		_, err := tx.NewInsert().Table("accounts").Model(&map[string]any{
			"id": id, "name": name, "person": name, "role": string(role), "grants": "[]", "password_hash": cheapHash,
			"created_at": tx.At(), "created_by": "test", "password_at": tx.At(),
		}).Exec(ctx)
		return err
	}))
	return admin.Account{ID: id, Name: name}
}

// signIn is the token and the id of a new session.
func (s *site) signIn(name string) (token, session string) {
	s.t.Helper()
	token, c, err := s.people.SignIn(context.Background(), admin.Attempt{Source: "192.0.2.200", Name: name, Password: goodPassword})
	must(s.t, err)
	return token, c.Session.ID
}

// halfSignIn is the token of a sign-in whose second step is due, of an account that
// is made when it is not there.
func (s *site) halfSignIn(name string) string {
	s.t.Helper()
	ctx := context.Background()
	token, c, err := s.people.SignIn(ctx, admin.Attempt{Source: "192.0.2.200", Name: name, Password: goodPassword})
	if errors.Is(err, admin.ErrSignIn) {
		s.account(name, authz.Admin)
		_, c, err = s.people.SignIn(ctx, admin.Attempt{Source: "192.0.2.200", Name: name, Password: goodPassword})
		must(s.t, err)
		by := c.By(authz.Self, "", "")
		setup, err := s.people.StartTOTP(ctx, by)
		must(s.t, err)
		code, err := totp.GenerateCode(setup.Secret, time.Now())
		must(s.t, err)
		_, err = s.people.ConfirmTOTP(ctx, by, code)
		must(s.t, err)
		token, c, err = s.people.SignIn(ctx, admin.Attempt{Source: "192.0.2.200", Name: name, Password: goodPassword})
		must(s.t, err)
	}
	must(s.t, err)
	if c.Session.Stage != admin.StageSecondFactor {
		s.t.Fatalf("the second step is not due: %s", c.Session.Stage)
	}
	return token
}

func (s *site) do(method, target, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return s.send(r)
}

func (s *site) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	return w
}

// code is the problem's code, "" for an answer that is none. Every refusal must
// be a problem.
func (s *site) code(w *httptest.ResponseRecorder) protocol.Code {
	s.t.Helper()
	if w.Code < 400 {
		return ""
	}
	var p protocol.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != httpkit.ProblemMediaType || p.Status != w.Code || p.Code == "" ||
		p.Instance != "urn:uuid:"+w.Header().Get("X-Request-ID") {
		s.t.Errorf("no problem of ours: %d %q %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	return p.Code
}

// get reads an answer with status 200 into v.
func (s *site) get(target, token string, v any) {
	s.t.Helper()
	w := s.do("GET", target, token, "")
	if w.Code != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", target, w.Code, w.Body)
	}
	must(s.t, json.Unmarshal(w.Body.Bytes(), v))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
