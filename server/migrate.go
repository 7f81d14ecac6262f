package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

func (p *program) migrateCommand() *cobra.Command {
	c := &cobra.Command{Use: "migrate", GroupID: "host", Short: "Bring the database schema to this version"}
	c.AddCommand(&cobra.Command{
		Use: "up", Short: "Apply the migrations that are pending",
		RunE: p.withDB(func(c *cobra.Command, d *db.DB) error {
			applied, err := d.Migrate(c.Context())
			for _, name := range applied {
				fmt.Fprintln(p.out, "applied", name)
			}
			if err == nil && len(applied) == 0 {
				fmt.Fprintln(p.out, "The schema is up to date.")
			}
			return err
		}),
	})
	var output string
	status := &cobra.Command{
		Use: "status", Short: "Say which version the schema has and what is pending",
		RunE: p.withDB(func(c *cobra.Command, d *db.DB) error {
			s, err := d.Schema(c.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(p.out).Encode(s)
			}
			fmt.Fprintf(p.out, "database version %d, this server's version %d\n", s.Current, s.Wanted)
			for _, name := range s.Pending {
				fmt.Fprintln(p.out, "pending", name)
			}
			return nil
		}),
	}
	outputFlag(status, &output)
	c.AddCommand(status)
	return c
}

// withDB runs a command on the database that the settings name.
func (p *program) withDB(f func(c *cobra.Command, d *db.DB) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		settings, err := p.settings()
		if err != nil {
			return err
		}
		d, err := app.OpenDB(c.Context(), settings, nil)
		if err != nil {
			return hostAdvice(err)
		}
		defer func() { _ = d.Close() }()
		return f(c, d)
	}
}

// withCore runs a command on everything below the listeners.
func (p *program) withCore(f func(c *cobra.Command, core *app.Core) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		settings, err := p.settings()
		if err != nil {
			return err
		}
		core, err := app.Open(c.Context(), app.Options{Config: settings, Log: p.logger(settings)})
		if err != nil {
			return hostAdvice(err)
		}
		defer func() { _ = core.Close() }()
		return f(c, core)
	}
}
