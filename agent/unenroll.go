package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
)

func newUnenroll() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "unenroll",
		Short: "Remove this device's key, certificate and journal",
		Long: `Unenroll makes this device forget its fleet: key, certificate, fleet root and
journal are removed, and with them the pin that nothing else may replace. It does
not tell the server: have the device revoked there, too, with
sentinel-server device revoke.
` + exitCodes,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			if !yes {
				if err := confirm(cmd, cfg.StateDir); err != nil {
					return err
				}
			}
			if err := app.Unenroll(cfg.StateDir); err != nil {
				return err
			}
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), "This device has forgotten its fleet. Have it revoked on the server, too: sentinel-server device revoke")
			return nil
		},
	}
	addSettings(cmd, config.Everywhere)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func confirm(cmd *cobra.Command, dir string) error {
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Remove this device's key, certificate and journal in %s for good? Type yes: ", dir)
	answer, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 64)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(answer) != "yes" {
		return &usageError{errors.New("not confirmed; nothing was removed (--yes does not ask)"), cmd.CommandPath()}
	}
	return nil
}
