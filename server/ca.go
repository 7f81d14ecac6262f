package main

import (
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// caStatus is how the built-in authority stands.
type caStatus struct {
	Issuing struct {
		Stopped   bool       `json:"stopped"`
		StoppedAt *time.Time `json:"stopped_at,omitempty"`
		StoppedBy string     `json:"stopped_by,omitempty"`
		Reason    string     `json:"reason,omitempty"`
		Start     *caStart   `json:"start,omitempty"`
	} `json:"issuing"`
	Lists []struct {
		Authority   string     `json:"authority"`
		State       string     `json:"state,omitempty"`
		Fingerprint string     `json:"fingerprint"`
		Path        string     `json:"path"`
		Number      int64      `json:"number"`
		Entries     int64      `json:"entries"`
		ThisUpdate  *time.Time `json:"this_update"`
		NextUpdate  *time.Time `json:"next_update"`
	} `json:"revocation_lists"`
}

type caStart struct {
	ID        string     `json:"id"`
	Digest    string     `json:"digest"`
	AskedBy   string     `json:"asked_by"`
	ExpiresAt *time.Time `json:"expires_at"`
}

func (p *program) caCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "ca", GroupID: "operate", Short: "See the certificate authority, and stop or start issuing",
		Long: `stop-issuing is one person's act and holds at once, on every node: no device gets a
certificate, neither at enrollment nor at renewal or recovery. Heartbeats and
commands go on with the certificates that devices have.

start-issuing takes two: one asks, and another one, who may review it, agrees:
sentinel-server approval list, approval show, approval approve.`,
	}
	c.AddCommand(p.caStatus(), p.caStop(), p.caStart())
	return c
}

func (p *program) caStatus() *cobra.Command {
	return p.apiCommand("status", "Show whether certificates are issued, and the revocation lists", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var s caStatus
		if err := api.do(c.Context(), "GET", "/api/ca", nil, &s); err != nil {
			return err
		}
		return o.show(s, func(w io.Writer) {
			i := s.Issuing
			if !i.Stopped {
				row(w, "Certificates are issued.")
			} else {
				row(w, "Issuing was stopped at "+when(i.StoppedAt)+" by "+i.StoppedBy+": "+i.Reason)
			}
			if i.Start != nil {
				row(w, i.Start.AskedBy+" asks to start again, until "+when(i.Start.ExpiresAt)+". Another person decides: sentinel-server approval show "+i.Start.ID)
			}
			row(w)
			row(w, "REVOCATION LIST", "OF", "NUMBER", "REVOKED", "MADE", "HOLDS UNTIL")
			for _, l := range s.Lists {
				of := l.Authority
				if l.State != "" {
					of += " authority, " + l.State
				}
				row(w, l.Path, of, l.Number, l.Entries, when(l.ThisUpdate), when(l.NextUpdate))
			}
		})
	})
}

var errNoReason = usageError{errors.New("--reason is needed: it is kept in the audit log")}

func (p *program) caStop() *cobra.Command {
	var reason string
	c := p.apiCommand("stop-issuing", "Issue no certificate to any device any more, at once", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		if reason == "" {
			return errNoReason
		}
		if err := api.do(c.Context(), "POST", "/api/ca/stop-issuing", map[string]string{"reason": reason}, nil); err != nil {
			return err
		}
		return o.show(map[string]bool{"stopped": true}, func(w io.Writer) {
			row(w, "Issuing is stopped on every node. To start again (another person must agree): sentinel-server ca start-issuing")
		})
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}

func (p *program) caStart() *cobra.Command {
	var reason string
	c := p.apiCommand("start-issuing", "Ask that certificates are issued again; another person decides", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		if reason == "" {
			return errNoReason
		}
		var asked caStart
		if err := api.do(c.Context(), "POST", "/api/ca/start-issuing", map[string]string{"reason": reason}, &asked); err != nil {
			return err
		}
		return o.show(asked, func(w io.Writer) {
			row(w, "Asked for, until "+when(asked.ExpiresAt)+". Another person decides: sentinel-server approval show "+asked.ID)
		})
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}
