package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", GroupID: "host", Short: "Print the version",
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.out, versionLine())
			return err
		},
	}
}

func versionLine() string {
	return fmt.Sprintf("sentinel-server %s (%s/%s, %s)", version.String(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
