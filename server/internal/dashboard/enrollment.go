package dashboard

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
)

// maxTokens is how many tokens the page shows: the newest.
const maxTokens = 100

// enrollmentData is what a fleet needs to let devices in.
type enrollmentData struct {
	Tokens  []tokenRow
	MayRead bool
	Window  *enroll.Window // nil: closed
	Fleet   *Fleet         // nil: none yet
	Problem string         // why there is none
	Made    *madeToken     // just now; shown once
}

type tokenRow struct {
	enroll.Token

	Standing string
	Labels   map[string]string
}

// madeToken is a token with its secret, which this page alone shows.
type madeToken struct {
	enroll.Token

	Secret, Line, Rest string
}

func (c *Console) enrollmentPage(r *http.Request) (enrollmentData, error) {
	ctx := r.Context()
	d := enrollmentData{MayRead: callerOf(r).May(authz.EnrollTokenRead)}
	var err error
	if d.Fleet, err = c.deps.Fleet(ctx); err != nil {
		_, d.Problem, _, _ = meaning(err)
		d.Fleet = nil
	}
	if d.Window, err = c.deps.Tokens.Window(ctx); err != nil {
		return d, err
	}
	if !d.MayRead {
		return d, nil
	}
	list, err := c.deps.Tokens.Tokens(ctx, maxTokens)
	now := c.deps.Now()
	for _, t := range list {
		d.Tokens = append(d.Tokens, tokenRow{t, t.Standing(now), t.LabelMap()})
	}
	return d, err
}

func (c *Console) enrollment(r *http.Request) (*page, error) {
	d, err := c.enrollmentPage(r)
	if err != nil {
		return nil, err
	}
	return c.newPage(r, "enrollment", "Enrollment", d), nil
}

// createToken answers with the page itself and not with a redirect: the secret is
// in no address and in no store, and whoever reloads asks for another token.
func (c *Console) createToken(w http.ResponseWriter, r *http.Request) {
	n, err := tokenOf(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	t, secret, err := c.deps.Tokens.CreateToken(r.Context(), acting(r), n)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	d, err := c.enrollmentPage(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	d.Made = &madeToken{Token: *t, Secret: secret}
	if d.Fleet != nil {
		// Without the fleet root's digest: a device that believes what this server prints
		// trusts on first use, and says so. The digest reaches it by another way.
		d.Made.Line = "sentinel-agent enroll --server " + d.Fleet.MachineURL + " --token " + secret + " --ca-fingerprint " + d.Fleet.CAFingerprint
		d.Made.Rest = "--fleet-root " + d.Fleet.RootDigest
	}
	c.show(w, r, http.StatusCreated, "enrollment", c.newPage(r, "enrollment", "Enrollment", d))
}

func tokenOf(r *http.Request) (n enroll.NewToken, err error) {
	if err := form(r); err != nil {
		return n, err
	}
	uses, err := strconv.ParseInt(r.PostFormValue("uses"), 10, 64)
	if err != nil {
		return n, inputError("the number of devices must be a whole number")
	}
	hours, err := strconv.ParseInt(r.PostFormValue("hours"), 10, 32)
	if err != nil || hours < 1 {
		return n, inputError("the time must be a whole number of hours")
	}
	n = enroll.NewToken{
		Note: r.PostFormValue("note"), Uses: uses, Life: time.Duration(hours) * time.Hour, DeviceName: r.PostFormValue("device_name"),
		Owner: r.PostFormValue("owner"), Sensitive: r.PostFormValue("sensitive") == "yes",
	}
	for each := range strings.SplitSeq(r.PostFormValue("labels"), ",") {
		if each = strings.TrimSpace(each); each == "" {
			continue
		}
		k, v, ok := strings.Cut(each, "=")
		if !ok {
			return n, inputError("labels are written key=value, with commas between them")
		}
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return n, nil
}

func (c *Console) revokeToken(w http.ResponseWriter, r *http.Request) {
	c.withReason(w, r, "/dashboard/enrollment", "token-ended", func(reason string) error {
		return c.deps.Tokens.RevokeToken(r.Context(), acting(r), r.PathValue("id"), reason)
	})
}

func (c *Console) openWindow(w http.ResponseWriter, r *http.Request) {
	c.withReason(w, r, "/dashboard/enrollment", "window-open", func(reason string) error {
		minutes, err := strconv.ParseInt(r.PostFormValue("minutes"), 10, 32)
		if err != nil {
			return inputError("the time must be a whole number of minutes")
		}
		_, err = c.deps.Tokens.OpenWindow(r.Context(), acting(r), time.Duration(minutes)*time.Minute, reason)
		return err
	})
}

func (c *Console) closeWindow(w http.ResponseWriter, r *http.Request) {
	c.withReason(w, r, "/dashboard/enrollment", "window-shut", func(reason string) error {
		return c.deps.Tokens.CloseWindow(r.Context(), acting(r), reason)
	})
}

// withReason is the shape of a form that needs a reason and leads back to a page.
func (c *Console) withReason(w http.ResponseWriter, r *http.Request, back, said string, do func(reason string) error) {
	err := form(r)
	var reason string
	if err == nil {
		reason, err = reasonOf(r)
	}
	if err == nil {
		err = do(reason)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	done(w, r, back, said)
}
