package dashboard

import (
	"crypto/rand"
	"errors"
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// accountsData is a page of the accounts.
type accountsData struct {
	Rows        []admin.Account
	Roles       []roleRow
	MayManage   bool
	Self        string // id of the reader's own account
	Made        *madeAccount
	Next, First string
}

// roleRow is a role with what it is for.
type roleRow struct {
	Name  authz.Role
	About string
}

var roleWords = map[authz.Role]string{
	authz.Viewer:   "looks at the fleet",
	authz.Operator: "runs the fleet from day to day: brings devices to the door, takes them out, sends commands",
	authz.Approver: "decides: lets devices in, agrees to commands",
	authz.Security: "protects, investigates, and gives back what was taken away",
	authz.Admin:    "manages people, and does everything that an operator does",
}

// madeAccount is an account with its one-time password, which this page alone
// shows.
type madeAccount struct {
	Name, Password string
	Waits          string // id of the request that its rights wait for, "" for none
}

func (c *Console) accountsPage(r *http.Request) (accountsData, error) {
	q := r.URL.Query()
	who := callerOf(r)
	d := accountsData{MayManage: who.May(authz.AccountManage), Self: who.Account.ID}
	for _, role := range authz.Roles() {
		d.Roles = append(d.Roles, roleRow{role, roleWords[role]})
	}
	rows, next, err := c.deps.Accounts.List(r.Context(), q.Get("after"), 50)
	if err != nil {
		return d, err
	}
	d.Rows = rows
	if next != "" {
		d.Next = withQuery(r.URL, "after", next)
	}
	if q.Get("after") != "" {
		d.First = withQuery(r.URL, "after", "")
	}
	return d, nil
}

func (c *Console) accounts(r *http.Request) (*page, error) {
	d, err := c.accountsPage(r)
	if err != nil {
		return nil, err
	}
	return c.newPage(r, "accounts", "Accounts", d), nil
}

// createAccount makes an account with a one-time password of the server's own, and
// answers with the page that shows it: it is in no address and in no store.
func (c *Console) createAccount(w http.ResponseWriter, r *http.Request) {
	if err := form(r); err != nil {
		c.fail(w, r, err)
		return
	}
	made := madeAccount{Password: oneTimePassword()}
	a, err := c.deps.Accounts.CreateAccount(r.Context(), acting(r), admin.NewAccount{
		Name: r.PostFormValue("name"), Person: r.PostFormValue("person"), Role: authz.Role(r.PostFormValue("role")), Password: made.Password,
		OneTime: true, MustPasskey: r.PostFormValue("must_passkey") == "yes",
	})
	a, made.Waits, err = waiting(a, err)
	made.Name = a.Name
	c.showMade(w, r, made, err)
}

// waiting tells a change of rights that waits for others, and stands without them,
// from one that failed.
func waiting(a admin.Account, err error) (admin.Account, string, error) {
	if e, ok := errors.AsType[*admin.WaitsError](err); ok {
		return e.Account, e.ApprovalID, nil
	}
	return a, "", err
}

func (c *Console) showMade(w http.ResponseWriter, r *http.Request, made madeAccount, err error) {
	if err != nil {
		c.fail(w, r, err)
		return
	}
	d, err := c.accountsPage(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	d.Made = &made
	c.show(w, r, http.StatusCreated, "accounts", c.newPage(r, "accounts", "Accounts", d))
}

// oneTimePassword is good for one sign-in, and has 130 bits of chance in it.
func oneTimePassword() string {
	text := rand.Text()
	return text[:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:20] + "-" + text[20:]
}

// updateAccount changes the role, disables or enables, or gives another one-time
// password.
func (c *Console) updateAccount(w http.ResponseWriter, r *http.Request) {
	if err := form(r); err != nil {
		c.fail(w, r, err)
		return
	}
	id := r.PathValue("id")
	if protocol.CheckID(id) != nil {
		c.fail(w, r, admin.ErrNotFound)
		return
	}
	reason, err := reasonOf(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	change := admin.Change{Reason: reason}
	made := madeAccount{}
	switch r.PostFormValue("act") {
	case "role":
		change.Role = new(authz.Role(r.PostFormValue("role")))
	case "disable":
		change.Disabled = new(true)
	case "enable":
		change.Disabled = new(false)
	case "password":
		made.Password = oneTimePassword()
		change.Password = &made.Password
	default:
		c.fail(w, r, inputError("choose what to change"))
		return
	}
	a, err := c.deps.Accounts.Update(r.Context(), acting(r), id, change)
	a, made.Waits, err = waiting(a, err)
	if made.Password != "" {
		made.Name = a.Name
		c.showMade(w, r, made, err)
		return
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	if made.Waits != "" {
		done(w, r, "/dashboard/accounts", "waits")
		return
	}
	done(w, r, "/dashboard/accounts", "account")
}
