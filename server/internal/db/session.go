package db

import (
	"context"
	"errors"
)

// Session is what PostgreSQL says of a connection: who it is, what it may do beside
// its own tables, and what a commit is worth.
type Session struct {
	Role              string
	Version           string   // of PostgreSQL
	TLS               string   // version of the protocol, "" for none
	Powers            []string // that no role of a server needs, as PostgreSQL names them
	Fsync             string
	FullPageWrites    string
	SynchronousCommit string
}

// ErrNoSession says that SQLite has no sessions.
var ErrNoSession = errors.New("SQLite has no sessions")

// powers are in the order of powersQuery. A member of the last three reads and
// writes files, or runs programs, as the database's own user.
var powers = []string{
	"SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS",
	"pg_execute_server_program", "pg_write_server_files", "pg_read_server_files",
}

const (
	sessionQuery = `SELECT current_user, current_setting('server_version'),
		COALESCE((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl), ''),
		current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')`
	// A superuser is a member of everything.
	powersQuery = `SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
		NOT rolsuper AND pg_has_role(oid, 'pg_execute_server_program', 'MEMBER'),
		NOT rolsuper AND pg_has_role(oid, 'pg_write_server_files', 'MEMBER'),
		NOT rolsuper AND pg_has_role(oid, 'pg_read_server_files', 'MEMBER')
		FROM pg_roles WHERE rolname = current_user`
)

// Session asks. Behind a pooler the answer about TLS is of the pooler's own
// connection.
func (d *DB) Session(ctx context.Context) (Session, error) {
	var s Session
	if d.dialect != PostgreSQL {
		return s, ErrNoSession
	}
	err := d.read.QueryRowContext(ctx, sessionQuery).Scan(&s.Role, &s.Version, &s.TLS, &s.Fsync, &s.FullPageWrites, &s.SynchronousCommit)
	if err != nil {
		return s, err
	}
	has := make([]bool, len(powers))
	into := make([]any, len(powers))
	for i := range has {
		into[i] = &has[i]
	}
	if err := d.read.QueryRowContext(ctx, powersQuery).Scan(into...); err != nil {
		return s, err
	}
	for i, name := range powers {
		if has[i] {
			s.Powers = append(s.Powers, name)
		}
	}
	return s, nil
}
