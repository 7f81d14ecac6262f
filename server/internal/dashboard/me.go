package dashboard

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/boombuler/barcode/qr"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// meData is a person's own account.
type meData struct {
	Account   admin.Account
	Factors   admin.Factors
	Sessions  []admin.Session
	Current   string
	SignedIn  admin.Session
	Setup     *totpSetup // a code generator just begun; shown once
	Codes     []string   // recovery codes just made; shown once
	Passwords string
}

// totpSetup is what an authenticator app is given.
type totpSetup struct {
	admin.TOTPSetup

	QR template.HTML
}

func (c *Console) mePage(r *http.Request) (meData, error) {
	who := callerOf(r)
	d := meData{Account: who.Account, Current: who.Session.ID, SignedIn: who.Session}
	var err error
	if d.Factors, err = c.deps.Factors.Factors(r.Context(), who.by); err != nil {
		return d, err
	}
	d.Sessions, _, err = c.deps.Sessions.Sessions(r.Context(), admin.SessionFilter{AccountID: who.Account.ID, Limit: 50})
	return d, err
}

func (c *Console) me(r *http.Request) (*page, error) {
	d, err := c.mePage(r)
	if err != nil {
		return nil, err
	}
	return c.newPage(r, "me", "Your account", d), nil
}

func (c *Console) changePassword(w http.ResponseWriter, r *http.Request) {
	err := form(r)
	if err == nil && r.PostFormValue("next") != r.PostFormValue("again") {
		err = inputError("the two new passwords differ")
	}
	if err == nil {
		err = c.deps.Accounts.ChangePassword(r.Context(), acting(r), r.PostFormValue("current"), r.PostFormValue("next"))
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	dropCookie(w)
	done(w, r, "/dashboard/sign-in", "password")
}

// showMe answers with the account's page and what it shows this once.
func (c *Console) showMe(w http.ResponseWriter, r *http.Request, err error, more func(*meData)) {
	var d meData
	if err == nil {
		d, err = c.mePage(r)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	more(&d)
	c.show(w, r, http.StatusOK, "me", c.newPage(r, "me", "Your account", d))
}

func (c *Console) startTOTP(w http.ResponseWriter, r *http.Request) {
	setup, err := c.deps.Factors.StartTOTP(r.Context(), acting(r))
	var picture template.HTML
	if err == nil {
		picture, err = drawQR(setup.URI)
	}
	c.showMe(w, r, err, func(d *meData) { d.Setup = &totpSetup{setup, picture} })
}

func (c *Console) confirmTOTP(w http.ResponseWriter, r *http.Request) {
	err := form(r)
	var codes []string
	if err == nil {
		codes, err = c.deps.Factors.ConfirmTOTP(r.Context(), acting(r), r.PostFormValue("code"))
	}
	c.showMe(w, r, err, func(d *meData) { d.Codes = codes })
}

func (c *Console) newRecovery(w http.ResponseWriter, r *http.Request) {
	codes, err := c.deps.Factors.NewRecoveryCodes(r.Context(), acting(r))
	c.showMe(w, r, err, func(d *meData) { d.Codes = codes })
}

func (c *Console) removeTOTP(w http.ResponseWriter, r *http.Request) {
	if err := c.deps.Factors.RemoveTOTP(r.Context(), acting(r)); err != nil {
		c.fail(w, r, err)
		return
	}
	done(w, r, "/dashboard/me", "totp-removed")
}

func (c *Console) endSession(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	var err error
	if callerOf(r).May(authz.SessionManage) {
		err = c.deps.Sessions.RevokeSession(r.Context(), actingWith(r, authz.SessionManage), id)
	} else {
		err = c.deps.Sessions.RevokeOwn(r.Context(), acting(r), id)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	done(w, r, "/dashboard/me", "session")
}

// drawQR is a QR code of a text as an SVG picture: dark squares on the picture's
// white ground, whatever the theme.
func drawQR(text string) (template.HTML, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", err
	}
	size := code.Bounds().Dx()
	var path strings.Builder
	for y := range size {
		for x := range size {
			if r, _, _, _ := code.At(x, y).RGBA(); r == 0 {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x, y)
			}
		}
	}
	return template.HTML(fmt.Sprintf(`<svg class="qr" viewBox="0 0 %d %[1]d" role="img" aria-label="QR code for an authenticator app" shape-rendering="crispEdges"><path fill="#000" d="%s"/></svg>`, size, path.String())), nil //nolint:gosec // G203: numbers only
}
