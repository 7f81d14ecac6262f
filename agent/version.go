package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
}

func versionLine() string {
	return fmt.Sprintf("sentinel-agent %s (%s/%s, %s)", version.String(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
