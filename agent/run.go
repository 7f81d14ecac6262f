package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

func newRun() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent in the foreground, as the service does",
		Long: `Run sends heartbeats until it is stopped, and logs on standard error. The device
must be enrolled. A refusal does not end it: it asks on, slowly, until an operator
has lifted the refusal.
` + exitCodes,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			log := app.Logger(cfg, cmd.ErrOrStderr())
			if once {
				ctx, stop := lifecycle.Signals(cmd.Context())
				defer stop()
				return app.Once(ctx, cfg, log)
			}
			return service.RunAsService(service.Agent(), func(ctx context.Context) error {
				return app.Run(ctx, cfg, log, func() { service.Notify(service.Ready) })
			})
		},
	}
	addSettings(cmd, config.Everywhere, config.Logging, config.Connecting, config.Running, config.Hardware, config.Outside)
	cmd.Flags().BoolVar(&once, "once", false, "send one heartbeat and exit")
	cmd.Flags().Bool(service.Flag, false, "set by the service manager")
	_ = cmd.Flags().MarkHidden(service.Flag)
	return cmd
}
