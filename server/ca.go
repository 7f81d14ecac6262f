package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
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
		Certificate []byte     `json:"certificate"`
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
	c.AddCommand(p.caStatus(), p.caCertificates(), p.caStop(), p.caStart())
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

// caCertificates writes what others need who verify certificates: nothing in it is
// secret.
func (p *program) caCertificates() *cobra.Command {
	var dir string
	c := p.apiCommand("certificates", "Write the certificates of the root and the authorities to files (PEM)", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var s caStatus
		if err := api.do(c.Context(), "GET", "/api/ca", nil, &s); err != nil {
			return err
		}
		type written struct {
			File        string `json:"file"`
			Fingerprint string `json:"fingerprint"`
		}
		var chain []byte
		var list []written
		for _, l := range s.Lists {
			cert, err := x509.ParseCertificate(l.Certificate)
			if err != nil {
				return fmt.Errorf("the server shows a certificate that cannot be read: %w", err)
			}
			name := l.Authority + "-ca.pem"
			switch {
			case l.Authority == "root":
				name = "root.pem"
			case l.State != "active":
				name = l.Authority + "-ca-" + certs.Fingerprint(cert.Raw)[:16] + ".pem"
			}
			if name != filepath.Base(name) {
				return fmt.Errorf("the server names an authority %q; nothing is written for it", plain(l.Authority))
			}
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
			chain = append(chain, text...)
			if err := writePublic(dir, name, text); err != nil {
				return err
			}
			list = append(list, written{filepath.Join(dir, name), certs.Fingerprint(cert.Raw)})
		}
		if err := writePublic(dir, "chain.pem", chain); err != nil {
			return err
		}
		return o.show(list, func(w io.Writer) {
			row(w, "FILE", "FINGERPRINT")
			for _, l := range list {
				row(w, l.File, l.Fingerprint)
			}
			row(w, filepath.Join(dir, "chain.pem"), "all of them")
		})
	})
	c.Long = `certificates writes root.pem, device-ca.pem and server-ca.pem, the same together as
chain.pem, and one file for each authority that is retired or to come. They come from the
server: compare the fingerprints with those of the ceremony (sentinel-server keys show on
the host) before anything is made to rely on them. The root's is missing where the root
has no revocation list.`
	c.Flags().StringVar(&dir, "out", ".", "directory to write to")
	return c
}

func writePublic(dir, name string, text []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // G301: certificates are public
		return err
	}
	return files.Replace(filepath.Join(dir, name), text, 0o644)
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
