package service

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// Exit codes that the service manager shows.
const (
	exitFailed  = 1 // run returned an error
	exitUnasked = 2 // run returned although nobody asked it to stop
)

// stopHint is how many milliseconds stopping may take before the manager says
// that the service hangs; longer than the program takes to stop by itself.
const stopHint = 90_000

func runAsService(spec Spec, run func(ctx context.Context) error) error {
	if !startedByManager(os.Args) {
		return runInForeground(run)
	}
	h := &handler{run: run}
	if err := svc.Run(spec.Name, h); err != nil {
		return fmt.Errorf("answer the service manager: %w", err)
	}
	if h.err != nil {
		report(spec.Name, h.err)
	}
	return h.err
}

// handler answers the service manager while run works.
type handler struct {
	run func(ctx context.Context) error
	err error
}

// Execute implements svc.Handler. An exit code other than 0 makes the manager
// take its recovery actions.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	status <- svc.Status{State: svc.StartPending}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- h.run(ctx) }()
	status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
	for {
		select {
		case h.err = <-done:
			switch {
			case h.err != nil:
				return true, exitFailed
			case ctx.Err() == nil:
				return true, exitUnasked
			}
			return false, 0
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				status <- svc.Status{State: svc.StopPending, WaitHint: stopHint}
				cancel()
			}
		}
	}
}

// report puts the failure into the event log, since a service has no terminal.
func report(name string, failure error) {
	log, err := eventlog.Open(name)
	if err != nil {
		return
	}
	defer log.Close()
	_ = log.Error(exitFailed, failure.Error())
}
