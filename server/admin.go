package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

type account struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Person     string     `json:"person"`
	Role       string     `json:"role"`
	Active     bool       `json:"active"`
	SignedInAt *time.Time `json:"signed_in_at,omitempty"`
	Waits      *waits     `json:"waits,omitempty"`
}

// until says that rights wait for another person, and where.
func (w *waits) until(is string) string {
	return is + " until another person with account:review agrees: sentinel-server approval show " + w.ApprovalID
}

func (p *program) adminCommand() *cobra.Command {
	c := &cobra.Command{Use: "admin", GroupID: "operate", Short: "Make, see and change the accounts of people"}
	list := p.apiCommand("list", "List accounts", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var list page[account]
		if err := api.do(c.Context(), "GET", "/api/admin/accounts?limit=500", nil, &list); err != nil {
			return err
		}
		return o.show(list, func(w io.Writer) {
			row(w, "NAME", "ROLE", "PERSON", "ACTIVE", "LAST SIGN-IN", "ID")
			for _, a := range list.Items {
				row(w, a.Name, a.Role, a.Person, a.Active, when(a.SignedInAt), a.ID)
			}
		})
	})
	c.AddCommand(list, p.adminCreate(), p.adminUpdate("disable", "Close an account and end its sign-ins", true), p.adminUpdate("enable", "Open a closed account", false),
		p.adminInvite(), p.adminInvitations(), p.adminUninvite(), p.adminRedeem(), p.adminBreakGlass(), p.adminResetFactors())
	return c
}

func (p *program) adminCreate() *cobra.Command {
	var local, oneTime, mustPasskey bool
	var name, person, role, passwordFile string
	c := p.apiCommand("create", "Make an account", nil, nil)
	at := "" // where the account signs in
	remote := func(c *cobra.Command, server, password string) (made account, err error) {
		api, err := p.newClient(server)
		if err != nil {
			return account{}, err
		}
		at = api.server
		in := map[string]any{"name": name, "role": role, "password": password, "one_time_password": oneTime, "must_passkey": mustPasskey}
		if person != "" {
			in["person"] = person
		}
		err = api.do(c.Context(), "POST", "/api/admin/accounts", in, &made)
		return made, err
	}
	c.Long = `create makes an account. The first one is made on the server's host with --local,
which needs no sign-in but the server's files and database (with SQLite, stop the
server first). Every use of --local is in the audit log.

The password is asked for, read from --password-file, or from standard input.`
	c.RunE = func(c *cobra.Command, _ []string) error {
		if name == "" {
			return usageError{errors.New("--name is needed")}
		}
		if !authz.Role(role).Known() {
			return usageError{errors.New("--role must be viewer, operator, approver, security or admin")}
		}
		password, err := p.choose(&newPassword{question: question{prompt: "Password of the new account (15 characters or more)", what: "password of the new account", flag: "--password-file", file: passwordFile}})
		if err != nil {
			return err
		}
		var made account
		if local {
			err = p.withCore(func(c *cobra.Command, core *app.Core) error {
				a, err := core.Admin.CreateLocal(c.Context(), admin.NewAccount{Name: name, Person: person, Role: authz.Role(role), Password: password, OneTime: oneTime, MustPasskey: mustPasskey})
				at = core.Config.PeopleURL
				made = account{ID: a.ID, Name: a.Name, Person: a.Person, Role: string(a.Role), Active: true}
				return err
			})(c, nil)
		} else {
			server, _ := c.Flags().GetString("server")
			made, err = remote(c, server, password)
		}
		if err != nil {
			return err
		}
		output, _ := c.Flags().GetString("output")
		o := &operate{program: p, output: output}
		return o.show(made, func(w io.Writer) {
			login := "sentinel-server login --name " + made.Name
			if at != defaultServer {
				login += " --server " + at
			}
			row(w, fmt.Sprintf("Made %s with the role %s. Sign in with: %s", made.Name, made.Role, login))
			if made.Waits != nil {
				row(w, made.Waits.until(made.Name+" is a "+made.Role))
			}
		})
	}
	f := c.Flags()
	f.BoolVar(&local, "local", false, "on the server's host, without a sign-in")
	f.StringVar(&name, "name", "", "name to sign in with")
	f.StringVar(&person, "person", "", "whose it is; two accounts of one person count once (default: the name)")
	f.StringVar(&role, "role", "viewer", "viewer, operator, approver, security or admin")
	f.BoolVar(&oneTime, "one-time-password", false, "the password is good for one sign-in, which sets another")
	f.BoolVar(&mustPasskey, "must-passkey", false, "once the account has a passkey, its password opens nothing")
	f.StringVar(&passwordFile, "password-file", "", passwordFileHelp("the password"))
	return c
}

func (p *program) adminUpdate(name, short string, disabled bool) *cobra.Command {
	var reason string
	c := p.apiCommand(name+" NAME", short, cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		id, err := accountID(c, api, args[0])
		if err != nil {
			return err
		}
		var a account
		if err := api.do(c.Context(), "POST", "/api/admin/accounts/"+url.PathEscape(id)+"/update", map[string]any{"disabled": disabled, "reason": reason}, &a); err != nil {
			return err
		}
		return o.show(a, func(w io.Writer) {
			if a.Waits != nil {
				row(w, a.Waits.until(a.Name+" stays as it is"))
				return
			}
			row(w, "Done.")
		})
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}

func accountID(c *cobra.Command, api *client, name string) (string, error) {
	after := ""
	for {
		var list page[account]
		if err := api.do(c.Context(), "GET", "/api/admin/accounts?limit=500&after="+url.QueryEscape(after), nil, &list); err != nil {
			return "", err
		}
		for _, a := range list.Items {
			if a.Name == name {
				return a.ID, nil
			}
		}
		if after = list.Next; after == "" {
			return "", fmt.Errorf("there is no account %s; see: sentinel-server admin list", name)
		}
	}
}
