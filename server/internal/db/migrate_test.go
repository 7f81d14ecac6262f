package db

import (
	"context"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// A server that is killed while it migrates keeps the others waiting for its
// lease, and no server longer than it may take to be ready again. REL-07
func TestALockWhoseHolderDiedIsTakenOver(t *testing.T) {
	t.Parallel()
	url := dbtest.EmptyPostgresURL(t)
	dead, err := Open(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	holder, err := migrationLock()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Lock(t.Context(), dead.write.DB); err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil { // it renews nothing any more
		t.Fatal(err)
	}
	d, err := Open(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if applied, err := d.Migrate(ctx); err != nil || len(applied) == 0 {
		t.Fatalf("after its holder died: %v %v", applied, err)
	}
	// Whoever has nothing to migrate asks for no lock.
	other, err := migrationLock()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Lock(t.Context(), d.write.DB); err != nil {
		t.Fatal(err)
	}
	at, now := context.WithTimeout(t.Context(), 5*time.Second) // the lock would be held on
	defer now()
	if _, err := d.Migrate(at); err != nil {
		t.Errorf("with nothing to migrate: %v", err)
	}
}

// While one works, another waits: it does not begin beside it. REL-07
func TestOneServerMigratesAtATime(t *testing.T) {
	t.Parallel()
	d, err := Open(t.Context(), Options{URL: dbtest.EmptyPostgresURL(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	holder, err := migrationLock()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Lock(t.Context(), d.write.DB); err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 2*lockRetry)
	defer cancel()
	if applied, err := d.Migrate(waiting); err == nil || len(applied) != 0 {
		t.Errorf("beside another: %v %v", applied, err)
	}
	if version, err := d.schemaVersion(t.Context()); err != nil || version != 0 {
		t.Errorf("beside another: version %d, %v", version, err)
	}
	if err := holder.Unlock(t.Context(), d.write.DB); err != nil {
		t.Fatal(err)
	}
	if applied, err := d.Migrate(t.Context()); err != nil || len(applied) == 0 {
		t.Errorf("after it: %v %v", applied, err)
	}
}
