package db

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// kept is how statements whose text never changes are compiled once. SQLite spends
// longer on compiling a heartbeat's statement than on running it for one device, and
// PostgreSQL longer on planning it than on running it for sixteen.
type kept struct {
	byText sync.Map // of SQLite: *sql.Stmt

	// unnamed says that a pooler stands before PostgreSQL that hands each transaction
	// another connection and knows nothing of prepared statements: PgBouncer in
	// transaction mode before 1.21, or with max_prepared_statements = 0. Then
	// statements are described once, and planned each time.
	unnamed atomic.Bool
}

// Keep has a statement compiled once for all transactions on SQLite. On PostgreSQL
// each connection does so with its first use. It needs the schema, and no transaction
// of the caller's.
func (d *DB) Keep(ctx context.Context, query string) error {
	if d.dialect != SQLite {
		return nil
	}
	if _, ok := d.kept.byText.Load(query); ok {
		return nil
	}
	s, err := d.write.DB.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	d.kept.byText.Store(query, s)
	return nil
}

// planned has pgx keep a statement's plan with its connection, or, behind a pooler that
// forbids it, what its parameters are: of a text that never changes, for whose lists
// that alone is much less work.
func (tx Tx) planned(args []any) []any {
	switch {
	case tx.On != PostgreSQL:
		return args
	case tx.kept.unnamed.Load():
		return append([]any{pgx.QueryExecModeCacheDescribe}, args...)
	}
	return append([]any{pgx.QueryExecModeCacheStatement}, args...)
}

// misplaced reports whether a transaction failed because its connection is not the one
// that its statement was prepared on, or one where another had prepared it: a pooler
// stands between. Nothing of the transaction counts, and no other names a statement.
func (k *kept) misplaced(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != "26000" && pg.Code != "42P05" { // invalid_sql_statement_name, duplicate_prepared_statement
		return false
	}
	k.unnamed.Store(true)
	return true
}

// Rows runs a query whose text is always the same, compiled before if it was kept.
func (tx Tx) Rows(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s, ok := tx.kept.byText.Load(query); ok {
		if s, ok := s.(*sql.Stmt); ok {
			return tx.Tx.Tx.StmtContext(ctx, s).QueryContext(ctx, args...) //nolint:sqlclosecheck // the transaction closes it
		}
	}
	return tx.Tx.Tx.QueryContext(ctx, query, tx.planned(args)...)
}

// Changed runs a statement whose text is always the same, and says how many rows it
// changed.
func (tx Tx) Changed(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := tx.Tx.Tx.ExecContext(ctx, query, tx.planned(args)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
