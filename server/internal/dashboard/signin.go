package dashboard

import (
	"errors"
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// signInForm is the page at which a person signs in.
type signInForm struct {
	Next, Name string
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if token := cookieToken(r); token != "" {
		if _, err := c.deps.SignIns.Authenticate(r.Context(), token); err == nil {
			http.Redirect(w, r, next, http.StatusSeeOther)
			return
		}
	}
	c.show(w, r, http.StatusOK, "signin", c.newPage(r, "", "Sign in", signInForm{Next: next}))
}

// signIn opens a session and gives the browser its cookie. The session is a new
// one each time: what a cookie held before plays no part.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	if !c.ownRequest(r) {
		c.refuse(w, r, http.StatusForbidden, "This request came from another site", "Open the console itself and sign in there.")
		return
	}
	if err := form(r); err != nil {
		c.fail(w, r, err)
		return
	}
	f := signInForm{Next: localPath(r.PostFormValue("next")), Name: r.PostFormValue("name")}
	token, _, err := c.deps.SignIns.SignIn(r.Context(), admin.Attempt{
		Source: httpkit.Source(r), RequestID: httpkit.RequestID(r.Context()), Agent: r.UserAgent(), Name: f.Name, Password: r.PostFormValue("password"),
	})
	if err != nil {
		c.signInFailed(w, r, f, err)
		return
	}
	setCookie(w, token)
	http.Redirect(w, r, f.Next, http.StatusSeeOther)
}

func (c *Console) signInFailed(w http.ResponseWriter, r *http.Request, f signInForm, err error) {
	status, title, text, known := meaning(err)
	if errors.Is(err, admin.ErrSignIn) {
		status, title, text = http.StatusUnauthorized, "Name or password is wrong", "Check both; after too many attempts the account rests for a while."
	}
	if throttled, ok := errors.AsType[*admin.ThrottledError](err); ok {
		w.Header().Set("Retry-After", httpkit.RetryAfter(throttled.After))
	}
	if !known {
		c.logError(r.Context(), err)
	}
	p := c.newPage(r, "", "Sign in", f)
	p.Notice = &notice{"wrong", title, text}
	c.show(w, r, status, "signin", p)
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	who := callerOf(r)
	if err := c.deps.SignIns.SignOut(r.Context(), who.by, who.Session.ID); err != nil {
		c.fail(w, r, err)
		return
	}
	dropCookie(w)
	done(w, r, "/dashboard/sign-in", "signed-out")
}
