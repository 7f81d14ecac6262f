package device_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
)

// REL-15: heartbeats lock a device's counter, then the device. An act that did it
// the other way round would wait for them while they wait for it, and the
// database would end one of them after a second.
func TestActsAndHeartbeatsLockInOneOrder(t *testing.T) {
	t.Parallel()
	d := open(t, dbtest.PostgresURL(t))
	in, err := d.Instance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, act := range map[string]func(ctx context.Context, tx db.Tx, id string) error{
		"suspend": func(ctx context.Context, tx db.Tx, id string) error {
			_, err := device.Suspend(ctx, tx, id, "x", "x")
			return err
		},
		"hold": func(ctx context.Context, tx db.Tx, id string) error {
			_, err := device.Hold(ctx, tx, id, "x")
			return err
		},
	} {
		add(t, d, name)
		c, err := device.GetCounter(t.Context(), d.Read(), name)
		if err != nil {
			t.Fatal(err)
		}
		beat := device.Beat{DeviceID: name, EnrollmentID: c.EnrollmentID, Fingerprint: c.Fingerprint, Counter: 1, Epoch: in.Epoch}
		acted := make(chan error, 1)
		pid := make(chan int, 100) // one a try
		deadlocked := func(err error) bool {
			pg, ok := errors.AsType[*pgconn.PgError](err)
			return ok && pg.Code == "40P01"
		}
		err = d.Batch(t.Context(), func(ctx context.Context, tx db.Tx) error {
			if accepted, err := device.Raise(ctx, tx, []device.Beat{beat}); err != nil || len(accepted) != 1 {
				t.Errorf("%s: the heartbeat: %v, %v", name, accepted, err)
				return errors.Join(err, context.Canceled)
			}
			go func() {
				acted <- d.Write(context.Background(), func(ctx context.Context, tx db.Tx) error {
					var n int
					if err := tx.NewRaw("SELECT pg_backend_pid()").Scan(ctx, &n); err != nil {
						return err
					}
					pid <- n
					err := act(ctx, tx, name)
					if deadlocked(err) {
						t.Errorf("%s: a deadlock with a heartbeat: %v", name, err)
					}
					return err
				})
			}()
			waits(t, d, <-pid)
			err := device.SetSaid(ctx, tx, device.Telling{DeviceID: name, Digest: "digest", Said: device.Said{AgentVersion: "1.0.0"}})
			if deadlocked(err) {
				t.Errorf("%s: a deadlock with an act: %v", name, err)
				return context.Canceled // not a second time
			}
			return err
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := <-acted; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// waits returns once a connection of the database waits for a lock.
func waits(t *testing.T, d *db.DB, pid int) {
	t.Helper()
	for blocked := 0; blocked == 0; {
		if err := d.Read().NewRaw("SELECT COUNT(*) FROM pg_locks WHERE pid = ? AND NOT granted", pid).Scan(t.Context(), &blocked); err != nil {
			t.Fatal(err)
		}
	}
}
