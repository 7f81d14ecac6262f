package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

func TestADayOfAnAdministrator(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		s := newSite(t, url)
		s.account("root", authz.Admin)
		w := s.do("POST", "/api/admin/login", "", `{"name":"Root","password":"`+goodPassword+`"}`)
		var login Login
		must(t, json.Unmarshal(w.Body.Bytes(), &login))
		if w.Code != 200 || login.Me.Account.Name != "root" || login.ExpiresAt.IsZero() || !login.Me.Session.Current || login.Me.Session.Account != "root" {
			t.Fatalf("login: %d %s", w.Code, w.Body)
		}
		root := login.Token

		w = s.do("POST", "/api/admin/accounts", root, `{"name":"bob","person":"robert","role":"operator","grants":["audit:read"],"password":"`+goodPassword+`"}`)
		var bob Account
		must(t, json.Unmarshal(w.Body.Bytes(), &bob))
		if w.Code != 201 || bob.Person != "robert" || !bob.Active || bob.CreatedBy != "person:root" || len(bob.Grants) != 1 {
			t.Fatalf("create: %d %s", w.Code, w.Body)
		}
		if w := s.do("POST", "/api/admin/accounts", root, `{"name":"BOB","role":"viewer","password":"`+goodPassword+`"}`); s.code(w) != httpkit.CodeConflict {
			t.Errorf("the same name: %d", w.Code)
		}
		if w := s.do("POST", "/api/admin/accounts/"+login.Me.Account.ID+"/update", root, `{"role":"viewer"}`); s.code(w) != httpkit.CodeConflict || !strings.Contains(w.Body.String(), "last active") {
			t.Errorf("the last admin: %d %s", w.Code, w.Body)
		}

		token, _ := s.signIn("bob")
		var me Me
		s.get("/api/admin/me", token, &me)
		if me.Account.ID != bob.ID || len(me.Permissions) == 0 || me.Session.Agent != "" {
			t.Errorf("bob is %+v", me)
		}

		// SES-03
		w = s.do("POST", "/api/admin/accounts/"+bob.ID+"/update", root, `{"disabled":true,"reason":"left us"}`)
		if w.Code != 200 || s.code(s.do("GET", "/api/admin/me", token, "")) != httpkit.CodeUnauthenticated {
			t.Errorf("a disabled account goes on: %d %s", w.Code, w.Body)
		}
		if w := s.do("POST", "/api/admin/login", "", `{"name":"bob","password":"`+goodPassword+`"}`); s.code(w) != httpkit.CodeSignIn {
			t.Errorf("a disabled account signs in: %d", w.Code)
		}

		var first, second List[Account]
		s.get("/api/admin/accounts?limit=1", root, &first)
		s.get("/api/admin/accounts?limit=1&after="+first.Next, root, &second)
		if len(first.Items) != 1 || first.Items[0].Name != "bob" || len(second.Items) != 1 || second.Items[0].Name != "root" || second.Next != "" {
			t.Errorf("pages: %+v %+v", first, second)
		}

		var log List[AuditEntry]
		s.get("/api/audit?object_kind=account&object_id=bob&action="+audit.AccountDisable, root, &log)
		if len(log.Items) != 1 || log.Items[0].Actor != "root" || log.Items[0].Reason != "left us" || log.Items[0].Source != "192.0.2.1" || log.Items[0].RequestID != w.Header().Get("X-Request-ID") {
			t.Errorf("audit: %+v", log)
		}
		s.get("/api/audit?result=refused", root, &log)
		reasons := map[string]bool{}
		for _, e := range log.Items {
			reasons[e.Action+" "+e.Reason] = true
		}
		if !reasons["session.sign-in credentials"] || !reasons["access unauthenticated"] {
			t.Errorf("refusals recorded: %v", reasons)
		}
		var none List[AuditEntry]
		s.get("/api/audit?until=2001-01-01T00:00:00Z", root, &none)
		if none.Items == nil || len(none.Items) != 0 {
			t.Errorf("an empty list is %+v", none)
		}
		var actions List[string]
		s.get("/api/audit/actions", root, &actions)
		if len(actions.Items) != len(audit.Actions()) {
			t.Errorf("actions: %v", actions.Items)
		}

		if w := s.do("POST", "/api/admin/me/password", root, `{"current":"`+goodPassword+`","new":"a phrase chosen anew"}`); w.Code != 204 || w.Body.Len() != 0 {
			t.Errorf("password: %d %s", w.Code, w.Body)
		}
		if w := s.do("GET", "/api/admin/me", root, ""); s.code(w) != httpkit.CodeUnauthenticated {
			t.Errorf("the session outlives the password: %d", w.Code)
		}
		w = s.do("POST", "/api/admin/login", "", `{"name":"root","password":"a phrase chosen anew"}`)
		must(t, json.Unmarshal(w.Body.Bytes(), &login))
		if w := s.do("POST", "/api/admin/logout", login.Token, ""); w.Code != 204 {
			t.Errorf("logout: %d %s", w.Code, w.Body)
		}
		if w := s.do("GET", "/api/admin/me", login.Token, ""); s.code(w) != httpkit.CodeUnauthenticated {
			t.Errorf("after logout: %d", w.Code)
		}
	})
}

func TestARefusalByPermissionIsRecordedWithItsCaller(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	s.account("root", authz.Admin)
	s.account("vera", authz.Viewer)
	root, _ := s.signIn("root")
	vera, _ := s.signIn("vera")
	for range 5 {
		s.do("GET", "/api/admin/accounts", vera, "")
	}
	var log List[AuditEntry]
	s.get("/api/audit?action=access&actor=vera", root, &log)
	if len(log.Items) != 1 || log.Items[0].ObjectID != "GET /api/admin/accounts" || log.Items[0].Reason != "forbidden" || log.Items[0].Result != audit.Refused {
		t.Fatalf("recorded %+v", log.Items)
	}
}

func TestAPathThatNoHandlerReadsCannotBeRegistered(t *testing.T) {
	t.Parallel()
	type hidden struct {
		ID string `path:"id"`
	}
	s := &site{t: t}
	s.serve(Deps{})
	defer func() {
		if recover() == nil {
			t.Fatal("registered")
		}
	}()
	add(s.api, httpkit.Anonymous, get("/x/{id}", "x", "X"), func(context.Context, *struct{ hidden }) (*struct{}, error) { return nil, nil })
}

func TestTheDescriptionIsOfTheRoutesThatThereAre(t *testing.T) {
	t.Parallel()
	s := &site{t: t}
	s.serve(Deps{})
	served := s.do("GET", "/api/openapi.json", "", "").Body.Bytes()
	again := &site{t: t}
	again.serve(Deps{})
	if !bytes.Equal(served, s.api.OpenAPI()) || !bytes.Equal(served, again.api.OpenAPI()) {
		t.Error("the description differs from one making to the next")
	}
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]struct {
			Policy   string `json:"x-policy"`
			Security []map[string][]string
			Summary  string
		}
	}
	must(t, json.Unmarshal(served, &doc))
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Version != "1.2.3" {
		t.Errorf("OpenAPI %s of version %s", doc.OpenAPI, doc.Info.Version)
	}
	described := 0
	for _, methods := range doc.Paths {
		described += len(methods)
	}
	routes := s.mux.Routes()
	others := len(otherRoutes) - 1 // the description's own route is one of this surface
	if described != len(routes)+others {
		t.Errorf("%d operations for %d routes", described, len(routes))
	}
	for _, r := range routes {
		op := doc.Paths[r.Pattern][strings.ToLower(r.Method)]
		if op.Policy != r.Policy.String() || op.Summary == "" || (len(op.Security) == 1) != (r.Policy.Kind() == httpkit.KindPermission) {
			t.Errorf("%s %s is described as %+v", r.Method, r.Pattern, op)
		}
	}
	for _, path := range []string{"/docs", "/openapi.json", "/openapi.yaml", "/schemas/Account", "/debug/pprof/", "/api", "/"} { // RBA-03
		if w := s.do("GET", path, "", ""); w.Code != http.StatusNotFound {
			t.Errorf("%s answers %d", path, w.Code)
		}
	}
}
