package lifecycle

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Signals returns a context that is done after the first SIGINT or SIGTERM (on
// Windows: after Ctrl+C or Ctrl+Break). A second signal ends the process at once
// with the status 128 + its number, as a shell would report it. Calling stop
// gives the signals back their usual meaning and cancels the context.
func Signals(ctx context.Context) (context.Context, context.CancelFunc) {
	arrived := make(chan os.Signal, 2)
	signal.Notify(arrived, os.Interrupt, syscall.SIGTERM)
	ctx, stop := onSignals(ctx, arrived, os.Exit)
	return ctx, func() {
		signal.Stop(arrived)
		stop()
	}
}

func onSignals(ctx context.Context, arrived <-chan os.Signal, exit func(int)) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	quit := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case <-quit:
				return
			case s := <-arrived:
				if !first {
					exit(status(s))
					return
				}
				cancel()
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		close(quit)
		cancel()
	})
}

func status(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}
