package httpkit

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func peopleMux(allowed ...string) *Mux {
	m := NewMux(Options{Surface: "people", CrossSite: &CrossSite{Own: func() string { return "https://console.example.com" }, Allowed: allowed}})
	for _, method := range []string{"GET", "POST"} {
		m.Handle(Route{Method: method, Pattern: "/api/thing", Policy: Anonymous}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
		m.Handle(Route{Method: method, Pattern: "/dashboard/thing", Policy: Anonymous}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	}
	return m
}

// SES-04, A3
func TestWhatAnotherSitesPageCausesIsRefused(t *testing.T) {
	t.Parallel()
	type headers map[string][]string
	own := "https://console.example.com"
	cases := map[string]struct {
		allowed []string
		cookie  bool
		h       headers
		path    string
		served  bool
	}{
		"a program":                              {h: headers{}, served: true},
		"a program with a cookie":                {cookie: true, h: headers{}},
		"the console's own page":                 {cookie: true, h: headers{"Origin": {own}, "Sec-Fetch-Site": {"same-origin"}}, served: true},
		"an old browser on the own page":         {cookie: true, h: headers{"Origin": {own}}, served: true},
		"a browser that keeps its origin":        {cookie: true, h: headers{"Sec-Fetch-Site": {"same-origin"}}, served: true},
		"another site":                           {cookie: true, h: headers{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}},
		"another site without the cookie":        {h: headers{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}},
		"another site that hides its origin":     {cookie: true, h: headers{"Sec-Fetch-Site": {"cross-site"}}},
		"an old browser on another site":         {cookie: true, h: headers{"Origin": {"https://evil.example"}}},
		"the origin null":                        {h: headers{"Origin": {"null"}}},
		"the origin null, any allowed":           {allowed: []string{"*"}, h: headers{"Origin": {"null"}}},
		"another host of the same site":          {cookie: true, h: headers{"Origin": {"https://shop.example.com"}, "Sec-Fetch-Site": {"same-site"}}},
		"another port":                           {cookie: true, h: headers{"Origin": {own + ":8443"}, "Sec-Fetch-Site": {"same-site"}}},
		"plain http":                             {cookie: true, h: headers{"Origin": {"http://console.example.com"}}},
		"a name that begins alike":               {cookie: true, h: headers{"Origin": {own + ".evil.example"}}},
		"the own origin in other letters":        {cookie: true, h: headers{"Origin": {"https://CONSOLE.example.com"}}},
		"two origins":                            {cookie: true, h: headers{"Origin": {own, "https://evil.example"}}},
		"two origins in one":                     {cookie: true, h: headers{"Origin": {own + " https://evil.example"}}},
		"two sites":                              {cookie: true, h: headers{"Origin": {own}, "Sec-Fetch-Site": {"same-origin", "cross-site"}}},
		"the own origin from elsewhere":          {cookie: true, h: headers{"Origin": {own}, "Sec-Fetch-Site": {"cross-site"}}},
		"no page":                                {h: headers{"Sec-Fetch-Site": {"none"}}, served: true},
		"an allowed origin":                      {allowed: []string{"https://ops.example.net"}, h: headers{"Origin": {"https://ops.example.net"}, "Sec-Fetch-Site": {"cross-site"}}, served: true},
		"an allowed origin with the cookie":      {allowed: []string{"https://ops.example.net"}, cookie: true, h: headers{"Origin": {"https://ops.example.net"}}},
		"an allowed origin at the console":       {allowed: []string{"https://ops.example.net"}, path: "/dashboard/thing", h: headers{"Origin": {"https://ops.example.net"}}},
		"an allowed origin, another port":        {allowed: []string{"https://ops.example.net"}, h: headers{"Origin": {"https://ops.example.net:444"}}},
		"an allowed origin's subdomain":          {allowed: []string{"https://ops.example.net"}, h: headers{"Origin": {"https://a.ops.example.net"}}},
		"any origin, allowed":                    {allowed: []string{"*"}, h: headers{"Origin": {"https://whoever.example"}}, served: true},
		"any origin, allowed, with the cookie":   {allowed: []string{"*"}, cookie: true, h: headers{"Origin": {"https://whoever.example"}}},
		"a method said in a header":              {cookie: true, h: headers{"Origin": {"https://evil.example"}, "X-Http-Method-Override": {"GET"}}},
		"a form's body":                          {cookie: true, h: headers{"Origin": {"https://evil.example"}, "Content-Type": {"text/plain"}}},
		"a referrer of our own":                  {cookie: true, h: headers{"Origin": {"https://evil.example"}, "Referer": {own + "/dashboard"}}},
		"a host that was made to point here":     {cookie: true, h: headers{"Origin": {"http://rebound.example"}, "Sec-Fetch-Site": {"same-origin"}}},
		"a forwarded host that was made to":      {cookie: true, h: headers{"Origin": {"http://rebound.example"}, "X-Forwarded-Host": {"rebound.example"}}},
		"the own page with a second cookie jar":  {cookie: true, h: headers{"Origin": {own}, "Sec-Fetch-Site": {"same-site"}}},
		"an upgrade to something else, and back": {cookie: true, h: headers{"Origin": {"https://evil.example"}, "Upgrade": {"websocket"}, "Connection": {"Upgrade"}}},
	}
	for name, c := range cases {
		for _, query := range []string{"", "?_method=GET"} {
			path := c.path
			if path == "" {
				path = "/api/thing"
			}
			r := httptest.NewRequest(http.MethodPost, path+query, http.NoBody)
			r.Host = "rebound.example"
			for k, v := range c.h {
				r.Header[http.CanonicalHeaderKey(k)] = v
			}
			if c.cookie {
				r.AddCookie(&http.Cookie{Name: SessionCookie, Value: "x"})
			}
			w := httptest.NewRecorder()
			peopleMux(c.allowed...).ServeHTTP(w, r)
			if served := w.Code == http.StatusNoContent; served != c.served || !served && !strings.Contains(w.Body.String(), string(CodeCrossSite)) {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
			if o := w.Header().Get("Access-Control-Allow-Origin"); (o != "") != (c.allowed != nil && c.served) && c.path == "" && !c.cookie {
				t.Errorf("%s: shared with %q", name, o)
			}
			if w.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: shared with credentials", name)
			}
		}
	}
}

func TestOnlyAnAllowedOriginIsToldWhatItMaySend(t *testing.T) {
	t.Parallel()
	ask := func(m *Mux, origin, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodOptions, path, http.NoBody)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		return w
	}
	m := peopleMux("https://ops.example.net")
	w := ask(m, "https://ops.example.net", "/api/thing")
	if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "https://ops.example.net" || w.Header().Get("Vary") != "Origin" ||
		!strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for origin, path := range map[string]string{"https://evil.example": "/api/thing", "https://ops.example.net.evil.example": "/api/thing", "null": "/api/thing", "https://ops.example.net": "/dashboard/thing"} {
		if w := ask(m, origin, path); w.Code == http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s at %s: %d %v", origin, path, w.Code, w.Header())
		}
	}
}
