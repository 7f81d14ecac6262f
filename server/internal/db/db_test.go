package db_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

func open(t *testing.T, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func migrated(t *testing.T, url string) *db.DB {
	t.Helper()
	d := open(t, url)
	if _, err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := exec(d, "CREATE TABLE notes (name TEXT PRIMARY KEY, next_at BIGINT NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	return d
}

func exec(d *db.DB, query string, args ...any) error {
	return d.Write(context.Background(), func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

func TestAWriteIsAllOrNothing(t *testing.T) {
	t.Parallel()
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		d := migrated(t, url)
		boom := errors.New("boom")
		insert := func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO notes (name, next_at) VALUES ('a', 1)")
			return err
		}
		if err := d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
			return errors.Join(insert(ctx, tx), boom)
		}); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
				_ = insert(ctx, tx)
				panic("in the middle")
			})
		}()
		n, err := d.Read().NewSelect().Table("notes").Count(t.Context())
		if err != nil || n != 0 {
			t.Fatalf("%d rows stand, %v", n, err)
		}
		// Neither of them left the connection or a lock behind.
		if err := d.Write(t.Context(), insert); err != nil {
			t.Fatal(err)
		}
		if err := d.Write(t.Context(), insert); !db.IsDuplicate(err) {
			t.Fatalf("a second row of the same key: %v", err)
		}
	})
}

func TestAWriteInsideAWriteIsRefused(t *testing.T) {
	t.Parallel()
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		d := migrated(t, url)
		err := d.Write(t.Context(), func(ctx context.Context, _ db.Tx) error {
			return d.Write(ctx, func(context.Context, db.Tx) error { return nil })
		})
		if !errors.Is(err, db.ErrNested) {
			t.Fatal(err)
		}
	})
}

// Two transactions that each read what the other writes: only one order of them
// may come out (write skew). Both read before either writes, so that a weaker
// isolation than serializable lets both write.
func TestConcurrentWritesComeOutAsIfOneAfterTheOther(t *testing.T) {
	t.Parallel()
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		d := migrated(t, url)
		for round := range 5 {
			var read, ended sync.WaitGroup
			read.Add(2)
			var tries, wrote atomic.Int32
			for i := range 2 {
				ended.Go(func() {
					first, mine := true, false
					err := d.Write(context.Background(), func(ctx context.Context, tx db.Tx) error {
						tries.Add(1)
						mine = false
						n, err := tx.NewSelect().Table("notes").Where("next_at = ?", round).Count(ctx)
						if first {
							first = false
							read.Done()
							if tx.On == db.PostgreSQL { // SQLite has one writer: nothing to wait for
								read.Wait()
							}
						}
						if err != nil || n > 0 {
							return err
						}
						mine = true
						_, err = tx.ExecContext(ctx, "INSERT INTO notes (name, next_at) VALUES (?, ?)", fmt.Sprintf("r%d-%d", round, i), round)
						return err
					})
					if err != nil {
						t.Error(err)
					}
					if mine {
						wrote.Add(1)
					}
				})
			}
			ended.Wait()
			n, err := d.Read().NewSelect().Table("notes").Where("next_at = ?", round).Count(t.Context())
			if err != nil || n != 1 || wrote.Load() != 1 {
				t.Fatalf("%d rows stand and %d writers say so, %v", n, wrote.Load(), err)
			}
			if d.Dialect() == db.PostgreSQL && tries.Load() < 3 {
				t.Errorf("nobody tried again: %d tries of two writers that met", tries.Load())
			}
		}
	})
}

func TestReadingCannotWriteOnSQLite(t *testing.T) {
	t.Parallel()
	d := migrated(t, "sqlite:"+dbtest.EmptySQLitePath(t))
	if _, err := d.Read().NewRaw("DELETE FROM instance").Exec(t.Context()); err == nil {
		t.Fatal("a reader wrote")
	}
}

// REL-08: two servers on one file.
func TestOneProcessHoldsASQLiteFile(t *testing.T) {
	t.Parallel()
	url := "sqlite:" + dbtest.EmptySQLitePath(t)
	first := open(t, url)
	if _, err := db.Open(t.Context(), db.Options{URL: url}); !errors.Is(err, db.ErrInUse) {
		t.Fatalf("a second one: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := db.Open(t.Context(), db.Options{URL: url})
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	_ = second.Close()
}

func TestAServerWorksOnItsOwnSchemaOnly(t *testing.T) {
	t.Parallel()
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		d := open(t, url)
		if err := d.CheckSchema(t.Context()); !errors.Is(err, db.ErrSchemaOlder) {
			t.Fatalf("an empty database: %v", err)
		}
		applied, err := d.Migrate(t.Context())
		if err != nil || len(applied) == 0 {
			t.Fatalf("%v, %v", applied, err)
		}
		if err := d.CheckSchema(t.Context()); err != nil {
			t.Fatal(err)
		}
		if applied, err = d.Migrate(t.Context()); err != nil || len(applied) != 0 {
			t.Fatalf("a second time: %v, %v", applied, err)
		}
		if err := exec(d, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, ?)", 99, true); err != nil {
			t.Fatal(err)
		}
		if err := d.CheckSchema(t.Context()); !errors.Is(err, db.ErrSchemaNewer) {
			t.Fatalf("a newer one: %v", err)
		}
		if _, err := d.Migrate(t.Context()); !errors.Is(err, db.ErrSchemaNewer) {
			t.Fatalf("migrating a newer one: %v", err)
		}
	})
}

func TestServersThatMigrateAtOnceDoItOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.EmptyPostgresURL(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			d, err := db.Open(context.Background(), db.Options{URL: url})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = d.Close() }()
			if _, err := d.Migrate(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := open(t, url).CheckSchema(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestADatabaseNeverLoosensItsProfile(t *testing.T) {
	t.Parallel()
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		d := migrated(t, url)
		first, err := d.Begin(t.Context(), "trial")
		if err != nil {
			t.Fatal(err)
		}
		again, err := d.Begin(t.Context(), "production")
		if err != nil || again.Profile != "production" || again.FleetID != first.FleetID || again.Epoch != first.Epoch {
			t.Fatalf("tightened: %+v, %v", again, err)
		}
		if _, err := d.Begin(t.Context(), "trial"); !errors.Is(err, db.ErrProfile) {
			t.Fatalf("loosened: %v", err)
		}
		if _, err := d.Begin(t.Context(), "none"); err == nil {
			t.Fatal("an unknown profile")
		}
	})
}

// A25: a server that may not open a database does not migrate it either.
func TestWhoMayBeginIsKnownBeforeAnythingIsChanged(t *testing.T) {
	t.Parallel()
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		if err := open(t, url).MayBegin(t.Context(), "trial"); err != nil {
			t.Fatalf("without a schema: %v", err)
		}
	})
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		d := migrated(t, url)
		if err := d.MayBegin(t.Context(), "trial"); err != nil {
			t.Fatalf("before the first start: %v", err)
		}
		if _, err := d.Begin(t.Context(), "staging"); err != nil {
			t.Fatal(err)
		}
		for profile, may := range map[string]bool{"trial": false, "staging": true, "production": true} {
			if err := d.MayBegin(t.Context(), profile); errors.Is(err, db.ErrProfile) == may || may && err != nil {
				t.Errorf("%s: %v", profile, err)
			}
		}
	})
}

func TestANodeNoticesADatabaseThatWentBack(t *testing.T) {
	t.Parallel()
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		d := migrated(t, url)
		ctx := t.Context()
		begin, err := d.Begin(ctx, "trial")
		if err != nil {
			t.Fatal(err)
		}
		o := db.NewOutside(t.TempDir())
		if err := o.Check(begin); err != nil {
			t.Fatalf("a node that remembers nothing: %v", err)
		}
		if err := o.Raise(ctx, d); err != nil {
			t.Fatal(err)
		}
		now, err := d.Instance(ctx)
		if err != nil || o.Check(now) != nil {
			t.Fatalf("%v, %v", err, o.Check(now))
		}
		if err := o.Check(begin); !errors.Is(err, db.ErrRestored) || !strings.Contains(err.Error(), "mark-restored") {
			t.Errorf("behind: %v", err)
		}
		other := now
		other.FleetID = "another"
		if err := o.Check(other); !errors.Is(err, db.ErrOtherFleet) {
			t.Errorf("another fleet: %v", err)
		}
		other = now
		other.Epoch = "another"
		if err := o.Check(other); !errors.Is(err, db.ErrRestored) {
			t.Errorf("another epoch without a higher mark: %v", err)
		}
		other.Mark++
		if err := o.Check(other); err != nil {
			t.Errorf("a restore that another node declared: %v", err)
		}
		if err := d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return tx.SetBehind(ctx, "a receipt") }); err != nil {
			t.Fatal(err)
		}
		if now, err = d.Instance(ctx); err != nil {
			t.Fatal(err)
		}
		if err := o.Check(now); !errors.Is(err, db.ErrRestored) {
			t.Errorf("a receipt ahead: %v", err)
		}
	})
}

// REV-05: a restore under a running node is noticed by its next look.
func TestARunningNodeNoticesADatabaseThatWentBack(t *testing.T) {
	t.Parallel()
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		d := migrated(t, url)
		ctx := t.Context()
		if _, err := d.Begin(ctx, "trial"); err != nil {
			t.Fatal(err)
		}
		o := db.NewOutside(t.TempDir())
		for range 3 {
			if err := o.Raise(ctx, d); err != nil {
				t.Fatal(err)
			}
		}
		before, err := o.Load()
		if err != nil || before.Mark != 3 {
			t.Fatalf("%+v, %v", before, err)
		}
		if err := d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE instance SET mark = 1")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for range 5 { // also when the mark would have caught up
			if err := o.Raise(ctx, d); !errors.Is(err, db.ErrRestored) {
				t.Fatalf("it goes on: %v", err)
			}
		}
		in, err := d.Instance(ctx)
		if err != nil || in.BehindSince == 0 || in.Mark != 1 {
			t.Errorf("the database says %+v, %v", in, err)
		}
		if after, err := o.Load(); err != nil || after != before {
			t.Errorf("the node remembers %+v, %v; before it was %+v", after, err, before)
		}
	})
}

func TestTimesComeBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("x", 3600)
	for _, at := range []time.Time{time.Date(2026, 3, 1, 12, 0, 0, 123456789, zone), time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)} {
		if got := db.At(at).Time(); !got.Equal(at.Truncate(time.Microsecond)) || got.Location() != time.UTC {
			t.Errorf("%v came back as %v", at, got)
		}
	}
	if !db.At(time.Time{}).Time().IsZero() {
		t.Error("never is not never")
	}
}

func TestIDsAreUUIDsOfVersion7(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(0x0123456789ab)
	seen := map[string]bool{}
	for range 1000 {
		id := db.NewID(now)
		if !strings.HasPrefix(id, "01234567-89ab-7") || strings.IndexByte("89ab", id[19]) < 0 || seen[id] {
			t.Fatal(id)
		}
		seen[id] = true
	}
}

func TestAPasswordInTheURLIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://u:s3cret@%zz/x", "mysql://u:s3cret@h/x", "postgres://u:s3cret@127.0.0.1:1/x?connect_timeout=1"} {
		if _, err := db.Open(t.Context(), db.Options{URL: url}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	}
	if _, err := db.Open(t.Context(), db.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "no", "such", "a.db")}); err != nil {
		t.Errorf("a directory is made: %v", err)
	}
}
