package health

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func holds(context.Context) error { return nil }

func TestAServerIsReadyWhenEveryCheckHolds(t *testing.T) {
	t.Parallel()
	var fail atomic.Bool
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := New(func() time.Time { return now }, Check{"a", holds}, Check{"b", func(context.Context) error {
		if fail.Load() {
			return errors.New("start it")
		}
		return nil
	}})
	if r, ready := s.Report(t.Context()); !ready || !r.Ready || len(r.Checks) != 2 || r.Checks[1] != (Result{"b", true, ""}) {
		t.Fatalf("%+v", r)
	}
	fail.Store(true)
	now = now.Add(time.Second)
	r, ready := s.Report(t.Context())
	if ready || r.Ready || !r.Checks[0].OK || r.Checks[1] != (Result{"b", false, "start it"}) {
		t.Fatalf("%+v", r)
	}
	fail.Store(false)
	now = now.Add(time.Second)
	if !s.Ready(t.Context()).Ready {
		t.Error("it does not come back")
	}
	if !New(time.Now).Ready(t.Context()).Ready {
		t.Error("a server without checks is not ready")
	}
}

func TestChecksAreAskedOnceASecondHoweverOftenReadinessIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		s := New(time.Now, Check{"a", func(context.Context) error { asked.Add(1); return nil }})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { s.Ready(context.Background()) })
		}
		all.Wait()
		time.Sleep(time.Second - 1)
		s.Ready(t.Context())
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times within a second", n)
		}
		time.Sleep(1)
		s.Ready(t.Context())
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times after a second", n)
		}
	})
}

func TestAClockThatWentBackDoesNotKeepAnOldAnswer(t *testing.T) {
	t.Parallel()
	now, asked := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), 0
	s := New(func() time.Time { return now }, Check{"a", func(context.Context) error { asked++; return nil }})
	s.Ready(t.Context())
	now = now.Add(-time.Hour)
	s.Ready(t.Context())
	if asked != 2 {
		t.Fatalf("asked %d times", asked)
	}
}

func TestASlowCheckDoesNotHoldTheOthersUpNorTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var together atomic.Int32
		slow := func(ctx context.Context) error { together.Add(1); <-ctx.Done(); return ctx.Err() }
		s := New(time.Now, Check{"slow", slow}, Check{"slow too", slow}, Check{"quick", holds})
		begin := time.Now()
		r := s.Ready(t.Context())
		if took := time.Since(begin); took != askLimit || together.Load() != 2 {
			t.Errorf("the answer took %v", took)
		}
		if r.Ready || r.Checks[0].OK || r.Checks[0].Reason == "" || r.Checks[1].OK || !r.Checks[2].OK {
			t.Errorf("%+v", r)
		}
	})
}

// Whoever hangs up early does not make the answer of others.
func TestACallerThatHangsUpDoesNotMakeTheServerUnready(t *testing.T) {
	t.Parallel()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s := New(time.Now, Check{"a", func(ctx context.Context) error { return ctx.Err() }})
	if r := s.Ready(gone); !r.Ready {
		t.Fatalf("%+v", r)
	}
}
