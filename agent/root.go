package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
)

const exitCodes = `
Exit codes:
  0  all is well
  1  an error; its last line says what to try
  2  refused: rejected, revoked, suspended, held, or the certificate expired
  3  not enrolled, or not approved yet
  4  told to restart (run only): the service manager starts it again`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sentinel-agent",
		Short: "Keeps this device enrolled with its Sentinel Secure X server",
		Long: `Sentinel-agent enrolls this device, keeps its key and certificate, and proves to
the server every minute that the device is there.

Settings come from flags, else from SENTINEL_AGENT_* in the environment, else
from a settings file of KEY=VALUE lines (--config).
` + exitCodes,
		Version:       versionLine(),
		SilenceUsage:  true,
		SilenceErrors: true,
		// No one can type a wrong command and be shown help with exit code 0.
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err, cmd.CommandPath()}
	})
	root.PersistentFlags().String("config", "", "settings file (environment: "+config.ConfigEnv+")")
	root.AddCommand(newEnroll(), newRun(), newStatus(), newDoctor(), newDiagnostics(), newUnenroll(), newService(), newVersion())
	return root
}

// usage makes an argument error one that points at --help.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{err, cmd.CommandPath()}
		}
		return nil
	}
}

// addSettings gives a command the flags of some groups of settings.
func addSettings(cmd *cobra.Command, groups ...[]string) {
	keys := slices.Concat(groups...)
	for _, s := range config.Settings() {
		if slices.Contains(keys, s.Key) {
			cmd.Flags().String(s.Flag, s.Default, fmt.Sprintf("%s (environment: %s)", s.About, s.Env()))
		}
	}
}

// load reads the settings for a command.
func load(cmd *cobra.Command) (*config.Config, error) {
	src := config.Sources{Flags: map[string]string{}, Environ: os.Environ(), File: os.Getenv(config.ConfigEnv)}
	for _, s := range config.Settings() {
		f := cmd.Flags().Lookup(s.Flag)
		if f == nil || !f.Changed {
			continue
		}
		if f.Value.String() == "" {
			return nil, &usageError{errors.New("--" + s.Flag + " is empty"), cmd.CommandPath()}
		}
		src.Flags[s.Flag] = f.Value.String()
	}
	if f := cmd.Flags().Lookup("config"); f != nil && f.Changed {
		src.File = f.Value.String()
	}
	return config.Load(src)
}
