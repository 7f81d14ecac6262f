package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

type invitation struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Person    string     `json:"person"`
	Role      string     `json:"role"`
	Inviter   string     `json:"inviter"`
	ExpiresAt *time.Time `json:"expires_at"`
	Secret    string     `json:"secret,omitempty"`
}

func (p *program) adminInvite() *cobra.Command {
	var name, person, role string
	var grants []string
	var life time.Duration
	c := p.apiCommand("invite", "Invite a person to make one account, of this name and role", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		if name == "" {
			return usageError{errors.New("--name is needed: the account that the invitation is for")}
		}
		in := map[string]any{"name": name, "role": role, "life_seconds": int(life.Seconds())}
		if person != "" {
			in["person"] = person
		}
		if list := permissionList(grants); len(list) > 0 {
			in["grants"] = list
		}
		var made invitation
		if err := api.do(c.Context(), "POST", "/api/admin/invitations", in, &made); err != nil {
			return err
		}
		return o.show(made, func(w io.Writer) {
			row(w, "Invitation for "+made.Name+" ("+made.Role+"), until "+when(made.ExpiresAt)+". It is not shown again:")
			row(w, "  "+made.Secret)
			row(w, "Its owner runs: sentinel-server admin redeem --name "+made.Name+" --server "+api.server)
		})
	})
	f := c.Flags()
	f.StringVar(&name, "name", "", "name of the account to be made")
	f.StringVar(&person, "person", "", "whose it is (default: the name)")
	f.StringVar(&role, "role", "viewer", "viewer, operator, approver, security or admin")
	f.StringSliceVar(&grants, "grant", nil, "a permission beside those of the role; repeatable")
	f.DurationVar(&life, "life", 72*time.Hour, "how long it can be redeemed, at most 336h")
	return c
}

func (p *program) adminInvitations() *cobra.Command {
	return p.apiCommand("invitations", "List invitations that can still be redeemed", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var list page[invitation]
		if err := api.do(c.Context(), "GET", "/api/admin/invitations", nil, &list); err != nil {
			return err
		}
		return o.show(list, func(w io.Writer) {
			row(w, "NAME", "ROLE", "PERSON", "BY", "UNTIL", "ID")
			for _, i := range list.Items {
				row(w, i.Name, i.Role, i.Person, i.Inviter, when(i.ExpiresAt), i.ID)
			}
		})
	})
}

func (p *program) adminUninvite() *cobra.Command {
	return p.apiCommand("uninvite ID", "Take an invitation back", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if err := api.do(c.Context(), "POST", "/api/admin/invitations/"+url.PathEscape(args[0])+"/revoke", nil, nil); err != nil {
			return notFound(err, "invitation", args[0], "admin invitations")
		}
		return o.show(map[string]string{"id": args[0], "result": "revoked"}, func(w io.Writer) { row(w, "Taken back.") })
	})
}

func (p *program) adminRedeem() *cobra.Command {
	var name, passwordFile string
	c := p.apiCommand("redeem", "Make the account that an invitation is for", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		if name == "" {
			return usageError{errors.New("--name is needed: the name that the invitation was written for")}
		}
		secret, err := p.ask(question{prompt: "Invitation", what: "invitation"})
		if err != nil {
			return err
		}
		password, err := p.choose(&newPassword{question: question{prompt: "A password of your own (15 characters or more)", what: "password of your own", flag: "--password-file", file: passwordFile}})
		if err != nil {
			return err
		}
		var out signedIn
		api.token = ""
		if err := api.do(c.Context(), "POST", "/api/admin/invitations/redeem", map[string]string{"secret": secret, "name": name, "password": password}, &out); err != nil {
			return err
		}
		return p.keepLogin(o, api, name, &out)
	})
	c.Flags().StringVar(&name, "name", "", "name that the invitation was written for")
	c.Flags().StringVar(&passwordFile, "password-file", "", passwordFileHelp("the password to set"))
	return c
}

func (p *program) apiTokenCommand() *cobra.Command {
	type apiToken struct {
		ID          string     `json:"id"`
		Name        string     `json:"name"`
		Permissions []string   `json:"permissions"`
		Maker       string     `json:"maker"`
		ExpiresAt   *time.Time `json:"expires_at"`
		UsedAt      *time.Time `json:"used_at,omitempty"`
		RevokedAt   *time.Time `json:"revoked_at,omitempty"`
		Token       string     `json:"token,omitempty"`
	}
	c := &cobra.Command{Use: "api-token", GroupID: "operate", Short: "Make, see and end the tokens of machines that call the API"}
	var name string
	var permissions []string
	var life time.Duration
	create := p.apiCommand("create", "Make a token; its secret is shown once", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		list := permissionList(permissions)
		if name == "" || len(list) == 0 {
			return usageError{errors.New("--name and --permission are needed")}
		}
		var made apiToken
		if err := api.do(c.Context(), "POST", "/api/admin/api-tokens", map[string]any{"name": name, "permissions": list, "life_seconds": int(life.Seconds())}, &made); err != nil {
			return err
		}
		return o.show(made, func(w io.Writer) {
			row(w, "Token of "+made.Name+", until "+when(made.ExpiresAt)+". It is not shown again:")
			row(w, "  "+made.Token)
		})
	})
	f := create.Flags()
	f.StringVar(&name, "name", "", "as the audit log names the machine")
	f.StringSliceVar(&permissions, "permission", nil, "one of your own, and none that only a person may use; repeatable")
	f.DurationVar(&life, "life", 90*24*time.Hour, "how long it counts, at most 8784h")
	list := p.apiCommand("list", "List tokens", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var list page[apiToken]
		if err := api.do(c.Context(), "GET", "/api/admin/api-tokens", nil, &list); err != nil {
			return err
		}
		return o.show(list, func(w io.Writer) {
			row(w, "NAME", "BY", "UNTIL", "LAST USED", "REVOKED", "ID", "PERMISSIONS")
			for _, t := range list.Items {
				row(w, t.Name, t.Maker, when(t.ExpiresAt), when(t.UsedAt), when(t.RevokedAt), t.ID, strings.Join(t.Permissions, ", "))
			}
		})
	})
	revoke := p.apiCommand("revoke ID", "End a token at once", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if err := api.do(c.Context(), "POST", "/api/admin/api-tokens/"+url.PathEscape(args[0])+"/revoke", nil, nil); err != nil {
			return notFound(err, "token", args[0], "api-token list")
		}
		return o.show(map[string]string{"id": args[0], "result": "revoked"}, func(w io.Writer) { row(w, "Ended.") })
	})
	c.AddCommand(create, list, revoke)
	return c
}

func (p *program) adminBreakGlass() *cobra.Command {
	c := &cobra.Command{Use: "break-glass", Short: "The way in when every other is lost: two sealed codes"}
	var keepers []string
	create := &cobra.Command{Use: "create", Short: "Make the two codes, on the server's host; those made before are void"}
	create.Long = `create makes two codes and prints each once. Seal each in an envelope of its own and
give them to two people. Both together, once, open an account with the role admin:
see docs/accounts.md. With SQLite, stop the server first.`
	create.RunE = p.withCore(func(c *cobra.Command, core *app.Core) error {
		if len(keepers) != 2 {
			return usageError{errors.New("--keeper is needed twice: the two people who keep the codes")}
		}
		first, second, err := core.Admin.CreateBreakGlass(c.Context(), authz.Host("admin break-glass create"), keepers[0], keepers[1])
		if err != nil {
			return err
		}
		fmt.Fprintf(p.out, "For %s:\n  %s\n\nFor %s:\n  %s\n\nSeal each by itself. Neither is shown again, or of use alone.\n", keepers[0], first, keepers[1], second)
		return nil
	})
	create.Flags().StringArrayVar(&keepers, "keeper", nil, "who keeps a code; give it twice")
	var name, passwordFile string
	use := p.apiCommand("use", "Open an account with the role admin with both codes, and set its password", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		if name == "" {
			return usageError{errors.New("--name is needed: the account to open")}
		}
		first, err := p.ask(question{prompt: "One code", what: "first code"})
		if err != nil {
			return err
		}
		second, err := p.ask(question{prompt: "The other code", what: "second code"})
		if err != nil {
			return err
		}
		next := newPassword{
			question: question{prompt: "New password (15 characters or more)", what: "new password", flag: "--new-password-file", file: passwordFile},
			lost:     "the codes are used up: make new ones on the server's host (admin break-glass create)",
		}
		// The server judges the password first: the codes are good for one use.
		var out signedIn
		api.token = ""
		if err := p.untilTaken(passwordFile == "", func() error {
			password, err := p.choose(&next)
			if err != nil {
				return err
			}
			in := map[string]string{"first": first, "second": second, "name": name, "new_password": password}
			if err := api.do(c.Context(), "POST", "/api/admin/break-glass", in, &out); err != nil {
				return err
			}
			next.given = password
			return nil
		}); err != nil {
			return err
		}
		if err := p.steps(c, api, &out, "", next); err != nil {
			return err
		}
		return p.keepLogin(o, api, name, &out)
	})
	use.Flags().StringVar(&name, "name", "", "account with the role admin")
	use.Flags().StringVar(&passwordFile, "new-password-file", "", passwordFileHelp("the password to set"))
	c.AddCommand(create, use)
	return c
}

// adminResetFactors is for whoever owns the host: over the network, resetting
// another's factors is a matter for two people.
func (p *program) adminResetFactors() *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "reset-factors NAME", Args: cobra.ExactArgs(1), Short: "Take an account's factors away, on the server's host"}
	c.Long = `reset-factors removes code generator, recovery codes and passkeys of an account, ends
its sessions, and tells its owner. It needs the server's files and database (with
SQLite, stop the server first), and is in the audit log.`
	c.RunE = func(c *cobra.Command, args []string) error {
		return p.withCore(func(c *cobra.Command, core *app.Core) error {
			id, err := core.Admin.IDOf(c.Context(), args[0])
			if err != nil {
				return fmt.Errorf("%w; see: sentinel-server admin list", err)
			}
			err = core.DB.Write(c.Context(), func(ctx context.Context, tx db.Tx) error {
				return admin.ResetFactors(ctx, tx, authz.Host("admin reset-factors"), id, reason)
			})
			if err == nil {
				fmt.Fprintf(p.out, "%s has no factors but its password now.\n", args[0])
			}
			return err
		})(c, nil)
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}
