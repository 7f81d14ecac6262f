package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"
	_ "modernc.org/sqlite" // the pure Go driver, named "sqlite"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// Dialect tells the two databases apart where their SQL differs.
type Dialect string

// The databases that are supported.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgres"
)

// Options say which database to open.
type Options struct {
	URL      string           // "sqlite:PATH" or "postgres://..."
	MaxConns int              // of the pool; 0 takes 16
	Now      func() time.Time // the clock of every transaction; nil takes time.Now
	Hooks    Hooks            // of simulations
}

// Hooks let a simulation stand between the server and its database: it decides
// what runs before a transaction begins, and whether a commit fails, before it
// happened or after, and how SQLite is opened. A nil one changes nothing.
type Hooks struct {
	SQLite func(dsn string) (*sql.DB, error)
	Begin  func(ctx context.Context) error
	Commit func(ctx context.Context, commit func() error) error
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	dialect Dialect
	write   *bun.DB
	read    *bun.DB
	now     func() time.Time
	hooks   Hooks
	lock    *files.Lock // SQLite only
	kept    kept
}

// ErrInUse says that another process holds the SQLite file.
var ErrInUse = errors.New("the database file is in use by another server process")

// Open opens the database and checks that it answers. On SQLite it takes the
// lock file beside the database, so that a second process is refused with
// ErrInUse. It applies no migration.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 16
	}
	d := &DB{now: o.Now, hooks: o.Hooks}
	var err error
	switch {
	case strings.HasPrefix(o.URL, "sqlite:"):
		err = d.openSQLite(strings.TrimPrefix(o.URL, "sqlite:"), o.MaxConns)
	case strings.HasPrefix(o.URL, "postgres://"), strings.HasPrefix(o.URL, "postgresql://"):
		err = d.openPostgreSQL(o.URL, o.MaxConns)
	default:
		return nil, errors.New("a database URL begins with sqlite: or postgres://")
	}
	if err == nil {
		err = d.write.PingContext(ctx)
	}
	if err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("open the %s database: %w", d.dialect, err)
	}
	return d, nil
}

func (d *DB) openSQLite(path string, maxConns int) error {
	d.dialect = SQLite
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	d.lock, err = files.Acquire(path + ".lock")
	if errors.Is(err, files.ErrLocked) {
		return fmt.Errorf("%w (%s)", ErrInUse, path)
	}
	if err != nil {
		return err
	}
	// The driver would make the file with the process's umask.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// A transaction that began as a reader cannot wait for the write lock; one
	// that begins immediate can. FULL makes a commit survive a power cut in WAL mode.
	write := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)", "foreign_keys(1)", "trusted_schema(0)"}}
	read := url.Values{"_pragma": {"busy_timeout(5000)", "query_only(1)", "trusted_schema(0)"}}
	dsn := func(q url.Values) string {
		return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
	}
	open := d.hooks.SQLite
	if open == nil {
		open = func(dsn string) (*sql.DB, error) { return sql.Open("sqlite", dsn) }
	}
	w, err := open(dsn(write))
	if err != nil {
		return err
	}
	w.SetMaxOpenConns(1)
	r, err := open(dsn(read))
	if err != nil {
		return err
	}
	r.SetMaxOpenConns(maxConns)
	r.SetMaxIdleConns(maxConns)
	d.write, d.read = d.wrap(w, sqlitedialect.New()), d.wrap(r, sqlitedialect.New())
	return nil
}

func (d *DB) openPostgreSQL(dsn string, maxConns int) error {
	d.dialect = PostgreSQL
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		// pgx's own text may repeat the password.
		return errors.New("the database URL is not valid")
	}
	// Nothing is described or prepared first, which costs another round trip for every
	// text that is not known yet, and most hold their values. See Tx.Rows.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	d.write = d.wrap(pool, pgdialect.New())
	d.read = d.write
	return nil
}

func (d *DB) wrap(pool *sql.DB, dialect schema.Dialect) *bun.DB {
	return bun.NewDB(pool, dialect)
}

// Dialect says which database this is.
func (d *DB) Dialect() Dialect { return d.dialect }

// Now is the clock that the database was opened with, in UTC.
func (d *DB) Now() time.Time { return d.now().UTC().Truncate(time.Microsecond) }

// Read is a handle for queries. It must not be used to write: on SQLite it
// cannot.
func (d *DB) Read() bun.IDB { return d.read }

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error { return d.write.PingContext(ctx) }

// Close ends all connections and gives the lock back.
func (d *DB) Close() error {
	var errs []error
	if d.read != nil && d.read != d.write {
		errs = append(errs, d.read.Close())
	}
	if d.write != nil {
		errs = append(errs, d.write.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Release())
	}
	return errors.Join(errs...)
}
