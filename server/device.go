package main

import (
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type deviceRow struct {
	DeviceID     string     `json:"device_id"`
	Name         string     `json:"name,omitempty"`
	Owner        string     `json:"owner,omitempty"`
	State        string     `json:"state"`
	Held         bool       `json:"held,omitempty"`
	Verdict      string     `json:"verdict"`
	AgentVersion string     `json:"agent_version,omitempty"`
	SeenAt       *time.Time `json:"seen_at,omitempty"`
	NotAfter     *time.Time `json:"certificate_not_after,omitempty"`
}

type devicePage struct {
	deviceRow
	Labels      map[string]string `json:"labels"`
	Sensitive   bool              `json:"sensitive"`
	StateReason string            `json:"state_reason,omitempty"`
	StateBy     string            `json:"state_by,omitempty"`
	HeldReason  string            `json:"held_reason,omitempty"`
	KeyCode     string            `json:"key_code"`
	EnrolledAt  *time.Time        `json:"enrolled_at"`
	Source      string            `json:"enrolled_from"`
	Counter     int64             `json:"counter"`
	FirstUse    bool              `json:"first_use"`
	Facts       map[string]string `json:"facts"`
	Trust       struct {
		Verdict string `json:"verdict"`
		Reasons []struct {
			Code   string `json:"code"`
			Text   string `json:"text"`
			Advice string `json:"advice,omitempty"`
			Weight string `json:"weight"`
		} `json:"reasons"`
		HoldsUntil  *time.Time `json:"holds_until,omitempty"`
		EvaluatedAt *time.Time `json:"evaluated_at,omitempty"`
	} `json:"trust"`
	Identity     *identityRequest `json:"identity_request,omitempty"`
	Certificates []struct {
		Serial        string     `json:"serial"`
		Fingerprint   string     `json:"fingerprint"`
		AuthorityID   string     `json:"authority_id"`
		NotBefore     *time.Time `json:"not_before"`
		NotAfter      *time.Time `json:"not_after"`
		RevokedAt     *time.Time `json:"revoked_at,omitempty"`
		RevokedReason string     `json:"revoked_reason,omitempty"`
	} `json:"certificates"`
}

func (p *program) deviceCommand() *cobra.Command {
	c := &cobra.Command{Use: "device", GroupID: "operate", Short: "See devices, and stop or release them"}
	c.AddCommand(p.deviceList(), p.deviceExplain(),
		p.deviceAct("revoke", "certificate/revoke", "End a device and its certificates for good, at once", "Revoked"),
		p.deviceAct("suspend", "suspend", "Stop a device until it is resumed", "Suspended"),
		p.deviceAsk("resume", "Ask that a suspension ends; others decide"),
		p.deviceAsk("resync", "Ask that a hold after a counter went back ends; others decide"),
		p.identityRequests(), p.decideIdentity("approve", "Let a device go by another key whose code is the one given"), p.decideIdentity("reject", "Refuse a device another key"),
	)
	return c
}

func (p *program) deviceList() *cobra.Command {
	query := map[string]*string{}
	limit := 0
	c := p.apiCommand("list", "List devices", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		q := url.Values{}
		for name, v := range query {
			if *v != "" {
				q.Set(name, *v)
			}
		}
		if limit > 0 {
			q.Set("limit", strconv.Itoa(limit))
		}
		var list page[deviceRow]
		if err := api.do(c.Context(), "GET", "/api/devices?"+q.Encode(), nil, &list); err != nil {
			return err
		}
		defer o.more(list.Next)
		return o.show(list, func(w io.Writer) {
			row(w, "DEVICE", "TRUST", "STATE", "LAST SEEN", "CERTIFICATE UNTIL", "AGENT", "OWNER")
			for _, d := range list.Items {
				state := d.State
				if d.Held {
					state += ", held"
				}
				row(w, d.DeviceID, d.Verdict, state, when(d.SeenAt), when(d.NotAfter), first(d.AgentVersion, "-"), first(d.Owner, "-"))
			}
		})
	})
	for name, help := range map[string]string{
		"text": "part of id, name or owner", "state": "active, suspended, revoked or retired", "verdict": "trusted, reserved or untrusted",
		"label": "key=value", "after": "device_id that the page before ended with",
	} {
		query[name] = c.Flags().String(name, "", help)
	}
	c.Flags().IntVar(&limit, "limit", 0, "devices a page, at most 500 (default 50)")
	return c
}

func (p *program) deviceExplain() *cobra.Command {
	c := p.apiCommand("explain DEVICE", "Say why a device is or is not trusted, and what to do", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		var d devicePage
		if err := api.do(c.Context(), "GET", "/api/devices/"+url.PathEscape(args[0]), nil, &d); err != nil {
			return notFound(err, "device", args[0], "device list")
		}
		return o.show(d, func(w io.Writer) { explain(w, &d) })
	})
	c.Aliases = []string{"show"}
	return c
}

func explain(w io.Writer, d *devicePage) {
	row(w, d.DeviceID+" is "+d.Trust.Verdict)
	for _, r := range d.Trust.Reasons {
		sign := map[string]string{"for": "+", "reserve": "?", "against": "-"}[r.Weight]
		row(w, "  "+sign+" "+r.Text)
		if r.Advice != "" {
			row(w, "    to do: "+r.Advice)
		}
	}
	if d.Trust.HoldsUntil != nil {
		row(w, "  this holds until "+when(d.Trust.HoldsUntil)+" unless something changes")
	}
	fmt.Fprintln(w)
	row(w, "name", first(d.Name, "-"))
	row(w, "owner", first(d.Owner, "-"))
	for _, k := range slices.Sorted(maps.Keys(d.Labels)) {
		row(w, "label", k+"="+d.Labels[k])
	}
	row(w, "state", d.State)
	row(w, "key code", d.KeyCode)
	if r := d.Identity; r != nil {
		row(w, r.what(), r.State+", new key code "+r.KeyCode+", asked "+when(r.CreatedAt)+" from "+first(r.Source, "-")+", until "+when(r.ExpiresAt))
		if r.Digest != "" {
			row(w, "", "digest "+r.Digest)
		}
		if r.State == "pending" {
			row(w, "", "to do: compare the key code with the device's own, then: sentinel-server device identity-approve "+d.DeviceID+" --key-code CODE --reason WHY")
		}
	}
	row(w, "enrolled", when(d.EnrolledAt)+" from "+first(d.Source, "-"))
	row(w, "last seen", when(d.SeenAt)+", counter "+strconv.FormatInt(d.Counter, 10))
	row(w, "agent", first(d.AgentVersion, "-"))
	for _, k := range slices.Sorted(maps.Keys(d.Facts)) {
		row(w, "says of itself", k+": "+d.Facts[k])
	}
	for _, x := range d.Certificates {
		text := "serial " + x.Serial + ", " + when(x.NotBefore) + " to " + when(x.NotAfter) + ", " + issuedBy(x.AuthorityID)
		if x.RevokedAt != nil {
			text += ", revoked " + when(x.RevokedAt) + ": " + x.RevokedReason
		}
		row(w, "certificate", text)
	}
}

// issuedBy says which authority issued a certificate: one of this server's own by its
// id, another one by the beginning of its certificate's fingerprint.
func issuedBy(authorityID string) string {
	if fingerprint, outside := strings.CutPrefix(authorityID, "outside:"); outside {
		return fmt.Sprintf("by another authority (%.16s)", fingerprint)
	}
	return "by this server (" + authorityID + ")"
}

func (p *program) deviceAct(name, path, short, done string) *cobra.Command {
	var reason string
	c := p.apiCommand(name+" DEVICE", short, cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return usageError{fmt.Errorf("--reason is needed: it is kept in the audit log")}
		}
		if err := api.do(c.Context(), "POST", "/api/devices/"+url.PathEscape(args[0])+"/"+path, map[string]string{"reason": reason}, nil); err != nil {
			return notFound(err, "device", args[0], "device list")
		}
		return o.show(map[string]string{"device_id": args[0], "result": done}, func(w io.Writer) { row(w, done+" "+args[0]+".") })
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}

// waits is an act that was asked for and that others decide on first.
type waits struct {
	ApprovalID string `json:"approval_id"`
	Needs      int    `json:"needs,omitempty"`
	Next       string `json:"next"`
}

// deviceAsk asks for an act on one device, which others decide on.
func (p *program) deviceAsk(name, short string) *cobra.Command {
	var reason string
	c := p.apiCommand(name+" DEVICE", short, cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return usageError{fmt.Errorf("--reason is needed: others decide by it, and it is kept in the audit log")}
		}
		var out waits
		if err := api.do(c.Context(), "POST", "/api/devices/"+url.PathEscape(args[0])+"/"+name, map[string]string{"reason": reason}, &out); err != nil {
			return notFound(err, "device", args[0], "device list")
		}
		return o.show(out, func(w io.Writer) {
			who := "another person agrees"
			if out.Needs > 1 {
				who = strconv.Itoa(out.Needs) + " others agree"
			}
			row(w, "Asked: "+args[0]+" is to "+name+" once "+who+": sentinel-server approval approve "+out.ApprovalID+" --reason WHY")
		})
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for those who decide and for the audit log")
	return c
}
