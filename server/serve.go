package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

func (p *program) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", GroupID: "run", Short: "Run the server",
		Long: "serve runs the server until it is asked to stop. Without any settings it runs a\ntrial on this machine only, with its data in ./sentinel-data.",
		RunE: func(c *cobra.Command, _ []string) error {
			return service.RunAsService(service.Server(), p.serve)
		},
	}
	help := c.HelpFunc()
	c.SetHelpFunc(func(c *cobra.Command, args []string) { // no start waits for the list of the settings
		c.Long += "\n\n" + config.Help()
		help(c, args)
	})
	c.Flags().Bool(service.Flag, false, "") // read by package service from the command line itself
	_ = c.Flags().MarkHidden(service.Flag)
	return c
}

func (p *program) serve(ctx context.Context) (err error) {
	settings, err := p.settings()
	if err != nil {
		return err
	}
	log := p.logger(settings)
	s, err := app.New(ctx, app.Options{Config: settings, Log: log, SettingsFile: p.file})
	if err != nil {
		return hostAdvice(err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, key := range settings.Reserved() {
		log.WarnContext(ctx, "a setting is not in effect in this version", "setting", key)
	}
	if settings.Profile == config.Trial {
		fmt.Fprintf(p.err, "\n*** TRIAL: this server makes its own secrets and keys in %s. ***\n*** Not for real devices: set SENTINEL_PROFILE=production for those. ***\n\n", settings.DataDir)
	}
	if accounts, _, err := s.Admin.List(ctx, "", 1); err == nil && len(accounts) == 0 {
		fmt.Fprintln(p.err, "Nobody can sign in yet. Make the first account with: sentinel-server admin create --local --name NAME --role admin\n(with SQLite, stop this server for it).")
	}
	running, ended := context.WithCancel(ctx)
	announced := make(chan struct{})
	go func() {
		defer close(announced)
		select {
		case <-s.Ready():
			log.InfoContext(ctx, "ready", "people", settings.PeopleURL, "machines", settings.MachineURL, "profile", settings.Profile)
			service.Notify(service.Ready)
		case <-running.Done():
		}
		<-running.Done()
		if ctx.Err() != nil { // otherwise it failed, which is told at the end
			log.InfoContext(ctx, "stopping", "within", settings.ShutdownTimeout.String())
		}
	}()
	err = s.Run(ctx)
	ended()
	<-announced
	log.InfoContext(ctx, "stopped")
	return err
}
