// Sentinel-agent lives on a device: it enrolls it, keeps its key, and proves every
// minute that it is there. Each subcommand is in a file of its own name.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// execute runs one command line and returns the exit code. Every error ends with
// the next thing to try.
func execute(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	if err == nil {
		return app.ExitOK
	}
	_, _ = fmt.Fprintf(stderr, "sentinel-agent: %v\n  try: %s\n", err, app.Here(stateDir(cmd), advise(err)))
	return app.ExitCode(err)
}

// stateDir is the one that a command line was for, "" if that cannot be told.
func stateDir(cmd *cobra.Command) string {
	cfg, err := load(cmd)
	if err != nil {
		return ""
	}
	return cfg.StateDir
}

// exitError ends the program with nothing more to say.
type exitError int

func (c exitError) Error() string { return fmt.Sprintf("exit %d", int(c)) }

// usageError is a command line that cannot be understood.
type usageError struct {
	error
	command string
}

func (u *usageError) Unwrap() error { return u.error }

func advise(err error) string {
	if usage, ok := errors.AsType[*usageError](err); ok {
		return usage.command + " --help"
	}
	return app.Advise(err)
}
