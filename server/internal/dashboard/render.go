package dashboard

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

//go:embed templates/*.html
var templateFiles embed.FS

// livePrefix begins the name of a template whose text a stream sends again when it
// changes; the element with data-live of the rest of its name is its place.
const livePrefix = "live:"

// pages are the templates, each page with the layout and the shared parts.
type pages struct {
	// A page that follows what happens is rendered without relative times: they
	// would change at every look, and the script writes them anyway.
	whole, following map[string]*template.Template
	live             map[string][]string // page -> names of its live templates
}

// loadPages parses every template. A page is a file of templates/ whose name does
// not begin with an underscore.
func loadPages(c *Console) (*pages, error) {
	p := &pages{whole: map[string]*template.Template{}, following: map[string]*template.Template{}, live: map[string][]string{}}
	files, err := fs.ReadDir(templateFiles, "templates")
	if err != nil {
		return nil, err
	}
	shared, err := template.New("_layout.html").Funcs(c.functions(false)).Option("missingkey=error").ParseFS(templateFiles, "templates/_*.html")
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".html")
		if strings.HasPrefix(name, "_") {
			continue
		}
		for _, following := range []bool{false, true} {
			t, err := shared.Clone()
			if err == nil {
				t, err = t.Funcs(c.functions(following)).ParseFS(templateFiles, "templates/"+f.Name())
			}
			if err != nil {
				return nil, fmt.Errorf("dashboard: %w", err)
			}
			if following {
				p.following[name] = t
				continue
			}
			p.whole[name] = t
			for _, part := range t.Templates() {
				if strings.HasPrefix(part.Name(), livePrefix) {
					p.live[name] = append(p.live[name], part.Name())
				}
			}
			slices.Sort(p.live[name])
		}
	}
	return p, nil
}

// page is what every template is given.
type page struct {
	Title   string // of the document, and of the first heading
	Section string // of the navigation
	Me      *me    // nil: nobody is signed in
	Nav     []navItem
	Notice  *notice
	News    []admin.Notice // what happened to the account since its sign-in before
	Live    bool           // the page follows what happens
	Data    any
}

// me is who is signed in, for templates.
type me struct {
	Name, Role, Person string

	may func(authz.Permission) bool
}

// May reports whether the reader has a permission. A page shows by it what can be
// done; whether it is done is decided where it is done.
func (m *me) May(p string) bool { return m != nil && m.may(authz.Permission(p)) }

// notice is a line above a page: what happened.
type notice struct {
	Kind  string // done, wrong, or note
	Title string
	Text  string
}

// navItem is a line of the navigation.
type navItem struct {
	Section, Title, Path, Icon string
	Count                      int // of what waits there
}

func (c *Console) navigation(who *me) []navItem {
	all := []struct {
		navItem

		need authz.Permission
	}{
		{navItem{Section: "overview", Title: "Overview", Path: "/dashboard", Icon: "overview"}, authz.Self},
		{navItem{Section: "devices", Title: "Devices", Path: "/dashboard/devices", Icon: "device"}, authz.DeviceRead},
		{navItem{Section: "reviews", Title: "Reviews", Path: "/dashboard/reviews", Icon: "review"}, authz.ApprovalRead},
		{navItem{Section: "commands", Title: "Commands", Path: "/dashboard/commands", Icon: "command"}, authz.CommandRead},
		{navItem{Section: "enrollment", Title: "Enrollment", Path: "/dashboard/enrollment", Icon: "token"}, authz.EnrollmentRead},
		{navItem{Section: "accounts", Title: "Accounts", Path: "/dashboard/accounts", Icon: "people"}, authz.AccountRead},
		{navItem{Section: "audit", Title: "Audit log", Path: "/dashboard/audit", Icon: "audit"}, authz.AuditRead},
	}
	var items []navItem
	for _, i := range all {
		if who.may(i.need) {
			items = append(items, i.navItem)
		}
	}
	return items
}

// newPage begins a page for the caller of a request.
func (c *Console) newPage(r *http.Request, section, title string, data any) *page {
	p := &page{Title: title, Section: section, Data: data}
	if who := callerOf(r); who.Account.ID != "" {
		p.Me = &me{who.Account.Name, string(who.Account.Role), who.Account.Person, who.May}
		p.Nav = c.navigation(p.Me)
		p.News = who.Notices
	}
	p.Notice = noticeOf(r)
	return p
}

// show answers with a page. It is rendered before the answer begins: a page that
// cannot be rendered is an error, and not half a page.
func (c *Console) show(w http.ResponseWriter, r *http.Request, status int, name string, p *page) {
	p.Live = len(c.pages.live[name]) > 0 && p.Me != nil
	var b bytes.Buffer
	if err := c.pages.whole[name].ExecuteTemplate(&b, "_layout.html", p); err != nil {
		c.logError(r.Context(), err)
		http.Error(w, "Something went wrong in the server; its log says what.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Add("Vary", "Accept")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes())
	}
}

// refuse answers with a page that says what is wrong and what to do.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	p := c.newPage(r, "", title, text)
	p.Notice = nil
	c.show(w, r, status, "wrong", p)
}

// notices are what a page that was redirected to may say: the address carries a
// word of this list and no text.
var notices = map[string]notice{
	"suspended":    {"done", "The device is suspended", "It was stopped at once, on every node, and stays so until it is resumed."},
	"waits":        {"note", "It waits for others to agree", "What you asked for is under Reviews, for others than you."},
	"revoked":      {"done", "The device is revoked", "Its certificates ended at once, on every node. This is final."},
	"approved":     {"done", "Your approval is recorded", "What you approved is what was shown, bound by its digest."},
	"rejected":     {"done", "Your rejection is recorded", "It will not happen."},
	"cancelled":    {"done", "The command is taken back", "Devices that had not begun it will not run it."},
	"token-ended":  {"done", "The token is revoked", "No device can enroll with it any more."},
	"window-open":  {"note", "The enrollment window is open", "New devices are let in without a review until it closes."},
	"window-shut":  {"done", "The enrollment window is closed", "Every new device is reviewed again."},
	"sent":         {"done", "The command is on its way", "This page follows what becomes of it."},
	"asked":        {"note", "The command waits for another person", "It is signed and sent once it is approved."},
	"account-made": {"done", "The account is made", ""},
	"account":      {"done", "The account is changed", "Where rights or the password changed, its sessions have ended."},
	"session":      {"done", "The session is ended", "On every node, at once."},
	"password":     {"done", "Your password is changed", "All your sessions have ended. Sign in with the new one."},
	"totp-removed": {"done", "The code generator is removed", "Its recovery codes went with it."},
	"passkey":      {"done", "The passkey is registered", "Sign in with it next time."},
	"passkey-gone": {"done", "The passkey is removed", ""},
	"carried-out":  {"done", "It is approved and carried out", "What was carried out is what was shown, bound by its digest."},
	"signed-out":   {"done", "You are signed out", ""},
	"bulk":         {"done", "Done for all that were chosen", ""},
	"bulk-partly":  {"wrong", "Done for some only", "For the others it was not possible as things stand; the audit log says which."},
}

func noticeOf(r *http.Request) *notice {
	n, ok := notices[r.URL.Query().Get("done")]
	if !ok {
		return nil
	}
	return &n
}

// done redirects to a page that says so (RFC 9110 section 15.4.4: what follows is
// read with GET, and reloading it does nothing again).
func done(w http.ResponseWriter, r *http.Request, path, what string) {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	http.Redirect(w, r, path+sep+"done="+what, http.StatusSeeOther) //nolint:gosec // G710: a path of the console, by its routes
}
