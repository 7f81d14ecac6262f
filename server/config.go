package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

func (p *program) configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", GroupID: "host", Short: "Check the settings, or see what there is to set"}
	example := &cobra.Command{
		Use: "example", Short: "Print every setting with its default and meaning",
		RunE: func(*cobra.Command, []string) error {
			_, err := p.out.Write(config.Example())
			return err
		},
	}
	var output string
	validate := &cobra.Command{
		Use: "validate", Short: "Check the settings without starting anything",
		RunE: func(*cobra.Command, []string) error {
			settings, err := p.settings()
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(p.out).Encode(map[string]any{"valid": true, "settings": settings.Redacted(), "not_in_effect": append([]string{}, settings.Reserved()...)})
			}
			for _, key := range settings.Reserved() {
				fmt.Fprintf(p.out, "%s is not in effect in this version\n", key)
			}
			fmt.Fprintf(p.out, "The settings are valid, for the profile %s.\n", settings.Profile)
			return nil
		},
	}
	outputFlag(validate, &output)
	c.AddCommand(example, validate, p.configSecrets())
	return c
}

// outputFlag adds --output.
func outputFlag(c *cobra.Command, into *string) {
	c.Flags().StringVarP(into, "output", "o", "table", "table or json")
	before := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if *into != "table" && *into != "json" {
			return usageError{fmt.Errorf("--output must be table or json")}
		}
		if before != nil {
			return before(c, args)
		}
		return nil
	}
}
