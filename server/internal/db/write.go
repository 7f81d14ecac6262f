package db

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
)

// Tx is a running write transaction. Only Write and Batch make one.
type Tx struct {
	bun.Tx
	// Now is the time of this attempt, in UTC: one time for all that it writes.
	Now time.Time
	On  Dialect

	kept *kept
}

// At is Now as it is stored.
func (tx Tx) At() Micros { return At(tx.Now) }

// NewID makes an id at the transaction's time.
func (tx Tx) NewID() string { return NewID(tx.Now) }

// ErrNested says that a write was begun inside another.
var ErrNested = errors.New("a write transaction inside another")

// ErrNotFound says that no row matched.
var ErrNotFound = sql.ErrNoRows

// writeFor bounds a transaction with all its tries when its context has no
// nearer end. A hot row with fifty writers settles in well under a second.
const writeFor = 15 * time.Second

type insideWrite struct{}

// Write runs f in one transaction and commits when it returns nil. f may run
// again, on PostgreSQL after 40001 and 40P01 and once behind a pooler: it must do nothing but read and
// write through tx. An error of f undoes everything and comes back as it is.
func (d *DB) Write(ctx context.Context, f func(ctx context.Context, tx Tx) error) error {
	return d.transact(ctx, sql.LevelSerializable, f)
}

// Batch is Write at READ COMMITTED, for statements that check in their own
// conditions everything that they rest on.
func (d *DB) Batch(ctx context.Context, f func(ctx context.Context, tx Tx) error) error {
	return d.transact(ctx, sql.LevelReadCommitted, f)
}

func (d *DB) transact(ctx context.Context, level sql.IsolationLevel, f func(context.Context, Tx) error) error {
	if ctx.Value(insideWrite{}) != nil {
		return ErrNested
	}
	if d.dialect == SQLite {
		level = sql.LevelDefault // the driver knows one level: serializable
	}
	ctx = context.WithValue(ctx, insideWrite{}, true)
	ctx, cancel := context.WithTimeout(ctx, writeFor)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := d.attempt(ctx, level, f)
		if err == nil || !retryable(err) && !d.kept.misplaced(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

func (d *DB) attempt(ctx context.Context, level sql.IsolationLevel, f func(context.Context, Tx) error) (err error) {
	if d.hooks.Begin != nil {
		if err := d.hooks.Begin(ctx); err != nil {
			return err
		}
	}
	btx, err := d.write.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // also when f panics
			_ = btx.Rollback()
		}
	}()
	if err := f(ctx, Tx{Tx: btx, Now: d.Now(), On: d.dialect, kept: &d.kept}); err != nil {
		return err
	}
	commit := func() error {
		done = true
		failpoint.Here("db.before-commit")
		defer failpoint.Here("db.after-commit")
		return btx.Commit()
	}
	if d.hooks.Commit != nil {
		return d.hooks.Commit(ctx, commit)
	}
	return commit()
}

func retryable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "40001" || pg.Code == "40P01"
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_BUSY
}

// IsDuplicate reports whether err says that a unique key is taken.
func IsDuplicate(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "23505"
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) &&
		(lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// ErrConflict says that a conditional statement found its row changed.
var ErrConflict = errors.New("the row is not as expected any more")

// One demands that a statement changed exactly one row, and is ErrConflict
// otherwise. It is how a check inside the statement is heard.
func One(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return ErrConflict
	}
	return nil
}
