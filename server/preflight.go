package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/preflight"
)

// notRunError is why the checklist could not be gone through at all.
type notRunError struct{ error }

// errMusts says that the checklist was gone through, and not passed.
var errMusts = errors.New("the checklist is not passed")

func (p *program) preflightCommand() *cobra.Command {
	var output string
	var headers, explain bool
	c := &cobra.Command{Use: "preflight", GroupID: "host", Short: "Go through the production checklist against this deployment", Args: cobra.NoArgs}
	c.Long = `preflight goes through the production checklist: settings, files, keys, database, and
what really answers at the two addresses. It judges by the production profile, whatever
SENTINEL_PROFILE says, and changes nothing. Of each point it says pass, warn, fail or
n/a, what it found, and what to do.

Run it on the server's host with the settings and the user of the server:

  sentinel-server preflight --config /etc/sentinel/server.env

n/a is what does not concern this server, or cannot be known before another point is
in order.

Exit codes: 0 no must failed, 1 a must failed, 2 it could not be run.`
	c.RunE = func(c *cobra.Command, _ []string) error {
		if explain {
			_, err := p.out.Write(preflight.Markdown())
			return err
		}
		if err := p.settingsReadable(); err != nil {
			return notRunError{err}
		}
		report := preflight.Judge(preflight.Gather(c.Context(), preflight.Ask{
			Inspection: config.Inspect(p.environ, p.file, config.Production), SettingsFile: p.file, ProxyHeaders: headers,
			Listeners: true, Units: preflight.SystemdUnits(), Now: time.Now().UTC(),
		}))
		if err := showReport(p.out, report, output); err != nil {
			return notRunError{err}
		}
		if report.Failed > 0 {
			return fmt.Errorf("%w: %s failed", errMusts, counted(int64(report.Failed), "must"))
		}
		return nil
	}
	outputFlag(c, &output)
	c.Flags().BoolVar(&headers, "expect-proxy-cert-headers", false, "a reverse proxy ends the devices' TLS and passes their certificates on in headers")
	c.Flags().BoolVar(&explain, "explain", false, "print every point with its reason and its remedy (Markdown), and check nothing")
	return c
}

// settingsReadable reports whether the settings file can be read at all: without it
// everything else would be said of other settings.
func (p *program) settingsReadable() error {
	if p.file == "" {
		return nil
	}
	f, err := os.Open(p.file)
	if err != nil {
		return fmt.Errorf("%w; run it as the server's user, with --config FILE", err)
	}
	return f.Close()
}

func showReport(out io.Writer, r preflight.Report, output string) error {
	if output == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	var b strings.Builder
	section := ""
	count, unknown := map[preflight.Status]int{}, 0
	for _, x := range r.Results {
		count[x.Status]++
		if x.Section != section {
			section = x.Section
			fmt.Fprintf(&b, "%s\n", section)
		}
		status := string(x.Status)
		if x.Status == preflight.Fail {
			status = "FAIL"
		}
		fmt.Fprintf(&b, "  %-4s  %-38s  %s\n", status, x.ID, plain(x.Found))
		if x.WaitsFor != "" {
			unknown++
		}
		if x.Change != "" && x.Status != preflight.NotApplicable { // of what is not known nobody knows whether it needs doing
			fmt.Fprintf(&b, "        to do: %s\n", plain(x.Change))
		}
	}
	fmt.Fprintf(&b, "\n%d points: %d pass, %d warn, %d fail, %d n/a", len(r.Results), count[preflight.Pass], count[preflight.Warn], count[preflight.Fail], count[preflight.NotApplicable])
	if unknown > 0 {
		fmt.Fprintf(&b, ", of which %d are not known yet: do what fails, then run it again", unknown)
	}
	b.WriteString(". Each with its reason: sentinel-server preflight --explain\n")
	_, err := io.WriteString(out, b.String())
	return err
}
