package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) factorCommand() *cobra.Command {
	c := &cobra.Command{Use: "factor", GroupID: "operate", Short: "See and change what you prove yourself with beside your password"}
	c.Long = `factor lists and changes your own code generator, recovery codes and passkeys.
A change needs a sign-in of the last 5 minutes. Passkeys are enrolled in a browser.`
	c.AddCommand(p.factorList(), p.factorTOTP(), p.factorRecovery(), p.factorRemoveTOTP(), p.factorRemovePasskey())
	return c
}

func (p *program) factorList() *cobra.Command {
	type passkey struct {
		ID        string     `json:"id"`
		Name      string     `json:"name"`
		CreatedAt *time.Time `json:"created_at"`
		UsedAt    *time.Time `json:"used_at,omitempty"`
	}
	return p.apiCommand("list", "List your factors", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var f struct {
			TOTP         bool       `json:"totp"`
			TOTPSince    *time.Time `json:"totp_since,omitempty"`
			TOTPUsed     *time.Time `json:"totp_used_at,omitempty"`
			Passkeys     []passkey  `json:"passkeys"`
			RecoveryLeft int        `json:"recovery_codes_left"`
			MustPasskey  bool       `json:"must_passkey"`
		}
		if err := api.do(c.Context(), "GET", "/api/admin/factors", nil, &f); err != nil {
			return err
		}
		return o.show(f, func(w io.Writer) {
			row(w, "FACTOR", "NAME", "SINCE", "LAST USED", "ID")
			if f.TOTP {
				row(w, "code generator", counted(int64(f.RecoveryLeft), "recovery code")+" left", when(f.TOTPSince), when(f.TOTPUsed), "-")
			}
			for _, k := range f.Passkeys {
				row(w, "passkey", k.Name, when(k.CreatedAt), when(k.UsedAt), k.ID)
			}
		})
	})
}

func (p *program) factorTOTP() *cobra.Command {
	return p.apiCommand("totp", "Enroll a code generator (an authenticator app)", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var setup struct {
			Secret string `json:"secret"`
			URI    string `json:"uri"`
		}
		if err := api.do(c.Context(), "POST", "/api/admin/totp/start", nil, &setup); err != nil {
			return err
		}
		fmt.Fprintf(p.err, "Give this to your authenticator app; it is not shown again.\n\n  secret  %s\n  link    %s\n\n", setup.Secret, setup.URI)
		return p.untilTaken(true, func() error {
			code, err := p.ask(question{prompt: "The code that it shows now", what: "code that the authenticator app shows"})
			if err != nil {
				return err
			}
			return p.showRecovery(c, o, api, "/api/admin/totp/confirm", map[string]string{"code": code})
		})
	})
}

func (p *program) factorRecovery() *cobra.Command {
	return p.apiCommand("recovery-codes", "Make new recovery codes; the old ones are void", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		return p.showRecovery(c, o, api, "/api/admin/recovery-codes", nil)
	})
}

func (p *program) showRecovery(c *cobra.Command, o *operate, api *client, path string, in any) error {
	var out struct {
		Codes []string `json:"codes"`
	}
	if err := api.do(c.Context(), "POST", path, in, &out); err != nil {
		return err
	}
	return o.show(out, func(w io.Writer) {
		row(w, "Recovery codes, each good once in place of a code. Keep them apart from your password; they are not shown again.")
		for _, code := range out.Codes {
			row(w, "  "+code)
		}
	})
}

func (p *program) factorRemoveTOTP() *cobra.Command {
	return p.apiCommand("remove-totp", "Take your code generator and recovery codes away", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		if err := api.do(c.Context(), "POST", "/api/admin/totp/remove", nil, nil); err != nil {
			return err
		}
		return o.show(map[string]string{"result": "removed"}, func(w io.Writer) { row(w, "Removed.") })
	})
}

func (p *program) factorRemovePasskey() *cobra.Command {
	return p.apiCommand("remove-passkey ID", "Take one of your passkeys away", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if err := api.do(c.Context(), "POST", "/api/admin/passkeys/"+url.PathEscape(args[0])+"/remove", nil, nil); err != nil {
			return err
		}
		return o.show(map[string]string{"id": args[0], "result": "removed"}, func(w io.Writer) { row(w, "Removed.") })
	})
}

// permissionList reads "a b", "a,b" and repeated flags alike.
func permissionList(values []string) []string {
	list := []string{}
	for _, v := range values {
		list = append(list, strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return list
}
