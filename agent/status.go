package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
)

func newStatus() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how this device stands, and what to do",
		Long: `Status reads the state directory; it does not ask the server, and does not disturb
a running agent.
` + exitCodes,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return &usageError{errors.New("--output must be text or json"), cmd.CommandPath()}
			}
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			now := time.Now()
			st, err := app.ReadStatus(cfg.StateDir, now)
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(st)
			} else {
				err = st.Print(cmd.OutOrStdout(), now)
			}
			if code := st.ExitCode(); err == nil && code != app.ExitOK {
				return exitError(code)
			}
			return err
		},
	}
	addSettings(cmd, config.Everywhere)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}
