package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/sentinel-secure-x/sentinel-secure-x/migrations"
)

// Refusals to work on a schema that this binary was not made for.
var (
	ErrSchemaOlder = errors.New("the database schema is older than this server")
	ErrSchemaNewer = errors.New("the database schema is newer than this server")
)

// SchemaStatus says where the schema stands.
type SchemaStatus struct {
	Current int64    `json:"current"` // version in the database, 0 when empty
	Wanted  int64    `json:"wanted"`  // version of this binary
	Pending []string `json:"pending"` // files that migrate up would apply
}

// Schema reads where the schema stands. It changes nothing.
func (d *DB) Schema(ctx context.Context) (SchemaStatus, error) {
	files, err := d.migrationFiles()
	if err != nil {
		return SchemaStatus{}, err
	}
	s := SchemaStatus{Pending: []string{}}
	if s.Current, err = d.schemaVersion(ctx); err != nil {
		return s, err
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return s, err
	}
	for _, name := range names {
		v, err := goose.NumericComponent(name)
		if err != nil {
			return s, fmt.Errorf("migration %s: %w", name, err)
		}
		s.Wanted = max(s.Wanted, v)
		if v > s.Current {
			s.Pending = append(s.Pending, name)
		}
	}
	return s, nil
}

// CheckSchema refuses a schema that is not exactly this binary's, with
// ErrSchemaOlder or ErrSchemaNewer and what to do.
func (d *DB) CheckSchema(ctx context.Context) error {
	s, err := d.Schema(ctx)
	switch {
	case err != nil:
		return err
	case s.Current < s.Wanted:
		return fmt.Errorf("%w: it has version %d, this server needs %d; run: sentinel-server migrate up", ErrSchemaOlder, s.Current, s.Wanted)
	case s.Current > s.Wanted:
		return fmt.Errorf("%w: it has version %d, this server knows %d; start the newer sentinel-server that migrated it", ErrSchemaNewer, s.Current, s.Wanted)
	}
	return nil
}

// A process that dies while it holds the lock table keeps the others waiting for
// as long as its lease: no longer than a server may take to be ready again. One
// that is only slow renews it.
const (
	lockLease = 5 * time.Second
	lockRenew = time.Second
	lockRetry = 250 * time.Millisecond
	lockTries = 1200 // five minutes
)

// migrationLock lets one process migrate. It is not an advisory lock: those do
// not pass a pooler in transaction mode.
func migrationLock() (lock.Locker, error) {
	return lock.NewPostgresTableLocker(lock.WithTableLeaseDuration(lockLease), lock.WithTableHeartbeatInterval(lockRenew),
		lock.WithTableLockTimeout(lockRetry, lockTries), lock.WithTableUnlockTimeout(lockRetry, uint64(lockLease/lockRetry)))
}

// Migrate applies what is pending, one transaction a file, and returns the
// names of the files applied. Several may run at once: on PostgreSQL a lock table
// lets one work, on SQLite the lock file does. Where nothing is pending nobody
// waits for it. A newer schema is refused.
func (d *DB) Migrate(ctx context.Context) ([]string, error) {
	if err := d.CheckSchema(ctx); err == nil || errors.Is(err, ErrSchemaNewer) {
		return nil, err
	}
	files, err := d.migrationFiles()
	if err != nil {
		return nil, err
	}
	dialect := goose.DialectSQLite3
	var options []goose.ProviderOption
	if d.dialect == PostgreSQL {
		dialect = goose.DialectPostgres
		locker, err := migrationLock()
		if err != nil {
			return nil, err
		}
		options = append(options, goose.WithLocker(locker))
	}
	p, err := goose.NewProvider(dialect, d.write.DB, files, options...)
	if err != nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	applied := make([]string, 0, len(results))
	for _, r := range results {
		applied = append(applied, r.Source.Path)
	}
	if err != nil {
		return applied, fmt.Errorf("migrate: %w", err)
	}
	return applied, nil
}

func (d *DB) migrationFiles() (fs.FS, error) { return fs.Sub(migrations.Files, string(d.dialect)) }

func (d *DB) schemaVersion(ctx context.Context) (int64, error) {
	var v int64
	err := d.read.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&v)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42P01" || err != nil && strings.Contains(err.Error(), "no such table") {
		return 0, nil
	}
	return v, err
}
