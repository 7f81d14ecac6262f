package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// diary notes what happened in which order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) want(t *testing.T, lines ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, lines) {
		t.Errorf("it went:\n  %s\nwant:\n  %s", strings.Join(d.lines, "\n  "), strings.Join(lines, "\n  "))
	}
}

// steady is a part that becomes ready after warmUp, and needs coolDown to stop.
func (d *diary) steady(name string, warmUp, coolDown time.Duration) lifecycle.Part {
	ready := make(chan struct{})
	return lifecycle.Part{Name: name, Ready: ready, Run: func(ctx context.Context) error {
		d.note(name + " starts")
		time.Sleep(warmUp)
		d.note(name + " is ready")
		close(ready)
		<-ctx.Done()
		d.note(name + " is asked")
		time.Sleep(coolDown)
		d.note(name + " ended")
		return ctx.Err()
	}}
}

func TestPartsStartInOrderAndStopInReverse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := lifecycle.Run(ctx, quiet, 10*time.Second,
			d.steady("database", time.Second, time.Second),
			d.steady("jobs", 2*time.Second, 2*time.Second),
			d.steady("listener", 0, time.Second))
		if err != nil {
			t.Errorf("an orderly stop returned %v", err)
		}
		d.want(t,
			"database starts", "database is ready", "jobs starts", "jobs is ready", "listener starts", "listener is ready",
			"listener is asked", "listener ended", "jobs is asked", "jobs ended", "database is asked", "database ended")
	})
}

func TestAFailureStopsEverythingAndIsNamed(t *testing.T) {
	t.Parallel()
	boom := errors.New("disk is gone")
	failing := lifecycle.Part{Name: "jobs", Run: func(context.Context) error {
		time.Sleep(time.Minute)
		return boom
	}}
	synctest.Test(t, func(t *testing.T) {
		var d diary
		err := lifecycle.Run(t.Context(), quiet, time.Second, d.steady("database", 0, 0), failing, d.steady("listener", 0, 0))
		if !errors.Is(err, boom) || !strings.Contains(err.Error(), "jobs: disk is gone") {
			t.Errorf("got %v", err)
		}
		d.want(t, "database starts", "database is ready", "listener starts", "listener is ready",
			"listener is asked", "listener ended", "database is asked", "database ended")
	})
}

func TestAFailureWhileStartingStartsNothingFurther(t *testing.T) {
	t.Parallel()
	boom := errors.New("cannot open")
	t.Run("of the part that is awaited", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var d diary
			never := make(chan struct{})
			bad := lifecycle.Part{Name: "database", Ready: never, Run: func(context.Context) error { return boom }}
			if err := lifecycle.Run(t.Context(), quiet, time.Second, bad, d.steady("listener", 0, 0)); !errors.Is(err, boom) {
				t.Errorf("got %v", err)
			}
			d.want(t)
		})
	})
	t.Run("of a part before it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var d diary
			bad := lifecycle.Part{Name: "database", Run: func(context.Context) error { time.Sleep(time.Second); return boom }}
			err := lifecycle.Run(t.Context(), quiet, time.Minute, bad, d.steady("jobs", time.Hour, 0), d.steady("listener", 0, 0))
			if !errors.Is(err, boom) || !errors.Is(err, lifecycle.ErrLate) {
				t.Errorf("got %v, want the failure, and jobs late since it ignores its context for an hour", err)
			}
			d.want(t, "jobs starts")
			time.Sleep(2 * time.Hour) // lets the late part end inside the bubble
		})
	})
}

func TestAPanicBecomesAnErrorWithItsStackInTheLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	err := lifecycle.Run(t.Context(), log, time.Second, lifecycle.Part{Name: "jobs", Run: func(context.Context) error {
		panic("nobody expects this")
	}})
	if !errors.Is(err, lifecycle.ErrPanic) || !strings.Contains(err.Error(), "jobs: panicked: nobody expects this") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "run_test.go") {
		t.Errorf("the stack is in the error: %v", err)
	}
	if log := out.String(); !strings.Contains(log, "run_test.go") || !strings.Contains(log, "part=jobs") {
		t.Errorf("the log has no stack or no name: %s", log)
	}
}

func TestAGoroutineThatExitsWithoutReturningIsAFailure(t *testing.T) {
	t.Parallel()
	err := lifecycle.Run(t.Context(), quiet, time.Second, lifecycle.Part{Name: "jobs", Run: func(context.Context) error {
		runtime.Goexit()
		return nil
	}})
	if err == nil || !strings.Contains(err.Error(), "jobs") {
		t.Errorf("got %v", err)
	}
}

func TestReturningNilEarlyEndsOnlyThatPart(t *testing.T) {
	t.Parallel()
	once := lifecycle.Part{Name: "migrate", Run: func(context.Context) error { return nil }}
	t.Run("and the others go on", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var d diary
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			began := time.Now()
			if err := lifecycle.Run(ctx, quiet, time.Second, once, d.steady("listener", 0, 0)); err != nil {
				t.Errorf("got %v", err)
			}
			if time.Since(began) != time.Hour {
				t.Errorf("the listener ran for %v, want an hour", time.Since(began))
			}
		})
	})
	t.Run("even before it was ready", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			waiting := once
			waiting.Ready = make(chan struct{})
			if err := lifecycle.Run(t.Context(), quiet, time.Second, waiting); err != nil {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("and the end of the last part ends the run", func(t *testing.T) {
		t.Parallel()
		if err := lifecycle.Run(t.Context(), quiet, time.Second, once); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestCancellingItselfUnaskedIsAFailure(t *testing.T) {
	t.Parallel()
	err := lifecycle.Run(t.Context(), quiet, time.Second, lifecycle.Part{Name: "jobs", Run: func(context.Context) error {
		return context.Canceled
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAnErrorWhileStoppingIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		torn := errors.New("could not flush")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := lifecycle.Run(ctx, quiet, time.Second, lifecycle.Part{Name: "audit", Run: func(ctx context.Context) error {
			<-ctx.Done()
			return torn
		}})
		if !errors.Is(err, torn) || !strings.Contains(err.Error(), "audit") {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhoIsLateIsNamedAndTheOthersStillStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		err := lifecycle.Run(ctx, quiet, 10*time.Second,
			d.steady("database", 0, 500*time.Millisecond), d.steady("stuck", 0, time.Hour), d.steady("listener", 0, 2*time.Second))
		if !errors.Is(err, lifecycle.ErrLate) || !strings.Contains(err.Error(), "stuck") {
			t.Errorf("got %v", err)
		}
		for _, innocent := range []string{"database", "listener"} {
			if strings.Contains(err.Error(), innocent) {
				t.Errorf("%s stopped in time, but is named: %v", innocent, err)
			}
		}
		if took := time.Since(began) - time.Minute; took != 11*time.Second {
			t.Errorf("stopping took %v, want the grace and a tenth", took)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestWithTheContextDoneNothingStarts(t *testing.T) {
	t.Parallel()
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lifecycle.Run(ctx, quiet, time.Second, d.steady("database", 0, 0)); err != nil {
		t.Errorf("got %v", err)
	}
	d.want(t)
}

func TestWrongPartsAreRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	var d diary
	good := d.steady("database", 0, 0)
	for name, bad := range map[string]lifecycle.Part{
		"no name":         {Run: good.Run},
		"nothing to run":  {Name: "jobs"},
		"the name of one": {Name: "database", Run: good.Run},
	} {
		if err := lifecycle.Run(t.Context(), quiet, time.Second, good, bad); !errors.Is(err, lifecycle.ErrParts) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	d.want(t)
}
