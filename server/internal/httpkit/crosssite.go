package httpkit

import (
	"net/http"
	"slices"
	"strings"
)

// SessionCookie is the console's, the only cookie that there is. The prefix has
// browsers refuse it without Secure, with a Domain, or for a path (RFC 6265bis,
// section 4.1.3.2).
const SessionCookie = "__Host-sentinel"

// CrossSite judges, for a whole surface, whether what a browser sends was caused by
// a page that may cause it. A browser says where a request comes from (Origin, and
// Sec-Fetch-Site of Fetch Metadata); a page cannot change either.
//
//   - The surface's own origin may do everything.
//   - An allowed origin may call the API with a bearer token of its own, and never
//     with the cookie: it is told so by CORS, without credentials.
//   - Whatever says nothing is a program. It has no cookie that a page could lend it.
type CrossSite struct {
	Own     func() string // where people find this surface, scheme://host[:port]
	Allowed []string      // further origins, exact; a lone * is any
}

// corsMaxAge is how long a browser remembers what it may send, in seconds.
const corsMaxAge = "600"

// whence is what a request says of the page that caused it.
type whence struct {
	origin, site string
	browser      bool // it says something
	sound        bool // it says it once, and without contradiction
}

func (c *CrossSite) whence(r *http.Request) whence {
	origins, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	w := whence{browser: len(origins)+len(sites) > 0, sound: len(origins) <= 1 && len(sites) <= 1}
	if len(origins) > 0 {
		w.origin = origins[0]
	}
	if len(sites) > 0 {
		w.site = sites[0]
	}
	return w
}

// own reports whether the page is one of this surface. A site that a user typed in
// ("none") causes no change by itself, but is no page of another's either.
func (c *CrossSite) own(w whence) bool {
	if w.site != "" && w.site != "same-origin" && w.site != "none" {
		return false
	}
	return w.origin == "" || w.origin == c.Own()
}

func (c *CrossSite) allowed(w whence) bool {
	return w.origin != "" && w.origin != "null" && (slices.Contains(c.Allowed, w.origin) || slices.Equal(c.Allowed, []string{"*"}))
}

// Refuses says why a request must not be served, "" when it may.
func (c *CrossSite) Refuses(r *http.Request) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return "" // changes nothing, and another site's script cannot read the answer
	}
	w := c.whence(r)
	_, err := r.Cookie(SessionCookie)
	cookie := err == nil
	switch {
	case !w.sound:
		return "the request names more than one origin"
	case !w.browser && cookie:
		return "the request carries the console's cookie and does not say which page caused it"
	case !w.browser, c.own(w):
		return ""
	case c.allowed(w) && !cookie && strings.HasPrefix(r.URL.Path, "/api/"):
		return ""
	}
	return "the request was caused by a page of another origin than SENTINEL_PEOPLE_URL and SENTINEL_ALLOWED_ORIGINS name"
}

// share lets a page of an allowed origin read the answer (Fetch standard, CORS
// protocol), and answers its question beforehand. It reports whether it answered.
func (c *CrossSite) share(w http.ResponseWriter, r *http.Request) bool {
	if len(c.Allowed) == 0 || !strings.HasPrefix(r.URL.Path, "/api/") {
		return false
	}
	w.Header().Add("Vary", "Origin")
	from := c.whence(r)
	if !from.sound || !c.allowed(from) {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", from.origin) // never with credentials: bearer tokens only
	h.Set("Access-Control-Expose-Headers", "X-Request-ID, Retry-After")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	h.Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}
