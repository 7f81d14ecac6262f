package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// DOS-01
func TestEveryRouteRefusesWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	s.account("root", authz.Admin)
	root, _ := s.signIn("root")
	s.account("sec", authz.Security)
	sec, _ := s.signIn("sec")
	s.account("app", authz.Approver)
	app, _ := s.signIn("app")
	token := ""
	send := func(method, target, media, body string, length int64) protocol.Code {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.ContentLength = length
		r.Header.Set("Authorization", "Bearer "+token)
		if media != "" {
			r.Header.Set("Content-Type", media)
		}
		return s.code(s.send(r))
	}
	const js = "application/json"
	huge := `{"reason":"` + strings.Repeat("x", maxBody) + `"}`
	for name, c := range matrix {
		method, _, _ := strings.Cut(name, " ")
		switch {
		case strings.Contains(c.allowed, "admin"):
			token = root
		case strings.Contains(c.allowed, "security"):
			token = sec
		default:
			token = app
		}
		huge := huge
		if c.target == "/api/policy/bundles" {
			huge = `{"payload":"` + strings.Repeat("x", signing.MaxEnvelope) + `"}`
		}
		if strings.HasSuffix(c.target, "/verify") {
			huge = `{"id":"` + strings.Repeat("x", maxPasskeyBody) + `"}`
		}
		if got := send(method, c.target, js, huge, int64(len(huge))); got != protocol.CodeTooLarge {
			t.Errorf("%s, a body over the limit: %q", name, got)
		}
		if got := send(method, c.target, js, huge, -1); got != protocol.CodeTooLarge {
			t.Errorf("%s, a chunked body over the limit: %q", name, got)
		}
		if got := send(method, c.target+"?canary=1", js, c.body, int64(len(c.body))); got != httpkit.CodeInvalid && name != "GET /api/openapi.json" {
			t.Errorf("%s, an unknown query parameter: %q", name, got)
		}
		if c.body == "" {
			continue
		}
		for what, body := range map[string]string{
			"deep nesting":                  `{"name":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`,
			"very deep nesting, unclosed":   strings.Repeat("[", 8000),
			"a member twice":                `{"name":"a","name":"b"}`,
			"a member twice, other case":    `{"name":"a","Name":"b"}`,
			"a member twice, by escape":     `{"name":"a","n\u0061me":"b"}`,
			"data after the end":            c.body + `{}`,
			"what is no JSON":               `name=root`,
			"a number no reader keeps":      `{"name":1e999}x`,
			"nothing":                       ``,
			"a body that is no object, cut": `["a"`,
		} {
			if got := send(method, c.target, js, body, int64(len(body))); got != protocol.CodeMalformed {
				t.Errorf("%s, %s: %q", name, what, got)
			}
		}
		for what, body := range map[string]string{"a list": `[]`, "text": `"x"`, "null": `null`, "no members": `{}`} {
			got := send(method, c.target, js, body, int64(len(body)))
			if optional := what == "no members" && got == protocol.CodeNotFound; got != httpkit.CodeInvalid && !optional {
				t.Errorf("%s, %s: %q", name, what, got)
			}
		}
		for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/cbor", "text/json"} {
			if got := send(method, c.target, media, c.body, int64(len(c.body))); got != httpkit.CodeMediaType {
				t.Errorf("%s, media type %q: %q", name, media, got)
			}
		}
	}
}

// RBA-06
func TestMembersThatNobodyAskedForAreRefused(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	root := s.account("root", authz.Admin)
	token, _ := s.signIn("root")
	good := map[string]string{
		"/api/admin/login":                           `"name":"root","password":"x"`,
		"/api/admin/me/password":                     `"current":"x","new":"y"`,
		"/api/admin/accounts":                        `"name":"eve","role":"viewer","password":"` + goodPassword + `"`,
		"/api/admin/accounts/" + root.ID + "/update": `"reason":"x","disabled":false`,
	}
	for target, members := range good {
		for _, extra := range []string{
			"id", "ID", "account_id", "is_admin", "isAdmin", "admin", "superuser", "permissions", "roles", "Role", "scope", "created_by", "approved_by",
			"approved", "person_id", "password_hash", "passwordHash", "signed_in_at", "disabled_at", "active", "epoch", "session", "token", "mfa",
			"verified", "$schema", "__proto__", "constructor", "", "grants.0",
		} {
			w := s.do("POST", target, token, `{`+members+`,"`+extra+`":true}`)
			if got := s.code(w); got != httpkit.CodeInvalid && got != protocol.CodeMalformed {
				t.Errorf("%s with %q: %d %s", target, extra, w.Code, w.Body)
			}
		}
	}
	var list List[Account]
	s.get("/api/admin/accounts", token, &list)
	if len(list.Items) != 1 {
		t.Errorf("an account came of it: %+v", list.Items)
	}
}

// RBA-07
func TestFiltersAreValuesAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	s.account("root", authz.Admin)
	token, _ := s.signIn("root")
	for _, payload := range []string{
		"'", "''", "' OR '1'='1", "1;DROP TABLE accounts", "%27--", "x' UNION SELECT password_hash FROM accounts--", "$1", "?", "\\", "%", "a%00b", "%ff", "{\"$ne\":1}", "0.x!", "9999999999999999999999.00000000-0000-7000-8000-000000000000;",
	} {
		payload = strings.NewReplacer(" ", "%20", ";", "%3B", "\"", "%22", "\\", "%5C", "?", "%3F").Replace(payload)
		if strings.HasSuffix(payload, "%") {
			payload += "25"
		}
		for _, target := range []string{
			"/api/audit?actor=", "/api/audit?action=", "/api/audit?object_kind=", "/api/audit?object_id=", "/api/audit?result=", "/api/audit?since=", "/api/audit?until=",
			"/api/audit?after=", "/api/audit?limit=", "/api/admin/accounts?after=", "/api/admin/sessions?after=", "/api/admin/sessions?all=",
		} {
			w := s.do("GET", target+payload, token, "")
			if w.Code != 200 && s.code(w) != httpkit.CodeInvalid {
				t.Errorf("%s%s: %d %s", target, payload, w.Code, w.Body)
			}
			var got struct{ Items []map[string]any }
			if w.Code == 200 && (json.Unmarshal(w.Body.Bytes(), &got) != nil || len(got.Items) != 0) {
				t.Errorf("%s%s: found %s", target, payload, w.Body)
			}
			if strings.Contains(w.Body.String(), "argon2id") {
				t.Errorf("%s%s: a hash came out", target, payload)
			}
		}
	}
}

// AUD-07: what is secret or was typed by mistake is in no answer, log or entry.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	root := s.account("root", authz.Admin)
	token, _ := s.signIn("root")
	const canary = "canary-7f3e-long-enough"
	for name, w := range map[string]*httptest.ResponseRecorder{
		"a wrong password":       s.do("POST", "/api/admin/login", "", `{"name":"root","password":"`+canary+`"}`),
		"a password as name":     s.do("POST", "/api/admin/login", "", `{"name":"`+canary+`","password":""}`),
		"a long password":        s.do("POST", "/api/admin/login", "", `{"name":"root","password":"`+strings.Repeat(canary, 20)+`"}`),
		"a password of no type":  s.do("POST", "/api/admin/login", "", `{"name":"root","password":["`+canary+`"]}`),
		"a secret as member":     s.do("POST", "/api/admin/login", "", `{"name":"root","password":"x","`+canary+`":1}`),
		"broken JSON":            s.do("POST", "/api/admin/login", "", `{"password":"`+canary),
		"a secret in the query":  s.do("GET", "/api/admin/me?"+canary+"="+canary, token, ""),
		"a secret in the path":   s.do("GET", "/api/"+canary, token, ""),
		"a secret as page":       s.do("GET", "/api/audit?after="+canary, token, ""),
		"a secret as time":       s.do("GET", "/api/audit?since="+canary, token, ""),
		"a secret as id":         s.do("POST", "/api/admin/sessions/"+canary+"/revoke", token, ""),
		"a token that is none":   s.do("GET", "/api/admin/me", canary, ""),
		"a weak new password":    s.do("POST", "/api/admin/accounts", token, `{"name":"x","role":"viewer","password":"canary-7f3e"}`),
		"a bad name":             s.do("POST", "/api/admin/accounts", token, `{"name":"`+canary+`!","role":"viewer","password":"`+canary+`"}`),
		"a bad role":             s.do("POST", "/api/admin/accounts", token, `{"name":"x","role":"`+canary+`","password":"`+canary+`"}`),
		"a bad grant":            s.do("POST", "/api/admin/accounts", token, `{"name":"x","role":"viewer","grants":["`+canary+`"],"password":"`+canary+`"}`),
		"a wrong own password":   s.do("POST", "/api/admin/me/password", token, `{"current":"`+canary+`","new":"`+canary+`x"}`),
		"a password that is set": s.do("POST", "/api/admin/accounts", token, `{"name":"eve","role":"viewer","password":"`+canary+`"}`),
		"a password reset":       s.do("POST", "/api/admin/accounts/"+root.ID+"/update", token, `{"password":"`+canary+`-2"}`),
	} {
		s.code(w)
		if strings.Contains(w.Body.String(), "canary") || strings.Contains(fmt.Sprint(w.Header()), "canary") {
			t.Errorf("%s comes back: %d %s", name, w.Code, w.Body)
		}
	}
	if log := s.log.String(); strings.Contains(log, "canary") || strings.Contains(log, token) || !strings.Contains(log, "/api/admin/login") {
		t.Errorf("logged %s", log)
	}
	page, err := audit.List(context.Background(), s.d.Read(), audit.Filter{Limit: 500})
	must(t, err)
	if text := fmt.Sprintf("%+v", page.Rows); strings.Contains(text, "canary") || strings.Contains(text, token) || len(page.Rows) < 4 {
		t.Errorf("recorded %s", text)
	}
}

// ADM-04
func TestTooManySignInsAreToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	s.account("root", authz.Admin)
	throttled := 0
	for i := range 14 {
		r := httptest.NewRequest(http.MethodPost, "/api/admin/login", strings.NewReader(`{"name":"root","password":"wrong"}`))
		r.Header.Set("Content-Type", "application/json")
		for _, h := range []string{"X-Forwarded-For", "X-Real-IP", "True-Client-IP", "Forwarded"} {
			r.Header.Set(h, fmt.Sprintf("203.0.113.%d", i))
		}
		w := s.send(r)
		switch s.code(w) {
		case httpkit.CodeSignIn:
		case protocol.CodeRateLimited:
			throttled++
			if w.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		default:
			t.Errorf("try %d: %d", i, w.Code)
		}
	}
	if throttled != 4 {
		t.Fatalf("%d of 14 were throttled, want 4", throttled)
	}
}

// signIns is a SignIns that lets nobody in, or fails.
type signIns struct {
	SignIns
	t   testing.TB
	err error
}

func (s signIns) SignIn(_ context.Context, at admin.Attempt) (string, admin.Caller, error) {
	if len(at.Name) > 4*64 || len(at.Password) > 4*256 {
		s.t.Errorf("a name of %d and a password of %d bytes reach the domain", len(at.Name), len(at.Password))
	}
	return "", admin.Caller{}, s.err
}

func (s signIns) Authenticate(context.Context, string, admin.Via) (admin.Caller, error) {
	return admin.Caller{}, s.err
}

func TestAnErrorThatNobodyExpectsKeepsItsTextInside(t *testing.T) {
	t.Parallel()
	s := &site{t: t}
	s.serve(Deps{SignIns: signIns{t: t, err: errors.New("inner text of the database")}})
	for want, w := range map[protocol.Code]*httptest.ResponseRecorder{
		protocol.CodeInternal: s.do("POST", "/api/admin/login", "", `{"name":"a","password":"b"}`),
		protocol.CodeNotReady: s.do("GET", "/api/admin/me", "x", ""),
	} {
		if got := s.code(w); got != want || strings.Contains(w.Body.String(), "inner") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if log := s.log.String(); !strings.Contains(log, "inner text of the database") || !strings.Contains(log, w.Header().Get("X-Request-ID")) {
			t.Errorf("logged %s", log)
		}
	}
}

func FuzzLogin(f *testing.F) {
	for _, seed := range []string{
		`{"name":"root","password":"x"}`, `{"name":"root"}`, `{"name":1,"password":null}`, `{"name":"a","name":"b"}`, `[`, ``, `{"a":{"b":[{}]}}`,
		`{"name":"\ud800","password":"\u0000"}`,
	} {
		f.Add([]byte(seed))
	}
	s := &site{t: f}
	s.serve(Deps{SignIns: signIns{t: f, err: admin.ErrSignIn}})
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/api/admin/login", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		w := s.send(r)
		var p protocol.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
		switch p.Code {
		case httpkit.CodeSignIn, httpkit.CodeInvalid, protocol.CodeMalformed, protocol.CodeTooLarge:
		default:
			t.Fatalf("%q: %s", body, p.Code)
		}
	})
}
