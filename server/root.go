package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

// Exit codes, as the help says them.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// program is what every command is given of the world around it.
type program struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	environ []string
	file    string        // --config
	lines   *bufio.Reader // over in, when it is no terminal
}

// run is the whole program: main without the process.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer, environ []string) int {
	p := &program{in: in, out: out, err: errOut, environ: environ}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(errOut, "error: "+err.Error())
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[notRunError](err); ok {
		return exitUsage
	}
	return exitError
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sentinel-server",
		Short: "Device trust and control: lets devices in, judges them, tells others",
		Long: `sentinel-server lets devices in, keeps an eye on them, and says which may be
trusted right now.

To see it work:        sentinel-server demo
To run a trial:        sentinel-server serve
To see the settings:   sentinel-server config example

To go to production:   sentinel-server preflight

Exit codes: 0 done, 1 not done, 2 the command line is wrong.`,
		Version:       versionLine(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().StringVar(&p.file, "config", "", "settings file of KEY=VALUE lines; the environment wins over it")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
	})
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run the server:"},
		&cobra.Group{ID: "host", Title: "On the server's host:"},
		&cobra.Group{ID: "operate", Title: "Operate, from anywhere:"},
	)
	root.AddCommand(p.serveCommand(), p.demoCommand())
	root.AddCommand(p.configCommand(), p.preflightCommand(), p.migrateCommand(), p.keysCommand(), p.dbCommand(), p.adminCommand(), p.serviceCommand(), p.nginxCommand(), p.openapiCommand(), p.versionCommand())
	p.addOperate(root)
	strict(root)
	return root
}

// strict makes a command line that is not understood a usage error with the next
// thing to try, and a mistyped subcommand an error instead of a help page.
func strict(c *cobra.Command) {
	args := c.Args
	switch {
	case c.HasSubCommands() && c.RunE == nil:
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		args = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q is not a command of %q", args[0], c.CommandPath())
			}
			return nil
		}
	case args == nil:
		args = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, given []string) error {
		if err := args(c, given); err != nil {
			return usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
		}
		return nil
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// settings loads the server's settings.
func (p *program) settings() (*config.Config, error) {
	c, err := config.Load(p.environ, p.file)
	if _, ok := errors.AsType[config.Problems](err); ok {
		return nil, fmt.Errorf("%w\nsee what each setting means: sentinel-server config example", err)
	}
	return c, err
}

// logger writes to standard error as the settings say.
func (p *program) logger(c *config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == config.LogText {
		return slog.New(slog.NewTextHandler(p.err, options))
	}
	return slog.New(slog.NewJSONHandler(p.err, options))
}

// env reads a variable of the environment that the program was given.
func (p *program) env(key string) string {
	for _, kv := range p.environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == key {
			return v
		}
	}
	return ""
}
