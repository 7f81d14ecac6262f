package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// identityRequest is another key that a device asks for.
type identityRequest struct {
	RequestID string     `json:"request_id"`
	DeviceID  string     `json:"device_id"`
	Name      string     `json:"name,omitempty"`
	Kind      string     `json:"kind"`
	State     string     `json:"state"`
	KeyCode   string     `json:"key_code"`
	Digest    string     `json:"digest,omitempty"`
	Lost      string     `json:"lost,omitempty"`
	LostEnded string     `json:"lost_ended,omitempty"`
	Ended     *time.Time `json:"certificate_ended,omitempty"`
	Source    string     `json:"source"`
	Reason    string     `json:"reason,omitempty"`
	CreatedAt *time.Time `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// what names the kind of a request for people.
func (r identityRequest) what() string {
	switch {
	case r.Kind == "outside":
		return "certificate of another authority"
	case r.LostEnded == "superseded":
		return r.Kind + " by a certificate that another took the place of"
	case r.LostEnded != "":
		return r.Kind + " by a certificate on record as " + r.LostEnded
	case r.Lost != "":
		return r.Kind + " by a certificate that the restore lost"
	}
	return r.Kind
}

func (p *program) identityRequests() *cobra.Command {
	var state, after string
	c := p.apiCommand("identity-requests", "List devices that ask for another key", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		q := url.Values{"state": {state}}
		if after != "" {
			q.Set("after", after)
		}
		var list page[identityRequest]
		if err := api.do(c.Context(), "GET", "/api/identity-requests?"+q.Encode(), nil, &list); err != nil {
			return err
		}
		defer o.more(list.Next)
		return o.show(list, func(w io.Writer) {
			row(w, "DEVICE", "NEW KEY CODE", "WHAT", "STATE", "FROM", "ASKED", "UNTIL", "CERTIFICATE ENDED")
			for _, r := range list.Items {
				row(w, r.DeviceID, r.KeyCode, r.what(), r.State, first(r.Source, "-"), when(r.CreatedAt), when(r.ExpiresAt), when(r.Ended))
			}
		})
	})
	c.Flags().StringVar(&state, "state", "pending", "pending, approved, issued, used, rejected or expired")
	c.Flags().StringVar(&after, "after", "", "what the page before ended with")
	return c
}

// decideIdentity approves or rejects what a device asks for. Approving asks for
// the code that the device prints, so that what is approved is the key in front of
// the person.
func (p *program) decideIdentity(decision, short string) *cobra.Command {
	var reason, code string
	c := p.apiCommand("identity-"+decision+" DEVICE", short, cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return usageError{errors.New("--reason is needed: it is kept in the audit log")}
		}
		if decision == "approve" && code == "" {
			return usageError{errors.New("--key-code is needed: the code of the new key that the device prints (sentinel-agent status; for a certificate of another authority its log)")}
		}
		path := "/api/devices/" + url.PathEscape(args[0])
		var d devicePage
		if err := api.do(c.Context(), "GET", path, nil, &d); err != nil {
			return err
		}
		if d.Identity == nil {
			return fmt.Errorf("%s asks for no other key; see: sentinel-server device identity-requests", args[0])
		}
		if decision == "approve" && !strings.EqualFold(strings.TrimSpace(code), d.Identity.KeyCode) {
			return errors.New("the key code of this request is another one: it is not the device in front of you; find out what it is before you agree")
		}
		var out struct {
			State string `json:"state"`
		}
		in := map[string]string{"decision": decision, "digest": d.Identity.Digest, "reason": reason}
		if err := api.do(c.Context(), "POST", path+"/identity-review", in, &out); err != nil {
			return err
		}
		return o.show(out, func(w io.Writer) { row(w, "The "+d.Identity.what()+" of "+args[0]+" is "+out.State+".") })
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	if decision == "approve" {
		c.Flags().StringVar(&code, "key-code", "", "code of the new key as the device prints it")
	}
	return c
}
