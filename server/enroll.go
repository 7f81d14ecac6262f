package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type enrollToken struct {
	ID         string     `json:"id"`
	Secret     string     `json:"secret,omitempty"` // in the answer that makes it only
	Command    string     `json:"command,omitempty"`
	Note       string     `json:"note,omitempty"`
	State      string     `json:"state"`
	Uses       int64      `json:"uses"`
	MaxUses    int64      `json:"max_uses"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
	LastUsedBy string     `json:"last_used_by,omitempty"`
	CreatedBy  string     `json:"created_by"`
}

func (p *program) enrollTokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "enroll-token", GroupID: "operate", Short: "Make, see and revoke the tokens that devices enroll with"}
	c.AddCommand(p.tokenCreate(), p.tokenList(), p.tokenRevoke())
	return c
}

func (p *program) tokenCreate() *cobra.Command {
	var in struct {
		Note       string            `json:"note,omitempty"`
		Uses       int64             `json:"uses"`
		Seconds    int64             `json:"life_seconds"`
		DeviceName string            `json:"device_name,omitempty"`
		Owner      string            `json:"owner,omitempty"`
		Labels     map[string]string `json:"labels,omitempty"`
		Sensitive  bool              `json:"sensitive,omitempty"`
	}
	var life time.Duration
	var labels []string
	c := p.apiCommand("create", "Make a token; it is shown once", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		in.Seconds = int64(life.Seconds())
		for _, l := range labels {
			k, v, ok := strings.Cut(l, "=")
			if !ok {
				return usageError{fmt.Errorf("--label must be key=value")}
			}
			if in.Labels == nil {
				in.Labels = map[string]string{}
			}
			in.Labels[k] = v
		}
		var t enrollToken
		if err := api.do(c.Context(), "POST", "/api/enroll-tokens", in, &t); err != nil {
			return err
		}
		return o.show(t, func(w io.Writer) {
			row(w, "token", t.Secret)
			row(w, "valid", fmt.Sprintf("%s, until %s", counted(t.MaxUses, "use"), when(t.ExpiresAt)))
			fmt.Fprintf(w, "\nIt is not shown again. On the device, as root (or with --state-dir and a directory of your own):\n\n%s\n", plain(t.Command))
			fmt.Fprintln(w, "\nPasted like this the device trusts the fleet root that it is shown. Better: add --fleet-root with\nthe root's digest: the one that the ceremony printed, or, in a trial, \"first root\" of: sentinel-server fleet")
		})
	})
	f := c.Flags()
	f.Int64Var(&in.Uses, "uses", 1, "how many devices may enroll with it")
	f.DurationVar(&life, "life", 24*time.Hour, "how long it may be used")
	f.StringVar(&in.Note, "note", "", "what it is for")
	f.StringVar(&in.DeviceName, "name", "", "name that the device gets; only with one use")
	f.StringVar(&in.Owner, "owner", "", "owner that the device gets")
	f.StringArrayVar(&labels, "label", nil, "key=value that the device gets; may be given several times")
	f.BoolVar(&in.Sensitive, "sensitive", false, "mark the device as sensitive: always reviewed")
	return c
}

func (p *program) tokenList() *cobra.Command {
	return p.apiCommand("list", "List tokens, the newest first", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var list page[enrollToken]
		if err := api.do(c.Context(), "GET", "/api/enroll-tokens", nil, &list); err != nil {
			return err
		}
		return o.show(list, func(w io.Writer) {
			row(w, "ID", "STATE", "USES", "UNTIL", "LAST USED", "BY", "MADE BY", "NOTE")
			for _, t := range list.Items {
				row(w, t.ID, t.State, fmt.Sprintf("%d/%d", t.Uses, t.MaxUses), when(t.ExpiresAt), when(t.LastUsedAt), first(t.LastUsedBy, "-"), t.CreatedBy, t.Note)
			}
		})
	})
}

func (p *program) tokenRevoke() *cobra.Command {
	var reason string
	c := p.apiCommand("revoke ID", "End a token", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if err := api.do(c.Context(), "POST", "/api/enroll-tokens/"+url.PathEscape(args[0])+"/revoke", map[string]string{"reason": reason}, nil); err != nil {
			return notFound(err, "token", args[0], "enroll-token list")
		}
		return o.show(map[string]string{"id": args[0], "result": "revoked"}, func(w io.Writer) { row(w, "Revoked.") })
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}

type review struct {
	EnrollmentID string            `json:"enrollment_id"`
	DeviceID     string            `json:"device_id"`
	State        string            `json:"state"`
	KeyCode      string            `json:"key_code"`
	Digest       string            `json:"digest,omitempty"`
	Name         string            `json:"name,omitempty"`
	Owner        string            `json:"owner,omitempty"`
	Labels       map[string]string `json:"labels"`
	Sensitive    bool              `json:"sensitive"`
	Facts        map[string]string `json:"facts"`
	Source       string            `json:"source"`
	Reason       string            `json:"reason,omitempty"`
	CreatedAt    *time.Time        `json:"created_at"`
	ExpiresAt    *time.Time        `json:"expires_at"`
	Rivals       int               `json:"rivals,omitempty"`
}

func (p *program) enrollmentCommand() *cobra.Command {
	c := &cobra.Command{Use: "enrollment", GroupID: "operate", Short: "Review devices that ask to join"}
	var state, after string
	list := p.apiCommand("list", "List what waits for a review", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		list, err := reviews(c, api, state, after)
		if err != nil {
			return err
		}
		defer o.more(list.Next)
		return o.show(list, func(w io.Writer) {
			row(w, "DEVICE", "KEY CODE", "STATE", "FROM", "ASKED", "UNTIL", "RIVALS", "ENROLLMENT")
			for _, r := range list.Items {
				row(w, r.DeviceID, r.KeyCode, r.State, r.Source, when(r.CreatedAt), when(r.ExpiresAt), strconv.Itoa(r.Rivals), r.EnrollmentID)
			}
		})
	})
	list.Flags().StringVar(&state, "state", "pending", "pending, approved, issued, rejected, expired or all")
	list.Flags().StringVar(&after, "after", "", "the marker that the page before ended with")
	c.AddCommand(list, p.decide("approve", "Let a device in whose key code is the one given"), p.decide("reject", "Refuse a device"))
	return c
}

func reviews(c *cobra.Command, api *client, state, after string) (list page[review], err error) {
	q := url.Values{}
	if state != "all" {
		q.Set("state", state)
	}
	if after != "" {
		q.Set("after", after)
	}
	return list, api.do(c.Context(), "GET", "/api/enrollments?"+q.Encode(), nil, &list)
}

// decide approves or rejects. Approving asks for the key code that the device
// prints, so that what is approved is the key in front of the person.
func (p *program) decide(decision, short string) *cobra.Command {
	var reason, code string
	c := p.apiCommand(decision+" ENROLLMENT", short, cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return usageError{fmt.Errorf("--reason is needed: it is kept in the audit log")}
		}
		if decision == "approve" && code == "" {
			return usageError{fmt.Errorf("--key-code is needed: the code that the device prints (sentinel-agent enroll)")}
		}
		var r review
		if err := api.do(c.Context(), "GET", "/api/enrollments/"+url.PathEscape(args[0]), nil, &r); err != nil {
			return notFound(err, "enrollment", args[0], "enrollment list --state all")
		}
		if decision == "approve" && !sameCode(code, r.KeyCode) {
			return fmt.Errorf("the key code of this enrollment is another one: it is not the device in front of you; find out what it is before you let it in")
		}
		var out struct {
			State string `json:"state"`
		}
		in := map[string]string{"decision": decision, "digest": r.Digest, "reason": reason}
		if err := api.do(c.Context(), "POST", "/api/enrollments/"+url.PathEscape(args[0])+"/review", in, &out); err != nil {
			return err
		}
		return o.show(out, func(w io.Writer) { row(w, r.DeviceID+" is "+out.State+".") })
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	if decision == "approve" {
		c.Flags().StringVar(&code, "key-code", "", "key code as the device prints it")
	}
	return c
}

// sameCode compares key codes as people write them: case, hyphens and spaces are
// not part of them.
func sameCode(a, b string) bool {
	bare := func(s string) string {
		return strings.ToUpper(strings.Map(func(r rune) rune {
			if r == '-' || r == ' ' || r == '\t' {
				return -1
			}
			return r
		}, s))
	}
	return a != "" && bare(a) == bare(b)
}

func (p *program) enrollWindowCommand() *cobra.Command {
	type window struct {
		Open     bool       `json:"open"`
		OpenedBy string     `json:"opened_by,omitempty"`
		Reason   string     `json:"reason,omitempty"`
		ClosesAt *time.Time `json:"closes_at,omitempty"`
	}
	c := &cobra.Command{Use: "enroll-window", GroupID: "operate", Short: "Let devices in without a review for a while"}
	tell := func(o *operate, win window) error {
		return o.show(win, func(w io.Writer) {
			if !win.Open {
				row(w, "Closed: every new device is reviewed.")
				return
			}
			row(w, "Open until "+when(win.ClosesAt)+", by "+win.OpenedBy+": "+win.Reason)
		})
	}
	var life time.Duration
	var reason string
	open := p.apiCommand("open", "Open the window", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var win window
		err := api.do(c.Context(), "POST", "/api/enroll-window/open", map[string]any{"seconds": int64(life.Seconds()), "reason": reason}, &win)
		if err != nil {
			return err
		}
		return tell(o, win)
	})
	open.Flags().DurationVar(&life, "for", time.Hour, "how long, at most 24h")
	open.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	c.AddCommand(open,
		p.apiCommand("close", "Close the window", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
			if err := api.do(c.Context(), "POST", "/api/enroll-window/close", map[string]string{"reason": "closed by hand"}, nil); err != nil {
				return err
			}
			return tell(o, window{})
		}),
		p.apiCommand("status", "Say whether the window is open", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
			var win window
			if err := api.do(c.Context(), "GET", "/api/enroll-window", nil, &win); err != nil {
				return err
			}
			return tell(o, win)
		}))
	return c
}
