package db

import (
	"context"
	"database/sql"
	"sync"

	"github.com/jackc/pgx/v5"
)

// kept are statements that stay compiled, by their text.
type kept struct{ sync.Map }

// Keep has a statement compiled once for all transactions, where that pays: SQLite
// spends longer on compiling a heartbeat's statement than on running it for one
// device. PostgreSQL is left as it is, since a pooler may stand between. It needs the
// schema, and no transaction of the caller's.
func (d *DB) Keep(ctx context.Context, query string) error {
	if d.dialect != SQLite {
		return nil
	}
	if _, ok := d.kept.Load(query); ok {
		return nil
	}
	s, err := d.write.DB.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	d.kept.Store(query, s)
	return nil
}

// described has pgx ask once what a text's parameters are, and send them as PostgreSQL
// keeps them: of a text that never changes, for whose lists that is much less work.
func (tx Tx) described(args []any) []any {
	if tx.On != PostgreSQL {
		return args
	}
	return append([]any{pgx.QueryExecModeCacheDescribe}, args...)
}

// Rows runs a query whose text is always the same, compiled before if it was kept.
func (tx Tx) Rows(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s, ok := tx.kept.Load(query); ok {
		if s, ok := s.(*sql.Stmt); ok {
			return tx.Tx.Tx.StmtContext(ctx, s).QueryContext(ctx, args...) //nolint:sqlclosecheck // the transaction closes it
		}
	}
	return tx.Tx.Tx.QueryContext(ctx, query, tx.described(args)...)
}

// Changed runs a statement whose text is always the same, and says how many rows it
// changed.
func (tx Tx) Changed(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := tx.Tx.Tx.ExecContext(ctx, query, tx.described(args)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
