package pki_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
)

// ENR-09, ENR-11: what each device was given lately and whether each key is new, in the
// order in which it was asked, with who issues and whether anybody may.
func TestTheGroundsOfACertificate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		w.record("edge-1")
		w.now = noon.Add(time.Minute)
		w.record("edge-1")
		known := w.record("edge-1").KeyDigest
		w.record("edge-2")
		ground := func() (g pki.Grounds) {
			w.Helper()
			w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) (err error) {
				g, err = pki.Ground(ctx, tx, db.At(noon), pki.Wish{DeviceID: "edge-3", KeyDigest: "new"}, pki.Wish{DeviceID: "edge-1"}, pki.Wish{DeviceID: "edge-2", KeyDigest: known})
				return err
			}))
			return g
		}
		minute := db.At(noon.Add(time.Minute))
		g := ground()
		if want := []pki.Given{{}, {Count: 2, First: minute}, {Count: 1, First: minute, Certified: true}}; !slices.Equal(g.Given, want) {
			w.Errorf("given %+v, want %+v", g.Given, want)
		}
		cert, err := w.IssueDevice("edge-4", "e1", newKey(t), w.now, time.Hour)
		w.must(err)
		if g.Stopped != nil || len(g.Issuing) != 2 || !slices.Contains(g.Issuing, cert.AuthorityID) {
			w.Errorf("%s issues: %+v", cert.AuthorityID, g)
		}
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := pki.StopIssuing(ctx, tx, "alice", "x")
			return err
		}))
		if g := ground(); !errors.Is(g.Stopped, pki.ErrStopped) {
			w.Errorf("stopped: %+v", g)
		}
	})
}

// ENR-07: a stop that is acknowledged waited for all that asked before it. SQLite has
// one writer.
func TestAStopWaitsForWhoeverAskedBefore(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(context.Context, db.Tx) error{
		"one": pki.MayIssue,
		"many": func(ctx context.Context, tx db.Tx) error {
			_, err := pki.Ground(ctx, tx, 0, pki.Wish{DeviceID: "edge-1"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newOffice(t, dbtest.PostgresURL(t))
			stopped := make(chan error, 1)
			w.must(w.d.Batch(t.Context(), func(ctx context.Context, tx db.Tx) error {
				if err := ask(ctx, tx); err != nil {
					return err
				}
				go func() {
					stopped <- w.d.Write(context.Background(), func(ctx context.Context, tx db.Tx) error {
						_, err := pki.StopIssuing(ctx, tx, "alice", "x")
						return err
					})
				}()
				for waiting := 0; waiting == 0; {
					select {
					case err := <-stopped:
						return errors.Join(errors.New("the stop did not wait"), err)
					default:
					}
					if err := tx.NewRaw("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())").Scan(ctx, &waiting); err != nil {
						return err
					}
				}
				return nil
			}))
			w.must(<-stopped)
		})
	}
}
