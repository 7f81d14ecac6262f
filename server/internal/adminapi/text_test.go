package adminapi

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// AUD-05: no text of a person comes further that would break a row, a log line or
// a terminal. The refusal names the member and not what it was given.
func TestTextThatCannotBeShownIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	s := newSQLiteSite(t)
	tokens := map[string]string{}
	for _, role := range []authz.Role{authz.Admin, authz.Security, authz.Approver} {
		s.account(string(role), role)
		tokens[string(role)], _ = s.signIn(string(role))
	}
	for _, c := range []struct{ role, target, body, member string }{
		{"", "/api/admin/login", `{"name":%s,"password":"x"}`, "body.name"},
		{"admin", "/api/admin/accounts", `{"name":%s,"role":"viewer","password":"` + goodPassword + `"}`, "body.name"},
		{"admin", "/api/admin/accounts", `{"name":"eve","person":%s,"role":"viewer","password":"` + goodPassword + `"}`, "body.person"},
		{"admin", "/api/admin/accounts", `{"name":"eve","role":"viewer","grants":[%s],"password":"` + goodPassword + `"}`, "body.grants"},
		{"admin", "/api/admin/accounts/x/update", `{"disabled":false,"reason":%s}`, "body.reason"},
		{"admin", "/api/admin/accounts/x/update", `{"grants":["audit:read",%s]}`, "body.grants"},
		{"admin", "/api/devices/edge-1/certificate/revoke", `{"reason":%s}`, "body.reason"},
		{"admin", "/api/devices/edge-1/suspend", `{"reason":%s}`, "body.reason"},
		{"security", "/api/devices/edge-1/resume", `{"reason":%s}`, "body.reason"},
		{"security", "/api/devices/edge-1/resync", `{"reason":%s}`, "body.reason"},
		{"approver", "/api/enrollments/x/review", `{"decision":"approve","digest":%s,"reason":"x"}`, "body.digest"},
		{"approver", "/api/enrollments/x/review", `{"decision":"reject","digest":"x","reason":%s}`, "body.reason"},
		{"admin", "/api/enroll-tokens", `{"uses":1,"life_seconds":60,"note":%s}`, "body.note"},
		{"admin", "/api/enroll-tokens", `{"uses":1,"life_seconds":60,"device_name":%s}`, "body.device_name"},
		{"admin", "/api/enroll-tokens", `{"uses":1,"life_seconds":60,"owner":%s}`, "body.owner"},
		{"admin", "/api/enroll-tokens", `{"uses":1,"life_seconds":60,"labels":{"site":%s}}`, "body.labels"},
		{"admin", "/api/enroll-tokens", `{"uses":1,"life_seconds":60,"labels":{%s:"b"}}`, "body.labels"},
		{"admin", "/api/enroll-tokens/x/revoke", `{"reason":%s}`, "body.reason"},
		{"approver", "/api/enroll-window/open", `{"seconds":60,"reason":%s}`, "body.reason"},
		{"admin", "/api/enroll-window/close", `{"reason":%s}`, "body.reason"},
		// A password is no text that anybody reads: only what no column holds is refused.
		{"", "/api/admin/login", `{"name":"admin","password":%s}`, "body.password"},
		{"admin", "/api/admin/me/password", `{"current":%s,"new":"x"}`, "body.current"},
		{"admin", "/api/admin/me/password", `{"current":"x","new":%s}`, "body.new"},
		{"admin", "/api/admin/accounts", `{"name":"eve","role":"viewer","password":%s}`, "body.password"},
		{"admin", "/api/admin/accounts/x/update", `{"password":%s}`, "body.password"},
	} {
		secret := strings.Contains("body.password body.current body.new", c.member)
		for _, char := range []string{`\u0000`, `\n`, `\u001b`, `\u007f`, `\u0085`, `\u2028`, `\u202e`} {
			w := s.do("POST", c.target, tokens[c.role], fmt.Sprintf(c.body, `"canary`+char+`"`))
			refused := s.code(w) == httpkit.CodeInvalid && strings.Contains(w.Body.String(), c.member+" has a character")
			if want := !secret || char == `\u0000`; refused != want || w.Code >= 500 || strings.Contains(w.Body.String(), "canary") {
				t.Errorf("%s %s with %s: %d %s", c.target, c.member, char, w.Code, w.Body)
			}
		}
	}
	for _, target := range []string{
		"/api/audit?actor=", "/api/audit?object_id=", "/api/devices?text=", "/api/devices?label=site=", "/api/enrollments?after=", "/api/devices/", "/api/enrollments/",
	} {
		for _, char := range []string{"%00", "%0a", "%1b", "%ff", "%e2%80%ae"} {
			if w := s.do("GET", target+"canary"+char, tokens["admin"], ""); s.code(w) != httpkit.CodeInvalid || strings.Contains(w.Body.String(), "canary") {
				t.Errorf("%scanary%s: %d %s", target, char, w.Code, w.Body)
			}
		}
	}
}

func TestTextIsFoundWhereverItStands(t *testing.T) {
	t.Parallel()
	bad := "a\x00b"
	for name, in := range map[string]any{
		"a member":                struct{ A string }{bad},
		"a named type":            struct{ A authz.Role }{authz.Role(bad)},
		"a pointer":               struct{ A *string }{&bad},
		"a list behind a pointer": struct{ A *[]string }{&[]string{"x", bad}},
		"a key":                   struct{ A map[string]int }{map[string]int{bad: 1}},
		"a value":                 struct{ A map[string]string }{map[string]string{"x": bad}},
		"an embedded part":        struct{ IDPath }{IDPath{ID: bad}},
		"any value":               struct{ A any }{bad},
		"deep inside":             struct{ A struct{ B []map[string]any } }{struct{ B []map[string]any }{[]map[string]any{{"c": bad}}}},
		"a secret": struct {
			A string `secret:"true"`
		}{bad},
	} {
		if why := textFault(reflect.ValueOf(in), "", false); why == "" || strings.Contains(why, bad) {
			t.Errorf("%s: %q", name, why)
		}
	}
	ok := struct {
		A *string
		B map[string]string
		C time.Time
		D int
		E string `secret:"true"`
		F any
	}{B: map[string]string{"ä": "ö ß"}, C: time.Now(), E: "a\nb"}
	if why := textFault(reflect.ValueOf(&ok), "", false); why != "" {
		t.Error(why)
	}
}
