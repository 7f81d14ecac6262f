package adminapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// matrix says for each route, in words of its own, who gets past its door. The
// request is one that changes nothing when it does. A new route must be added here.
var matrix = map[string]struct {
	allowed string // roles; "anyone" is also whoever is not signed in
	policy  string
	target  string
	body    string
}{
	"POST /api/admin/login":                         {"anyone", "anonymous", "/api/admin/login", `{"name":"x"}`},
	"GET /api/openapi.json":                         {"anyone", "anonymous", "/api/openapi.json", ""},
	"POST /api/admin/login/second-step":             {"nobody", "half-signed-in", "/api/admin/login/second-step", `{"code":"x"}`},
	"POST /api/admin/login/new-password":            {"nobody", "half-signed-in", "/api/admin/login/new-password", `{"password":"x"}`},
	"GET /api/admin/factors":                        {"viewer operator approver security admin", "self", "/api/admin/factors", ""},
	"POST /api/admin/totp/start":                    {"viewer operator approver security admin", "self", "/api/admin/totp/start", ""},
	"POST /api/admin/totp/confirm":                  {"viewer operator approver security admin", "self", "/api/admin/totp/confirm", `{"code":"x"}`},
	"POST /api/admin/totp/remove":                   {"viewer operator approver security admin", "self", "/api/admin/totp/remove", ""},
	"POST /api/admin/recovery-codes":                {"viewer operator approver security admin", "self", "/api/admin/recovery-codes", ""},
	"POST /api/admin/passkeys/register/options":     {"viewer operator approver security admin", "self", "/api/admin/passkeys/register/options", ""},
	"POST /api/admin/passkeys/register/verify":      {"viewer operator approver security admin", "self", "/api/admin/passkeys/register/verify", `{"id":"x","name":"x","response":{}}`},
	"POST /api/admin/passkeys/{id}/remove":          {"viewer operator approver security admin", "self", "/api/admin/passkeys/x/remove", ""},
	"POST /api/admin/passkeys/authenticate/options": {"anyone", "anonymous", "/api/admin/passkeys/authenticate/options", ""},
	"POST /api/admin/passkeys/authenticate/verify":  {"anyone", "anonymous", "/api/admin/passkeys/authenticate/verify", `{"id":"x","response":{}}`},
	"GET /api/admin/invitations":                    {"admin", "account:manage", "/api/admin/invitations", ""},
	"POST /api/admin/invitations":                   {"admin", "account:manage", "/api/admin/invitations", `{"name":"x"}`},
	"POST /api/admin/invitations/{id}/revoke":       {"admin", "account:manage", "/api/admin/invitations/00000000-0000-7000-8000-000000000000/revoke", ""},
	"POST /api/admin/invitations/redeem":            {"anyone", "anonymous", "/api/admin/invitations/redeem", `{"secret":"x"}`},
	"POST /api/admin/break-glass":                   {"anyone", "anonymous", "/api/admin/break-glass", `{"first":"x"}`},
	"GET /api/admin/api-tokens":                     {"security admin", "api-token:read", "/api/admin/api-tokens", ""},
	"POST /api/admin/api-tokens":                    {"admin", "api-token:create", "/api/admin/api-tokens", `{"name":"x"}`},
	"POST /api/admin/api-tokens/{id}/revoke":        {"security admin", "api-token:revoke", "/api/admin/api-tokens/00000000-0000-7000-8000-000000000000/revoke", ""},
	"POST /api/admin/logout":                        {"viewer operator approver security admin", "self", "/api/admin/logout", ""},
	"GET /api/admin/me":                             {"viewer operator approver security admin", "self", "/api/admin/me", ""},
	"POST /api/admin/me/password":                   {"viewer operator approver security admin", "self", "/api/admin/me/password", `{"current":"x"}`},
	"GET /api/admin/sessions":                       {"viewer operator approver security admin", "self", "/api/admin/sessions", ""},
	"POST /api/admin/sessions/{id}/revoke":          {"viewer operator approver security admin", "self", "/api/admin/sessions/00000000-0000-7000-8000-000000000000/revoke", ""},
	"GET /api/admin/accounts":                       {"security admin", "account:read", "/api/admin/accounts", ""},
	"POST /api/admin/accounts":                      {"admin", "account:manage", "/api/admin/accounts", `{"name":"x"}`},
	"POST /api/admin/accounts/{id}/update":          {"admin", "account:manage", "/api/admin/accounts/00000000-0000-7000-8000-000000000000/update", `{"reason":"x"}`},
	"GET /api/audit":                                {"security admin", "audit:read", "/api/audit", ""},
	"GET /api/audit/actions":                        {"security admin", "audit:read", "/api/audit/actions", ""},

	"GET /api/devices":                                 {"viewer operator approver security admin", "device:read", "/api/devices", ""},
	"GET /api/devices/{device_id}":                     {"viewer operator approver security admin", "device:read", "/api/devices/edge-1", ""},
	"POST /api/devices/{device_id}/certificate/revoke": {"operator security admin", "device:revoke", "/api/devices/edge-1/certificate/revoke", `{"reason":"x"}`},
	"POST /api/devices/{device_id}/suspend":            {"operator security admin", "device:suspend", "/api/devices/edge-1/suspend", `{"reason":"x"}`},
	"POST /api/devices/{device_id}/resume":             {"security", "device:resume", "/api/devices/edge-1/resume", `{"reason":"x"}`},
	"POST /api/devices/{device_id}/resync":             {"security", "device:resync", "/api/devices/edge-1/resync", `{"reason":"x"}`},
	"GET /api/identity-requests":                       {"viewer operator approver security admin", "device:read", "/api/identity-requests", ""},
	"POST /api/devices/{device_id}/identity-review":    {"approver", "identity:review", "/api/devices/edge-1/identity-review", `{"decision":"approve","digest":"x","reason":"x"}`},
	"GET /api/enrollments":                             {"viewer operator approver security admin", "enrollment:read", "/api/enrollments", ""},
	"GET /api/enrollments/{id}":                        {"viewer operator approver security admin", "enrollment:read", "/api/enrollments/x", ""},
	"POST /api/enrollments/{id}/review":                {"approver", "enrollment:review", "/api/enrollments/x/review", `{"decision":"approve","digest":"x","reason":"x"}`},
	"GET /api/enroll-tokens":                           {"operator security admin", "enroll-token:read", "/api/enroll-tokens", ""},
	"POST /api/enroll-tokens":                          {"operator admin", "enroll-token:create", "/api/enroll-tokens", `{"uses":1,"life_seconds":60}`},
	"POST /api/enroll-tokens/{id}/revoke":              {"operator security admin", "enroll-token:revoke", "/api/enroll-tokens/x/revoke", `{"reason":"x"}`},
	"GET /api/enroll-window":                           {"viewer operator approver security admin", "enrollment:read", "/api/enroll-window", ""},
	"POST /api/enroll-window/open":                     {"approver security", "enroll-window:open", "/api/enroll-window/open", `{"seconds":60,"reason":"x"}`},
	"POST /api/enroll-window/close":                    {"operator approver security admin", "enroll-window:close", "/api/enroll-window/close", `{"reason":"x"}`},
	"GET /api/fleet":                                   {"viewer operator approver security admin", "fleet:read", "/api/fleet", ""},

	"GET /api/ca":                {"viewer operator approver security admin", "fleet:read", "/api/ca", ""},
	"POST /api/ca/stop-issuing":  {"operator security admin", "pki:stop", "/api/ca/stop-issuing", `{"reason":"x"}`},
	"POST /api/ca/start-issuing": {"security admin", "pki:start", "/api/ca/start-issuing", `{"reason":"x"}`},

	"GET /api/attestation/devices/{device_id}":             {"viewer operator approver security admin", "device:read", "/api/attestation/devices/edge-1", ""},
	"POST /api/attestation/devices/{device_id}/forget-tpm": {"security", "device:resync", "/api/attestation/devices/edge-1/forget-tpm", `{"reason":"x"}`},
	"GET /api/attestation/baselines":                       {"viewer operator approver security admin", "fleet:read", "/api/attestation/baselines", ""},
	"POST /api/attestation/baselines":                      {"operator admin", "baseline:propose", "/api/attestation/baselines", `{"name":"x"}`},
	"POST /api/attestation/baselines/{id}/retire":          {"operator security admin", "baseline:retire", "/api/attestation/baselines/x/retire", `{"reason":"x"}`},

	"POST /api/command":                           {"operator admin", "command:create", "/api/command", `{"kind":"ping","targets":{"label":"a=b"},"reason":"x"}`},
	"GET /api/commands":                           {"viewer operator approver security admin", "command:read", "/api/commands", ""},
	"GET /api/commands/{id}":                      {"viewer operator approver security admin", "command:read", "/api/commands/x", ""},
	"GET /api/commands/{id}/targets":              {"viewer operator approver security admin", "command:read", "/api/commands/x/targets", ""},
	"POST /api/commands/{id}/cancel":              {"operator security admin", "command:cancel", "/api/commands/x/cancel", `{"reason":"x"}`},
	"POST /api/commands/{id}/review":              {"approver", "command:review", "/api/commands/x/review", `{"decision":"approve","digest":"x","reason":"x"}`},
	"POST /api/admin/accounts/{id}/reset-factors": {"admin", "account:manage", "/api/admin/accounts/00000000-0000-7000-8000-000000000000/reset-factors", `{"reason":"x"}`},
	"GET /api/approvals":                          {"operator approver security admin", "approval:read", "/api/approvals", ""},
	"GET /api/approvals/{id}":                     {"operator approver security admin", "approval:read", "/api/approvals/x", ""},
	"POST /api/approvals/{id}/review":             {"operator approver security admin", "approval:read", "/api/approvals/x/review", `{"decision":"approve","digest":"x","reason":"x"}`},
	"POST /api/policy/bundles":                    {"operator admin", "policy:publish", "/api/policy/bundles", `{"payloadType":"x"}`},
	"GET /api/policy/bundles":                     {"viewer operator approver security admin", "fleet:read", "/api/policy/bundles", ""},
	"GET /api/policy/bundles/{version}":           {"viewer operator approver security admin", "fleet:read", "/api/policy/bundles/1", ""},
}

// RBA-01
func TestEveryRouteAgainstEveryRole(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	ctx := context.Background()
	callers := map[string]string{"anonymous": "", "stranger": "eyJhbGciOiJub25lIn0.e30."}
	for _, role := range []authz.Role{"viewer", "operator", "approver", "security", "admin"} {
		s.account(string(role), role)
		callers[string(role)], _ = s.signIn(string(role))
	}
	callers["half"] = s.halfSignIn("halfway")
	gone := s.account("gone", authz.Admin)
	callers["disabled"], _ = s.signIn("gone")
	if _, err := s.people.Update(ctx, authz.Host("test"), gone.ID, admin.Change{Disabled: new(true)}); err != nil {
		t.Fatal(err)
	}
	token, session := s.signIn("admin")
	callers["revoked"] = token
	must(t, s.people.RevokeSession(ctx, authz.Host("test"), session))

	var routes []string
	for _, r := range s.mux.Routes() {
		name := r.Method + " " + r.Pattern
		routes = append(routes, name)
		if want, ok := matrix[name]; !ok || r.Policy.String() != want.policy {
			t.Errorf("%s has the policy %s, the table says %q", name, r.Policy, want.policy)
		}
	}
	for name, c := range matrix {
		if !slices.Contains(routes, name) {
			t.Errorf("%s is not a route", name)
			continue
		}
		method, _, _ := strings.Cut(name, " ")
		for who, token := range callers {
			if c.target == "/api/admin/logout" && slices.Contains(strings.Fields(c.allowed), who) {
				token, _ = s.signIn(who) // it ends the session
			}
			if who == "half" && c.policy == "half-signed-in" {
				token = s.halfSignIn("halfway")
			}
			code := s.code(s.do(method, c.target, token, c.body))
			want := httpkit.CodeForbidden
			switch {
			case c.allowed == "anyone" || slices.Contains(strings.Fields(c.allowed), who):
				if code == httpkit.CodeForbidden || code == httpkit.CodeUnauthenticated {
					t.Errorf("%s as %s: %s", name, who, code)
				}
				continue
			case c.target == "/api/admin/login/second-step" && who == "half":
				want = httpkit.CodeWrongCode
			case who == "half" && c.policy != "half-signed-in":
				want = httpkit.CodeStepDue // ADM-11
			case slices.Contains([]string{"anonymous", "stranger", "disabled", "revoked", "half"}, who) || c.policy == "half-signed-in":
				want = httpkit.CodeUnauthenticated
			}
			if code != want {
				t.Errorf("%s as %s: %q, want %s", name, who, code, want)
			}
		}
	}
	for name, c := range matrix {
		_, path, _ := strings.Cut(name, " ")
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			if _, there := matrix[method+" "+path]; there {
				continue
			}
			if w := s.do(method, c.target, callers["admin"], ""); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, c.target, w.Code)
			}
		}
	}
}

// What is one's own is anyone's; what is another's needs a right.
func TestSessionsOfOthersNeedTheirOwnRight(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	s.account("victim", authz.Viewer)
	for role, may := range map[authz.Role]bool{authz.Viewer: false, authz.Operator: false, authz.Approver: false, authz.Security: true, authz.Admin: true} {
		s.account(string(role), role)
		token, own := s.signIn(string(role))
		victim, theirs := s.signIn("victim")

		if w := s.do("GET", "/api/admin/sessions?all=true", token, ""); (w.Code == 200) != may || !may && s.code(w) != httpkit.CodeForbidden {
			t.Errorf("%s lists all sessions: %d", role, w.Code)
		}
		var mine List[Session]
		s.get("/api/admin/sessions", token, &mine)
		if len(mine.Items) != 1 || mine.Items[0].ID != own || !mine.Items[0].Current {
			t.Errorf("%s sees as own: %+v", role, mine.Items)
		}
		w := s.do("POST", "/api/admin/sessions/"+theirs+"/revoke", token, "")
		if may && w.Code != 204 || !may && w.Code != 404 {
			t.Errorf("%s revokes another's session: %d", role, w.Code)
		}
		if w := s.do("GET", "/api/admin/me", victim, ""); (w.Code == 401) != may {
			t.Errorf("after %s: the other's session answers %d", role, w.Code)
		}
		if w := s.do("POST", "/api/admin/sessions/"+own+"/revoke", token, ""); w.Code != 204 {
			t.Errorf("%s revokes its own session: %d", role, w.Code)
		}
		if w := s.do("GET", "/api/admin/me", token, ""); w.Code != 401 {
			t.Errorf("%s after that: %d", role, w.Code)
		}
	}
}

// SES-04: no browser can be made to act in a person's name.
func TestOnlyOneBearerTokenInItsHeaderIsBelieved(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	s.account("root", authz.Admin)
	token, _ := s.signIn("root")
	for name, put := range map[string]func(r *http.Request){
		"a cookie":             func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "token", Value: token}) },
		"the query":            func(r *http.Request) { r.URL.RawQuery = "access_token=" + token },
		"basic authentication": func(r *http.Request) { r.SetBasicAuth("root", token) },
		"another scheme":       func(r *http.Request) { r.Header.Set("Authorization", "Token "+token) },
		"no scheme":            func(r *http.Request) { r.Header.Set("Authorization", token) },
		"two headers":          func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token} },
		"another header":       func(r *http.Request) { r.Header.Set("X-Auth-Token", token) },
		"a list of tokens":     func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token+", Bearer x") },
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/api/admin/me", http.NoBody)
		must(t, err)
		put(r)
		w := s.send(r)
		if s.code(w) != httpkit.CodeUnauthenticated || w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	w := s.do("GET", "/api/admin/me", token, "")
	if w.Code != 200 || len(w.Result().Cookies()) != 0 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("the right way: %d %v", w.Code, w.Header())
	}
}
