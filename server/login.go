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

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// addOperate adds the commands that talk to the API.
func (p *program) addOperate(root *cobra.Command) {
	root.AddCommand(p.loginCommand(), p.logoutCommand(), p.statusCommand(), p.deviceCommand(), p.attestationCommand(), p.caCommand(), p.approvalCommand(), p.enrollmentCommand(),
		p.enrollTokenCommand(), p.enrollWindowCommand(), p.fleetCommand(), p.commandCommand(), p.policyCommand(), p.sessionCommand(), p.factorCommand(), p.apiTokenCommand(), p.auditCommand())
}

func (p *program) loginCommand() *cobra.Command {
	var name, passwordFile, codeFile, newPasswordFile, caFile string
	c := p.apiCommand("login", "Sign in; commands after it use the sign-in", nil, func(c *cobra.Command, o *operate, _ *client, _ []string) error {
		saved := savedLogin{Server: first(o.server, p.env("SENTINEL_SERVER"), p.lastServer(), defaultServer), CAFile: first(caFile, p.env("SENTINEL_CA_FILE"))}
		if saved.CAFile == "" {
			saved.CAFile = p.lastCAFile(saved.Server)
		}
		if saved.CAFile != "" { // it is kept, and read from other directories
			var err error
			if saved.CAFile, err = filepath.Abs(saved.CAFile); err != nil {
				return err
			}
		}
		api, err := newAPIClient(saved)
		if err != nil {
			return err
		}
		if name == "" {
			return usageError{errors.New("--name is needed: the account to sign in with")}
		}
		password, err := p.ask(question{prompt: "Password", what: "password", flag: "--password-file", file: passwordFile})
		if err != nil {
			return err
		}
		in := map[string]string{"name": name, "password": password}
		next := chosenAtLogin
		next.file = newPasswordFile
		if newPasswordFile != "" && newPasswordFile != "-" { // the server judges it before it uses up a one-time password
			if next.given, err = p.ask(next.question); err != nil {
				return err
			}
			in["new_password"] = next.given
		}
		var out signedIn
		api.token = ""
		if err := api.do(c.Context(), "POST", "/api/admin/login", in, &out); err != nil {
			return err
		}
		if err := p.steps(c, api, &out, codeFile, next); err != nil {
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
	c.Flags().StringVar(&passwordFile, "password-file", "", passwordFileHelp("the password"))
	c.Flags().StringVar(&codeFile, "code-file", "", "file that holds the code of the second step, or a recovery code (mode 0600)")
	c.Flags().StringVar(&newPasswordFile, "new-password-file", "", passwordFileHelp("the password to set when yours is a one-time password"))
	c.Flags().StringVar(&caFile, "ca-file", "", "certificate of the authority that the server's own is from, on its people side (PEM); default: the one of the last sign-in there")
	return c
}

// signedIn is a session as the API opens it.
type signedIn struct {
	Token     string     `json:"token"`
	ExpiresAt *time.Time `json:"expires_at"`
	Due       string     `json:"due"`
	Me        struct {
		Account account `json:"account"`
		Notices []struct {
			At     *time.Time `json:"at"`
			Kind   string     `json:"kind"`
			Detail string     `json:"detail"`
			Source string     `json:"source"`
		} `json:"notices"`
	} `json:"me"`
}

// steps takes the steps that a sign-in still misses. What a person typed and the
// server does not take is asked for again: the step waits for ten minutes, and what led
// to it may be used up.
func (p *program) steps(c *cobra.Command, api *client, out *signedIn, codeFile string, next newPassword) error {
	for range 2 {
		var path, member string
		var answer func() (string, error)
		var again bool
		switch out.Due {
		case "":
			return nil
		case "second-factor":
			path, member, again = "/api/admin/login/second-step", "code", codeFile == ""
			answer = func() (string, error) {
				return p.ask(question{prompt: "Code of your code generator, or a recovery code", what: "code", flag: "--code-file", file: codeFile})
			}
		case "new-password":
			path, member, again = "/api/admin/login/new-password", "password", next.file == ""
			if next.given == "" && next.before != "" {
				fmt.Fprintln(p.err, next.before)
			}
			answer = func() (string, error) { return p.choose(&next) }
		default:
			return fmt.Errorf("the server asks for a step that this program does not know (%s); use one of the server's version", out.Due)
		}
		api.token = out.Token
		err := p.untilTaken(again, func() error {
			text, err := answer()
			if err != nil {
				return err
			}
			var done signedIn
			if err := api.do(c.Context(), "POST", path, map[string]string{member: text}, &done); err != nil {
				return err
			}
			*out = done
			return nil
		})
		if err != nil && member == "password" && next.lost != "" {
			return fmt.Errorf("%w; %s", err, next.lost)
		}
		if err != nil {
			return err
		}
	}
	if out.Due != "" {
		return errors.New("the sign-in does not come to an end; sign in again")
	}
	return nil
}

// maxSlips bounds how often a person is asked for the same thing.
const maxSlips = 10

// untilTaken does f, and does it again after an answer that the server did not take,
// which it says. When there is no other answer, that is the error.
func (p *program) untilTaken(again bool, f func() error) error {
	var slip error
	for range maxSlips {
		err := f()
		problem, refused := errors.AsType[*protocol.Problem](err)
		switch {
		case slip != nil && errors.Is(err, errNothingGiven):
			return slip
		case err == nil || !again || !refused || problem.Code != httpkit.CodeInvalid && problem.Code != httpkit.CodeWrongCode:
			return err
		}
		slip = err
		fmt.Fprintln(p.err, plain(err.Error())+". Once more.")
	}
	return slip
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
	said := map[string]any{"name": name, "server": api.server, "expires_at": out.ExpiresAt, "notices": out.Me.Notices}
	waits := out.Me.Account.Waits
	if waits != nil {
		said["waits"] = waits
	}
	return o.show(said, func(w io.Writer) {
		row(w, "Signed in at "+api.server+" as "+name+", until "+when(out.ExpiresAt)+" at the latest.")
		if waits != nil {
			row(w, waits.until(name+" is a "+out.Me.Account.Role))
		}
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
			if err := p.forgetToken(path); err != nil {
				return err
			}
		}
		return o.show(map[string]string{"result": "signed out"}, func(w io.Writer) { row(w, "Signed out.") })
	})
	c.GroupID = "operate"
	return c
}

// forgetToken leaves of a sign-in where it was, for the next one.
func (p *program) forgetToken(path string) error {
	server := p.lastServer()
	if server == "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	data, err := json.Marshal(savedLogin{Server: server})
	if err != nil {
		return err
	}
	return files.Replace(path, append(data, '\n'), 0o600)
}

// question is a secret that is needed, and how else than by typing it can be given.
type question struct {
	prompt string // at a terminal
	what   string // in an error
	flag   string // that names a file with it; "": there is none
	file   string // what the flag says
}

// errNothingGiven is the end of the input where an answer was needed.
var errNothingGiven = errors.New("was not given")

// ask reads a secret without showing it: from a file, from standard input, or from the
// terminal.
func (p *program) ask(q question) (string, error) {
	if q.file != "" && q.file != "-" {
		data, err := files.ReadPrivate(q.file, 4<<10)
		text := strings.TrimRight(string(data), "\r\n")
		if err == nil && text == "" {
			err = fmt.Errorf("the %s %w: %s is empty", q.what, errNothingGiven, q.file)
		}
		return text, err
	}
	if in, ok := p.terminal(); ok && q.file == "" {
		fmt.Fprint(p.err, q.prompt+": ")
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
	switch {
	case line != "":
		return line, nil
	case q.flag == "":
		return "", fmt.Errorf("the %s %w; type it, or pipe it in", q.what, errNothingGiven)
	}
	return "", fmt.Errorf("the %s %w; type it, pipe it in, or use %s", q.what, errNothingGiven, q.flag)
}

// terminal is standard input where it is one.
func (p *program) terminal() (*os.File, bool) {
	in, ok := p.in.(*os.File)
	return in, ok && term.IsTerminal(int(in.Fd()))
}

// newPassword is a password that is to be set.
type newPassword struct {
	question
	given  string // read already, and not refused yet
	before string // what a person is told first
	lost   string // what it means when none is set
}

var chosenAtLogin = newPassword{
	question: question{prompt: "New password (15 characters or more)", what: "new password", flag: "--new-password-file"},
	before:   "Your password was good for this once. Choose one of your own.",
	lost:     "the one-time password is used up: an admin has to set another",
}

// choose asks for a password that is to be set, twice at a terminal: nobody sees what
// they typed, and a slip would lock the account.
func (p *program) choose(n *newPassword) (string, error) {
	if n.given != "" {
		given := n.given
		n.given = ""
		return given, nil
	}
	for range maxSlips {
		chosen, err := p.ask(n.question)
		if _, typed := p.terminal(); err != nil || n.file != "" || !typed {
			return chosen, err
		}
		if chosen == "" {
			fmt.Fprintln(p.err, "Nothing was typed.")
			continue
		}
		again, err := p.ask(question{prompt: "Once more", what: n.what})
		if err != nil || again == chosen {
			return chosen, err
		}
		fmt.Fprintln(p.err, "The two passwords are not the same.")
	}
	return "", errors.New("no password was typed twice alike; try again")
}

func passwordFileHelp(what string) string {
	return "file that holds " + what + " (mode 0600: for nobody but you); - reads standard input"
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
				standing := "ok"
				switch {
				case !check.OK:
					standing = "NOT OK"
				case check.Reason != "":
					standing = "warn"
				}
				row(w, check.Name, standing, check.Reason)
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
			return notFound(err, "sign-in", args[0], "session list")
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
				q.Set(strings.ReplaceAll(name, "-", "_"), *v)
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
		"actor": "account name or device_id", "action": "such as certificate.revoke", "object-id": "id of what was acted on",
		"result": "done or refused", "since": "RFC 3339 time", "until": "RFC 3339 time", "limit": "entries a page, at most 500", "after": "mark that the page before ended with",
	} {
		query[name] = list.Flags().String(name, "", help)
	}
	list.Flags().StringVar(query["object-id"], "object_id", "", "as --object-id, which was called so before")
	_ = list.Flags().MarkHidden("object_id")
	c.AddCommand(list)
	return c
}
