//go:build heavy

package heavy

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/programs"
)

// bin is the folder of the two programs, built once as they are shipped.
var bin string

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (int, error) {
	var err error
	if bin, err = os.MkdirTemp("", "heavy"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	if err := programs.Build("../..", bin); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func program(name string) string { return programs.Path(bin, name) }

// How many devices do something at once: beating fills a batch, enrolling takes a
// connection to the database each.
const (
	beating   = 64
	enrolling = 16
)

// forAll does f for 0 to n-1, so many at once, and ends the test at the first
// error. It says how long that took.
func forAll(t *testing.T, n, atATime int, f func(i int) error) time.Duration {
	t.Helper()
	begin := time.Now()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(atATime)
	for i := range n {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil // another one has failed already
			}
			return f(i)
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return time.Since(begin)
}

// atOnce does all at the same instant, as nearly as goroutines can.
func atOnce(all ...func()) {
	var ready, done errgroup.Group
	start := make(chan struct{})
	arrived := make(chan struct{}, len(all))
	for _, f := range all {
		done.Go(func() error {
			arrived <- struct{}{}
			<-start
			f()
			return nil
		})
	}
	ready.Go(func() error {
		for range all {
			<-arrived
		}
		close(start)
		return nil
	})
	_, _ = ready.Wait(), done.Wait()
}

// eventually waits for what another process does.
func eventually(t *testing.T, limit time.Duration, what string, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for !reached() {
		if !pause(ctx, 10*time.Millisecond) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// pause waits, and says whether ctx is still running afterwards.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// quantile of durations that are sorted by it.
func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))].Round(10 * time.Microsecond)
}

func perSecond(n int, took time.Duration) string {
	return fmt.Sprintf("%d in %v (%.0f/s)", n, took.Round(time.Millisecond), float64(n)/took.Seconds())
}
