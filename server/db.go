package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
)

func (p *program) dbCommand() *cobra.Command {
	c := &cobra.Command{Use: "db", GroupID: "host", Short: "Say what happened to the database"}
	var output string
	var journals []string
	restored := &cobra.Command{
		Use: "mark-restored", Short: "Say that the database came from a backup",
		Long: `mark-restored says that the database came from a backup. It begins a new epoch:
enrollment tokens, pending reviews, certificates that wait for their first use and
sign-ins of before are void, captured
heartbeats are worth nothing, and every revocation in this node's journal is in
force again. Devices go on by themselves.

Stop every server first. With several nodes, bring the file revocations.jsonl of
the other nodes' data directories and name them with --journal.`,
		RunE: p.withDB(func(c *cobra.Command, d *db.DB) error {
			settings, err := p.settings()
			if err != nil {
				return err
			}
			if err := d.CheckSchema(c.Context()); err != nil {
				return err
			}
			list, err := device.NewJournal(settings.DataDir).Read()
			if err != nil {
				return err
			}
			for _, path := range journals {
				data, err := os.ReadFile(path)
				if err != nil {
					return fmt.Errorf("%w; leave --journal out for a node that never revoked", err)
				}
				more, err := device.ParseJournal(data)
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				list = append(list, more...)
			}
			done, err := flow.MarkRestored(c.Context(), d, db.NewOutside(settings.DataDir), authz.Host("db mark-restored"), list)
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(p.out).Encode(done)
			}
			fmt.Fprintf(p.out, "New epoch %s. Devices revoked again: %d. In the journal but not in this database: %d.\n", done.Epoch, len(done.Revoked), len(done.Unknown))
			fmt.Fprintln(p.out, "Start the servers; devices go on by themselves. Make new enrollment tokens, and sign in again.")
			return nil
		}),
	}
	outputFlag(restored, &output)
	restored.Flags().StringArrayVar(&journals, "journal", nil, "journal of revocations of another node; may be given several times")
	c.AddCommand(restored)
	return c
}

// hostAdvice ends errors of host commands with the next thing to try.
func hostAdvice(err error) error {
	if errors.Is(err, db.ErrInUse) {
		return fmt.Errorf("%w; stop that server first, or use PostgreSQL for several processes (SENTINEL_DATABASE_URL)", err)
	}
	return err
}
