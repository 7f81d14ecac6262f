package service

import (
	"context"
	"slices"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
)

// Flag is the name of the flag, --as-service, by which the Windows service
// manager tells the program that it started it. Install adds it; a command that
// calls RunAsService must accept it.
const Flag = "as-service"

// RunAsService runs until run returns. Its context is done when the service
// manager, or a signal, asks to stop. With --as-service on a Windows command line
// the service manager is answered; anywhere else this is an ordinary program,
// which is all that systemd needs. The caller says Notify(Ready) once it serves.
//
// It returns run's error. Ending without being asked counts as a failure to
// both managers, which then start the service again.
func RunAsService(spec Spec, run func(ctx context.Context) error) error {
	return runAsService(spec, run)
}

func runInForeground(run func(ctx context.Context) error) error {
	ctx, stop := lifecycle.Signals(context.Background())
	defer stop()
	context.AfterFunc(ctx, func() { Notify(Stopping) })
	return run(ctx)
}

// startedByManager looks at the whole command line, before any flag is parsed.
func startedByManager(args []string) bool { return slices.Contains(args, "--"+Flag) }
