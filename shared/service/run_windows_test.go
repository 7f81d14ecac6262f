package service

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/windows/svc"
)

func execute(run func(context.Context) error) (chan<- svc.ChangeRequest, <-chan svc.Status, <-chan uint32) {
	requests, status, code := make(chan svc.ChangeRequest), make(chan svc.Status, 8), make(chan uint32, 1)
	go func() {
		_, c := (&handler{run: run}).Execute(nil, requests, status)
		code <- c
	}()
	return requests, status, code
}

func untilAsked(ctx context.Context) error { <-ctx.Done(); return nil }

func TestTheHandlerStopsWhenTheManagerAsks(t *testing.T) {
	t.Parallel()
	for _, cmd := range []svc.Cmd{svc.Stop, svc.Shutdown} {
		requests, status, code := execute(untilAsked)
		requests <- svc.ChangeRequest{Cmd: svc.Interrogate, CurrentStatus: svc.Status{State: svc.Running}}
		requests <- svc.ChangeRequest{Cmd: cmd}
		if c := <-code; c != 0 {
			t.Errorf("exit code %d after an orderly stop", c)
		}
		for _, want := range []svc.State{svc.StartPending, svc.Running, svc.Running, svc.StopPending} {
			if got := <-status; got.State != want {
				t.Errorf("state %d, want %d", got.State, want)
			}
		}
	}
}

func TestAnEndThatNobodyAskedForIsAFailureSoThatRecoveryActs(t *testing.T) {
	t.Parallel()
	_, _, code := execute(func(context.Context) error { return errors.New("boom") })
	if c := <-code; c != exitFailed {
		t.Errorf("exit code %d after an error", c)
	}
	_, _, code = execute(func(context.Context) error { return nil })
	if c := <-code; c != exitUnasked {
		t.Errorf("exit code %d after a quiet end", c)
	}
}
