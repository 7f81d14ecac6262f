package lifecycle

import (
	"context"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
)

func TestTheFirstSignalCancelsAndTheSecondExits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		arrived := make(chan os.Signal)
		exited := make(chan int, 1)
		ctx, stop := onSignals(context.Background(), arrived, func(code int) { exited <- code })
		defer stop()

		if ctx.Err() != nil {
			t.Fatal("done before any signal")
		}
		arrived <- os.Interrupt
		<-ctx.Done()
		synctest.Wait()
		if len(exited) != 0 {
			t.Fatal("the first signal already ended the process")
		}
		arrived <- syscall.SIGTERM
		if code := <-exited; code != 128+15 {
			t.Errorf("exit status %d, want 143", code)
		}
	})
}

func TestStopEndsTheContextAndTheWatching(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// The bubble fails the test if the goroutine is left behind.
		ctx, stop := onSignals(context.Background(), make(chan os.Signal), func(int) { t.Error("exited") })
		stop()
		stop()
		<-ctx.Done()
	})
}

func TestTheEndOfTheParentIsTheEndOfTheContext(t *testing.T) {
	t.Parallel()
	parent, cancel := context.WithCancel(context.Background())
	ctx, stop := Signals(parent)
	defer stop()
	cancel()
	<-ctx.Done()
}
