// Fleetsim is a fleet of devices in one process, for sizing and for tests. Each
// device has its own key, journal and mutual TLS connection, and speaks through
// the agent's own code: what the server meets is what real agents send.
//
// It enrolls the devices that its directory does not hold yet, then sends
// heartbeats for a while and says how that went. The same directory goes on with
// the same fleet. A share of the devices may be bad ones (--bad): what they do must
// be refused, and the others must not feel it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// execute runs one command line and returns the exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	ctx, stop := lifecycle.Signals(context.Background())
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "fleetsim: %v\n  try: %s\n", err, advise(err))
	return 1
}

func advise(err error) string {
	switch {
	case errors.Is(err, errFiles):
		return "a higher limit of open files (ulimit -n), or fewer --devices"
	case errors.Is(err, errTaken):
		return "sentinel-server audit list --action heartbeat, and report what was accepted"
	case errors.Is(err, errEnroll):
		return "see that the token has uses left and that an enrollment window is open, then run the same again"
	}
	return "fleetsim --help"
}
