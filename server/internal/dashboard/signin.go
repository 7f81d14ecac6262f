package dashboard

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// signInForm is a page at which a person signs in, or takes the step that is due.
type signInForm struct {
	Next, Name string
	Step       string // "" for the first
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if token := cookieToken(r); token != "" {
		if _, err := c.deps.SignIns.Authenticate(r.Context(), token, admin.ViaConsole); err == nil {
			http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // G710: localPath leads to the console only
			return
		}
	}
	c.show(w, r, http.StatusOK, "signin", c.newPage(r, "", "Sign in", signInForm{Next: next}))
}

// signIn opens a session and gives the browser its cookie. The session is a new
// one each time: what a cookie held before plays no part.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	f, ok := c.step(w, r, "")
	if !ok {
		return
	}
	f.Name = r.PostFormValue("name")
	token, who, err := c.deps.SignIns.SignIn(r.Context(), admin.Attempt{
		Source: httpkit.Source(r), RequestID: httpkit.RequestID(r.Context()), Agent: r.UserAgent(), Via: admin.ViaConsole,
		Name: f.Name, Password: r.PostFormValue("password"),
	})
	c.stepped(w, r, f, token, &who, err)
}

// stepPage asks for the step that its path names. Whether it is due is judged when
// it is taken.
func (c *Console) stepPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if cookieToken(r) == "" {
		http.Redirect(w, r, "/dashboard/sign-in?next="+url.QueryEscape(next), http.StatusSeeOther)
		return
	}
	f := signInForm{Next: next, Step: "code"}
	if r.URL.Path == "/dashboard/sign-in/password" {
		f.Step = "password"
	}
	c.show(w, r, http.StatusOK, "signin", c.newPage(r, "", "Sign in", f))
}

func (c *Console) secondStep(w http.ResponseWriter, r *http.Request) {
	f, ok := c.step(w, r, "code")
	if !ok {
		return
	}
	token, who, err := c.deps.SignIns.SecondStep(r.Context(), cookieToken(r), admin.SecondStep{
		Source: httpkit.Source(r), RequestID: httpkit.RequestID(r.Context()), Agent: r.UserAgent(), Via: admin.ViaConsole, Code: r.PostFormValue("code"),
	})
	c.stepped(w, r, f, token, &who, err)
}

func (c *Console) newPassword(w http.ResponseWriter, r *http.Request) {
	f, ok := c.step(w, r, "password")
	if !ok {
		return
	}
	token, who, err := "", admin.Caller{}, error(inputError("the two passwords differ"))
	if next := r.PostFormValue("password"); next == r.PostFormValue("again") {
		token, who, err = c.deps.SignIns.SetNewPassword(r.Context(), cookieToken(r), admin.NewPassword{
			Source: httpkit.Source(r), RequestID: httpkit.RequestID(r.Context()), Agent: r.UserAgent(), Via: admin.ViaConsole, Password: next,
		})
	}
	c.stepped(w, r, f, token, &who, err)
}

// step begins to take a step of a sign-in: from a page of this site, with a form
// that can be read.
func (c *Console) step(w http.ResponseWriter, r *http.Request, name string) (signInForm, bool) {
	if !c.ownRequest(r) {
		c.refuse(w, r, http.StatusForbidden, "This request came from another site", "Open the console itself and sign in there.")
		return signInForm{}, false
	}
	if err := form(r); err != nil {
		c.fail(w, r, err)
		return signInForm{}, false
	}
	return signInForm{Next: localPath(r.PostFormValue("next")), Step: name}, true
}

// stepped goes on after a step: to the next, to where the person wanted to go, or
// to the same step again.
func (c *Console) stepped(w http.ResponseWriter, r *http.Request, f signInForm, token string, who *admin.Caller, err error) {
	if errors.Is(err, admin.ErrSignedOut) { // the step came too late, or was not due
		dropCookie(w)
		http.Redirect(w, r, "/dashboard/sign-in?next="+url.QueryEscape(f.Next), http.StatusSeeOther)
		return
	}
	if err != nil {
		c.signInFailed(w, r, f, err)
		return
	}
	setCookie(w, token)
	http.Redirect(w, r, afterStep(who.Session.Stage, f.Next), http.StatusSeeOther)
}

// afterStep is where a session of a stage goes.
func afterStep(stage admin.Stage, next string) string {
	switch stage {
	case admin.StageSecondFactor:
		return "/dashboard/sign-in/code?next=" + url.QueryEscape(next)
	case admin.StageNewPassword:
		return "/dashboard/sign-in/password?next=" + url.QueryEscape(next)
	}
	return next
}

func (c *Console) signInFailed(w http.ResponseWriter, r *http.Request, f signInForm, err error) {
	status, title, text, known := meaning(err)
	if errors.Is(err, admin.ErrSignIn) {
		status, title, text = http.StatusUnauthorized, "Name or password is wrong", "Check both. An account that must use its passkey signs in with that alone."
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
