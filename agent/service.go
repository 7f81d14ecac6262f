package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

func newService() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Install, start and stop the agent as a service of this host",
		Args:  usage(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, act := range []struct {
		name, short, done string
		do                func(service.Spec) error
	}{
		{"install", "Make the agent start with this host", "Installed. Next: sentinel-agent service start", service.Install},
		{"uninstall", "Stop the agent and no longer start it; its state stays", "Uninstalled.", service.Uninstall},
		{"start", "Start the agent now", "Started.", service.Start},
		{"stop", "Stop the agent", "Stopped.", service.Stop},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: act.name, Short: act.short, Args: usage(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				if err := act.do(spec(cmd)); err != nil {
					return err
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), act.done)
				return err
			},
		})
	}
	cmd.AddCommand(&cobra.Command{
		Use: "status", Short: "Say whether the service is installed and running", Args: usage(cobra.NoArgs),
		Long: "Status asks the service manager. Exit code 0 means running, 1 anything else.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := service.Status(spec(cmd))
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), state)
			if state != service.Running {
				return exitError(1)
			}
			return nil
		},
	})
	return cmd
}

// spec is the agent's service, with the settings file that was named.
func spec(cmd *cobra.Command) service.Spec {
	s := service.Agent()
	if f := cmd.Flags().Lookup("config"); f != nil && f.Changed {
		s.Arguments = append(s.Arguments, "--config", f.Value.String())
	}
	return s
}
