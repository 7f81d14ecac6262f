package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/diagnostics"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
)

func newDiagnostics() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "diagnostics",
		Short: "Gather what somebody needs who helps from far away, in one zip file",
		Long: `Diagnostics writes the doctor's report, the status, the journal, the settings, the
certificates, fleet roots and policy, facts of the system, and the last lines of the
service's log (Linux) into a zip file of mode 0600, with a manifest.

Keys, tokens, passwords, nonces and receipts are left out, and so is the
environment. Host names and addresses are in it: look through it before you give it
away. It changes nothing and does not disturb a running agent.

Exit codes:
  0  the file was written, whatever the doctor found
  1  it was not; the last line says what to try`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := patient(cmd)
			if err != nil {
				return err
			}
			ctx, stop := lifecycle.Signals(cmd.Context())
			defer stop()
			w, err := diagnostics.Write(ctx, diagnostics.Options{Doctor: *options, Out: out, Log: diagnostics.ServiceLog})
			switch {
			case errors.Is(err, diagnostics.ErrExists):
				return &usageError{fmt.Errorf("%w; name another with --out, or move it away", err), cmd.CommandPath()}
			case errors.Is(err, fs.ErrNotExist):
				return &usageError{fmt.Errorf("%w; name a directory that is there with --out", err), cmd.CommandPath()}
			case err != nil:
				return err
			}
			to := cmd.OutOrStdout()
			_, _ = fmt.Fprintf(to, "Wrote %s (%d files, for you alone).\n", w.Path, len(w.Manifest.Members)+1)
			for _, m := range byCause(w.Manifest.Missing) {
				_, _ = fmt.Fprintf(to, "Not in it: %s (%s)\n", m.Name, m.Why)
			}
			_, _ = fmt.Fprintf(to, "The doctor's verdict: %s.\n%s\n", w.Report.Verdict, diagnostics.Warning)
			return nil
		},
	}
	addExamined(cmd)
	cmd.Flags().StringVar(&out, "out", "", "file to write (default sentinel-diagnostics-<device>-<time>.zip)")
	return cmd
}

// byCause gathers what is missing for one cause in one.
func byCause(list []diagnostics.Missing) (gathered []diagnostics.Missing) {
	for _, m := range list {
		at := slices.IndexFunc(gathered, func(g diagnostics.Missing) bool { return g.Why == m.Why })
		if at < 0 {
			gathered = append(gathered, m)
			continue
		}
		gathered[at].Name += ", " + m.Name
	}
	return gathered
}
