package main

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/doctor"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

func newDoctor() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that the agent needs, and say how to put it right",
		Long: `Doctor checks the settings, the state directory with what is in it, the way to the
server step by step, the clock, and the service. It changes nothing and does not
disturb a running agent: it sends no heartbeat. It takes half a minute at most.

Without --config it looks at the settings that the service runs with. The steps to
the server need an enrolled device, or --server and --ca-fingerprint.

Exit codes:
  0  nothing failed
  1  something failed; each failure says what to try`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return &usageError{errors.New("--output must be text or json"), cmd.CommandPath()}
			}
			options, err := patient(cmd)
			if err != nil {
				return err
			}
			ctx, stop := lifecycle.Signals(cmd.Context())
			defer stop()
			report := doctor.Run(ctx, *options)
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(report)
			} else {
				err = report.Print(cmd.OutOrStdout())
			}
			if err == nil && report.Verdict == doctor.Fail {
				return exitError(app.ExitError)
			}
			return err
		},
	}
	addExamined(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// addExamined gives a command the flags that say what is looked at.
func addExamined(cmd *cobra.Command) {
	addSettings(cmd, config.Everywhere, config.Connecting, []string{"CA_FINGERPRINT"})
}

// patient is what a doctor looks at. Settings that cannot be read are something to
// report, not a reason to look at nothing: what is left of them then is where the
// state directory is, and the flags.
func patient(cmd *cobra.Command) (*doctor.Options, error) {
	src, err := given(cmd)
	if err != nil {
		return nil, err
	}
	o := &doctor.Options{
		SettingsFile: src.File, Now: time.Now,
		Service: func() (service.State, error) { return service.Status(service.Agent()) },
	}
	if o.Config, o.SettingsErr = config.Load(src); o.SettingsErr == nil {
		return o, nil
	}
	if errors.Is(unreadable(src.File), os.ErrPermission) && !cmd.Flags().Changed("config") {
		src.File = "" // the service's, which only root may read: reported as such
		if o.Config, o.SettingsErr = config.Load(src); o.SettingsErr == nil {
			return o, nil
		}
	}
	src.File, src.Environ = "", only(src.Environ, config.Prefix+"STATE_DIR")
	o.Config, err = config.Load(src)
	return o, err
}

// given is where the settings come from: as for every other command, but that
// the service's own file stands in when no other was named.
func given(cmd *cobra.Command) (config.Sources, error) {
	src := config.Sources{Flags: map[string]string{}, Environ: os.Environ(), File: os.Getenv(config.ConfigEnv)}
	for _, s := range config.Settings() {
		f := cmd.Flags().Lookup(s.Flag)
		if f == nil || !f.Changed {
			continue
		}
		if f.Value.String() == "" {
			return src, &usageError{errors.New("--" + s.Flag + " is empty"), cmd.CommandPath()}
		}
		src.Flags[s.Flag] = f.Value.String()
	}
	if f := cmd.Flags().Lookup("config"); f != nil && f.Changed {
		src.File = f.Value.String()
	}
	if src.File == "" {
		if file := service.Agent().EnvFile; file != "" {
			if _, err := os.Stat(file); err == nil {
				src.File = file
			}
		}
	}
	return src, nil
}

// unreadable says why a file cannot be opened; nil if it can.
func unreadable(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// only keeps one variable of an environment.
func only(environ []string, name string) []string {
	for _, kv := range environ {
		if strings.HasPrefix(kv, name+"=") {
			return []string{kv}
		}
	}
	return nil
}
