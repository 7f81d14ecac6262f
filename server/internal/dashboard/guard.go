package dashboard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// cookieName binds the cookie to this very host, over a secure context only
// (RFC 6265bis section 4.1.3.2).
const cookieName = httpkit.SessionCookie

// setCookie gives the browser its session. It ends with the browser; the server
// ends it earlier.
func setCookie(w http.ResponseWriter, token string) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: token, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

func dropCookie(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
}

// cookieToken is the token of the cookie, "" for none. Two such cookies are none.
func cookieToken(r *http.Request) string {
	all := r.CookiesNamed(cookieName)
	if len(all) != 1 {
		return ""
	}
	return all[0].Value
}

type callerKey struct{}

// caller is who is behind a request, with the authority that its route gives.
type caller struct {
	admin.Caller

	by    authz.By
	token string
}

// guard lets in whoever has a live session of the console and the route's
// permission, for requests that this site itself caused.
func (c *Console) guard(route httpkit.Route, next http.Handler) http.Handler {
	need := route.Policy.Permission()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header()) // of its own refusals, too
		ctx := r.Context()
		from := audit.Actor{Kind: audit.Anonymous, Source: httpkit.Source(r), RequestID: httpkit.RequestID(ctx)}
		entry := audit.Entry{Action: audit.Access, ObjectKind: "route", ObjectID: route.Method + " " + route.Pattern}
		if !c.ownRequest(r) {
			entry.Reason = "cross-site"
			c.note(ctx, from, entry)
			c.refuse(w, r, http.StatusForbidden, "This request came from another site", "It was not carried out. Open the console itself and do it there.")
			return
		}
		token := cookieToken(r)
		if token == "" {
			c.signInFirst(w, r)
			return
		}
		who, err := c.deps.SignIns.Authenticate(ctx, token, admin.ViaConsole)
		switch {
		case errors.Is(err, admin.ErrSignedOut), errors.Is(err, admin.ErrHalf):
			c.signInFirst(w, r)
			return
		case err != nil:
			c.logError(ctx, err)
			c.refuse(w, r, http.StatusServiceUnavailable, "The server cannot tell who you are", "Try again in a moment.")
			return
		}
		by := who.By(need, from.Source, from.RequestID)
		r = r.WithContext(context.WithValue(ctx, callerKey{}, caller{who, by, token}))
		if !who.May(need) {
			entry.Reason = string(httpkit.CodeForbidden)
			c.note(ctx, by.Actor, entry)
			c.refuse(w, r, http.StatusForbidden, "Your account may not do this", "It needs the permission "+string(need)+". Whoever manages accounts can grant it.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// signInFirst sends a reader to the sign-in, and back afterwards.
func (c *Console) signInFirst(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || wantsStream(r) {
		c.refuse(w, r, http.StatusUnauthorized, "You are not signed in any more", "Nothing was changed. Sign in, then do it again.")
		return
	}
	http.Redirect(w, r, "/dashboard/sign-in?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
}

// callerOf is who calls. On a route that is open to anyone it is nobody, who may
// nothing.
func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller)
	return c
}

// acting is the authority of the caller for what the route is for.
func acting(r *http.Request) authz.By { return callerOf(r).by }

// actingWith is the authority of the caller for an act that needs more than the
// route does.
func actingWith(r *http.Request, p authz.Permission) authz.By {
	c := callerOf(r)
	return c.By(p, c.by.Source, c.by.RequestID)
}

// ownRequest reports whether a request that changes something was caused by a page
// of this very origin. Browsers say so themselves (Fetch Metadata, and Origin since
// long before): one that says neither is not served, since the cookie is a
// browser's.
func (c *Console) ownRequest(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	sites, origins := r.Header.Values("Sec-Fetch-Site"), r.Header.Values("Origin")
	if len(sites) > 1 || len(origins) > 1 || len(sites)+len(origins) == 0 {
		return false
	}
	if len(sites) == 1 && sites[0] != "same-origin" {
		return false
	}
	return len(origins) == 0 || c.ownOrigin(r, origins[0])
}

// ownOrigin reports whether origin is the one that people reach this server by, or
// the one that the request names itself.
func (c *Console) ownOrigin(r *http.Request, origin string) bool {
	if origin == strings.TrimSuffix(c.deps.PeopleURL(), "/") {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && u.Host == r.Host
}

// localPath is where to go after a sign-in: a path of the console, and never
// another place.
func localPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(s, "\\\r\n\t") ||
		(u.Path != "/dashboard" && !strings.HasPrefix(u.Path, "/dashboard/")) || strings.Contains(u.Path, "//") || strings.HasPrefix(u.Path, "/dashboard/sign-in") {
		return "/dashboard"
	}
	return u.RequestURI()
}
