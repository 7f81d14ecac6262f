package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// addOperate adds the commands that talk to the API.
func (p *program) addOperate(root *cobra.Command) {
	root.AddCommand(p.loginCommand(), p.logoutCommand(), p.statusCommand(), p.deviceCommand(), p.approvalCommand(), p.enrollmentCommand(),
		p.enrollTokenCommand(), p.enrollWindowCommand(), p.fleetCommand(), p.commandCommand(), p.policyCommand(), p.sessionCommand(), p.factorCommand(), p.apiTokenCommand(), p.auditCommand())
}

func (p *program) loginCommand() *cobra.Command {
	var name, passwordFile, codeFile, newPasswordFile, caFile string
	c := p.apiCommand("login", "Sign in; commands after it use the sign-in", nil, func(c *cobra.Command, o *operate, _ *client, _ []string) error {
		saved := savedLogin{Server: first(o.server, p.env("SENTINEL_SERVER"), p.lastServer(), defaultServer), CAFile: first(caFile, p.env("SENTINEL_CA_FILE"))}
		api, err := newAPIClient(saved)
		if err != nil {
			return err
		}
		if name == "" {
			return usageError{errors.New("--name is needed: the account to sign in with")}
		}
		password, err := p.password("Password: ", passwordFile)
		if err != nil {
			return err
		}
		var out signedIn
		api.token = ""
		if err := api.do(c.Context(), "POST", "/api/admin/login", map[string]string{"name": name, "password": password}, &out); err != nil {
			return err
		}
		if err := p.steps(c, api, &out, codeFile, newPasswordFile); err != nil {
			return err
		}
		// The sign-in that this one replaces would live on unseen.
		if before, err := p.newClient(saved.Server); err == nil && before.token != "" {
			_ = before.do(c.Context(), "POST", "/api/admin/logout", nil, nil) // it may have ended by itself
		}
		return p.keepLogin(o, api, name, &out)
	})
	c.GroupID = "operate"
	c.Flags().StringVar(&name, "name", "", "account name")
	c.Flags().StringVar(&passwordFile, "password-file", "", "file that holds the password; - reads standard input")
	c.Flags().StringVar(&codeFile, "code-file", "", "file that holds the code of the second step, or a recovery code")
	c.Flags().StringVar(&newPasswordFile, "new-password-file", "", "file that holds the password to set when yours is a one-time password")
	c.Flags().StringVar(&caFile, "ca-file", "", "certificate of the authority that the server's own is from, on its people side (PEM)")
	return c
}

// signedIn is a session as the API opens it.
type signedIn struct {
	Token     string     `json:"token"`
	ExpiresAt *time.Time `json:"expires_at"`
	Due       string     `json:"due"`
	Me        struct {
		Notices []struct {
			At     *time.Time `json:"at"`
			Kind   string     `json:"kind"`
			Detail string     `json:"detail"`
			Source string     `json:"source"`
		} `json:"notices"`
	} `json:"me"`
}

// steps takes the steps that a sign-in still misses.
func (p *program) steps(c *cobra.Command, api *client, out *signedIn, codeFile, newPasswordFile string) error {
	for range 2 {
		step := map[string]string{}
		path := "/api/admin/login/"
		switch out.Due {
		case "":
			return nil
		case "second-factor":
			code, err := p.password("Code of your code generator, or a recovery code: ", codeFile)
			if err != nil {
				return err
			}
			path, step["code"] = path+"second-step", code
		case "new-password":
			fmt.Fprintln(p.err, "Your password was good for this once. Choose one of your own.")
			password, err := p.newPassword("New password (15 characters or more): ", newPasswordFile)
			if err != nil {
				return err
			}
			path, step["password"] = path+"new-password", password
		default:
			return fmt.Errorf("the server asks for a step that this program does not know (%s); use one of the server's version", out.Due)
		}
		api.token = out.Token
		*out = signedIn{}
		if err := api.do(c.Context(), "POST", path, step, out); err != nil {
			return err
		}
	}
	if out.Due != "" {
		return errors.New("the sign-in does not come to an end; sign in again")
	}
	return nil
}

// keepLogin saves a sign-in for the commands after it, and tells what happened to the
// account meanwhile.
func (p *program) keepLogin(o *operate, api *client, name string, out *signedIn) error {
	path, err := p.loginPath()
	if err != nil {
		return err
	}
	data, err := json.Marshal(savedLogin{Server: api.server, Token: out.Token, CAFile: api.caFile})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := files.Replace(path, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return o.show(map[string]any{"name": name, "server": api.server, "expires_at": out.ExpiresAt, "notices": out.Me.Notices}, func(w io.Writer) {
		row(w, "Signed in at "+api.server+" as "+name+", until "+when(out.ExpiresAt)+" at the latest.")
		for _, n := range out.Me.Notices {
			row(w, "Since your last sign-in: "+when(n.At)+" "+n.Kind+": "+n.Detail+" "+n.Source)
		}
	})
}

func (p *program) logoutCommand() *cobra.Command {
	c := p.apiCommand("logout", "End the sign-in, here and on the server", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		if err := api.do(c.Context(), "POST", "/api/admin/logout", nil, nil); err != nil && !errors.Is(err, errNotSignedIn) {
			return err
		}
		if path, err := p.loginPath(); err == nil {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return o.show(map[string]string{"result": "signed out"}, func(w io.Writer) { row(w, "Signed out.") })
	})
	c.GroupID = "operate"
	return c
}

// password reads a secret without showing it: from a file, from standard input,
// or from the terminal.
func (p *program) password(prompt, file string) (string, error) {
	if file != "" && file != "-" {
		data, err := files.ReadPrivate(file, 4<<10)
		return strings.TrimRight(string(data), "\r\n"), err
	}
	if in, ok := p.in.(*os.File); ok && file == "" && term.IsTerminal(int(in.Fd())) {
		fmt.Fprint(p.err, prompt)
		data, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(p.err)
		return string(data), err
	}
	if p.lines == nil {
		p.lines = bufio.NewReader(io.LimitReader(p.in, 16<<10)) // one for all questions: it reads ahead
	}
	line, err := p.lines.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("no password was given; type it, pipe it in, or use --password-file")
	}
	return line, nil
}

// newPassword is password, asked for twice at a terminal: nobody sees what they
// typed, and a slip would lock the account.
func (p *program) newPassword(prompt, file string) (string, error) {
	chosen, err := p.password(prompt, file)
	if in, ok := p.in.(*os.File); err != nil || !ok || file != "" || !term.IsTerminal(int(in.Fd())) {
		return chosen, err
	}
	again, err := p.password("Once more: ", "")
	if err == nil && again != chosen {
		err = errors.New("the two passwords are not the same; try again")
	}
	return chosen, err
}

func (p *program) statusCommand() *cobra.Command {
	c := p.apiCommand("status", "Say whether the server is ready, and why not; exits 0 only when it is", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var report struct {
			Ready  bool `json:"ready"`
			Checks []struct {
				Name   string `json:"name"`
				OK     bool   `json:"ok"`
				Reason string `json:"reason,omitempty"`
			} `json:"checks"`
		}
		if err := api.doAny(c.Context(), "/api/health/ready", &report); err != nil {
			return err
		}
		if err := o.show(report, func(w io.Writer) {
			for _, check := range report.Checks {
				row(w, check.Name, map[bool]string{true: "ok", false: "NOT OK"}[check.OK], check.Reason)
			}
		}); err != nil {
			return err
		}
		if !report.Ready {
			return errors.New("the server is not ready; what to do stands beside each check")
		}
		return nil
	})
	c.GroupID = "operate"
	return c
}

func (p *program) sessionCommand() *cobra.Command {
	type session struct {
		ID        string     `json:"id"`
		Account   string     `json:"account"`
		Source    string     `json:"source"`
		Agent     string     `json:"agent"`
		CreatedAt *time.Time `json:"created_at"`
		SeenAt    *time.Time `json:"seen_at"`
		Current   bool       `json:"current"`
	}
	c := &cobra.Command{Use: "session", GroupID: "operate", Short: "See and end sign-ins"}
	var all bool
	list := p.apiCommand("list", "List your sign-ins, or everyone's", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		path := "/api/admin/sessions"
		if all {
			path += "?all=true"
		}
		var list page[session]
		if err := api.do(c.Context(), "GET", path, nil, &list); err != nil {
			return err
		}
		return o.show(list, func(w io.Writer) {
			row(w, "ID", "ACCOUNT", "SINCE", "LAST USED", "FROM", "WITH")
			for _, s := range list.Items {
				row(w, s.ID, s.Account, when(s.CreatedAt), when(s.SeenAt), s.Source, s.Agent)
			}
		})
	})
	list.Flags().BoolVar(&all, "all", false, "everyone's")
	c.AddCommand(list, p.apiCommand("revoke ID", "End a sign-in", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if err := api.do(c.Context(), "POST", "/api/admin/sessions/"+url.PathEscape(args[0])+"/revoke", nil, nil); err != nil {
			return err
		}
		return o.show(map[string]string{"id": args[0], "result": "revoked"}, func(w io.Writer) { row(w, "Ended.") })
	}))
	return c
}

func (p *program) auditCommand() *cobra.Command {
	type entry struct {
		ID         string            `json:"id"`
		At         *time.Time        `json:"at"`
		ActorKind  string            `json:"actor_kind"`
		Actor      string            `json:"actor"`
		Action     string            `json:"action"`
		ObjectKind string            `json:"object_kind"`
		ObjectID   string            `json:"object_id"`
		Source     string            `json:"source"`
		Result     string            `json:"result"`
		Reason     string            `json:"reason"`
		Details    map[string]string `json:"details"`
	}
	c := &cobra.Command{Use: "audit", GroupID: "operate", Short: "See who did what"}
	query := map[string]*string{}
	list := p.apiCommand("list", "List audit entries, the newest first", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		q := url.Values{}
		for name, v := range query {
			if *v != "" {
				q.Set(name, *v)
			}
		}
		var list page[entry]
		if err := api.do(c.Context(), "GET", "/api/audit?"+q.Encode(), nil, &list); err != nil {
			return err
		}
		defer o.more(list.Next)
		return o.show(list, func(w io.Writer) {
			row(w, "TIME", "WHO", "ACTION", "ON", "RESULT", "REASON", "FROM")
			for _, e := range list.Items {
				row(w, when(e.At), first(e.Actor, e.ActorKind), e.Action, first(e.ObjectID, e.ObjectKind), e.Result, e.Reason, first(e.Source, "-"))
			}
		})
	})
	for name, help := range map[string]string{
		"actor": "account name or device_id", "action": "such as certificate.revoke", "object_id": "id of what was acted on",
		"result": "done or refused", "since": "RFC 3339 time", "until": "RFC 3339 time", "limit": "entries a page, at most 500", "after": "mark that the page before ended with",
	} {
		query[name] = list.Flags().String(name, "", help)
	}
	c.AddCommand(list)
	return c
}
