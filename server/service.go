package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

func (p *program) serviceCommand() *cobra.Command {
	c := &cobra.Command{Use: "service", GroupID: "host", Short: "Run the server as a native service (systemd, Windows)"}
	act := func(use, short, done string, f func(service.Spec) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, RunE: func(*cobra.Command, []string) error {
			if err := f(service.Server()); err != nil {
				return err
			}
			fmt.Fprintln(p.out, done)
			return nil
		}}
	}
	c.AddCommand(
		act("install", "Install the service", "Installed. Start it with: sentinel-server service start", service.Install),
		act("uninstall", "Remove the service; data stays", "Removed.", service.Uninstall),
		act("start", "Start the service", "Started.", service.Start),
		act("stop", "Stop the service", "Stopped.", service.Stop),
		&cobra.Command{Use: "status", Short: "Say whether the service runs; exits 0 only when it does", RunE: func(*cobra.Command, []string) error {
			state, err := service.Status(service.Server())
			if err != nil {
				return err
			}
			fmt.Fprintln(p.out, state)
			if state != service.Running {
				return errors.New("the service does not run; start it with: sentinel-server service start")
			}
			return nil
		}},
	)
	return c
}
