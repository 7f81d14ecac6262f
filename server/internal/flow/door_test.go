package flow

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// REL-15: devices that enroll at the same moment do not make each other begin
// again, which grew with the square of their number.
func TestEnrollmentsOfOneNodeAreWrittenOneAfterTheOther(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), db.Options{URL: dbtest.PostgresURL(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	f := New(Parts{DB: d})
	var inside, most, done atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			err := f.atTheDoor(t.Context(), func(ctx context.Context, tx db.Tx) error {
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				defer inside.Add(-1)
				for range 5 { // some way to the database and back, as an enrollment has
					if _, err := tx.ExecContext(ctx, "SELECT 1"); err != nil {
						return err
					}
				}
				done.Add(1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() != 1 || done.Load() != 20 {
		t.Errorf("%d at once, %d done", most.Load(), done.Load())
	}
	// Who gives up while another is inside leaves, and who failed leaves the door free.
	ctx, cancel := context.WithCancel(t.Context())
	err = f.atTheDoor(t.Context(), func(context.Context, db.Tx) error {
		cancel()
		if err := f.atTheDoor(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("while another is inside: %v", err)
		}
		return errStopping
	})
	if !errors.Is(err, errStopping) || f.atTheDoor(t.Context(), func(context.Context, db.Tx) error { return nil }) != nil {
		t.Errorf("afterwards: %v", err)
	}
}
