package main

import (
	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
)

func (p *program) openapiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", GroupID: "host", Short: "Print the description of the API (OpenAPI 3.1)",
		RunE: func(*cobra.Command, []string) error {
			_, err := p.out.Write(app.OpenAPI())
			return err
		},
	}
}
