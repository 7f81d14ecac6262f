package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/cputime"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver, named "pgx"
	_ "modernc.org/sqlite"             // the driver, named "sqlite"
)

const (
	sqlite   = "sqlite"
	postgres = "postgres"
)

// postgresServer is the one that test/postgres/with provides.
type postgresServer struct {
	url   *url.URL
	admin *sql.DB
	pid   int // of its first process
	about string
	made  []string
}

func findPostgres(ctx context.Context) (*postgresServer, error) {
	u, err := url.Parse(os.Getenv("SENTINEL_TEST_POSTGRES"))
	if err != nil || u.Host == "" {
		return nil, errors.New("no PostgreSQL is named in SENTINEL_TEST_POSTGRES; run: make bench")
	}
	s := &postgresServer{url: u}
	if s.admin, err = sql.Open("pgx", u.String()); err != nil {
		return nil, err
	}
	var backend int
	var version, dir string
	if err := s.admin.QueryRowContext(ctx, "SELECT pg_backend_pid(), current_setting('server_version'), current_setting('data_directory')").Scan(&backend, &version, &dir); err != nil {
		return nil, err
	}
	// A throw-away server skips what makes commits durable; here that is part of the price.
	if strings.Contains(dir, "sentinel-postgres.") {
		for _, q := range []string{"ALTER SYSTEM SET fsync = on", "ALTER SYSTEM SET synchronous_commit = on", "ALTER SYSTEM SET full_page_writes = on", "SELECT pg_reload_conf()"} {
			if _, err := s.admin.ExecContext(ctx, q); err != nil {
				return nil, err
			}
		}
	}
	if s.pid, err = cputime.ParentOf(backend); err != nil {
		return nil, fmt.Errorf("the database must run on this machine: %w", err)
	}
	var fsync, commit string
	settings := func() bool { // on a new connection: one that is open learns of them later
		d, openErr := sql.Open("pgx", u.String())
		if openErr != nil {
			err = openErr
			return true
		}
		defer func() { _ = d.Close() }()
		err = d.QueryRowContext(ctx, "SELECT current_setting('fsync'), current_setting('synchronous_commit')").Scan(&fsync, &commit)
		return err != nil || fsync == "on" && commit == "on"
	}
	if late := until(ctx, 5*time.Second, 100*time.Millisecond, settings); err != nil || late != nil && ctx.Err() != nil {
		return nil, errors.Join(err, late)
	}
	s.about = fmt.Sprintf("version %s, fsync %s, synchronous_commit %s", version, fsync, commit)
	return s, nil
}

// create makes an empty database and returns its URL.
func (s *postgresServer) create(ctx context.Context) (string, error) {
	name := "bench_" + strings.ToLower(rand.Text())
	if _, err := s.admin.ExecContext(ctx, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", err
	}
	s.made = append(s.made, name)
	u := *s.url
	u.Path = "/" + name
	return u.String(), nil
}

func (s *postgresServer) close() {
	for _, name := range s.made {
		_, _ = s.admin.Exec("DROP DATABASE " + name + " WITH (FORCE)")
	}
	_ = s.admin.Close()
}

func sqliteFile(dir string) string { return filepath.Join(dir, "sentinel.db") }

func openSQLite(path string) (*sql.DB, error) {
	d, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(20000)")
	if err == nil {
		d.SetMaxOpenConns(1)
	}
	return d, err
}

// copyRows fills the tables of an empty PostgreSQL database from a SQLite one with
// the same schema: the same fleet on the other database.
func copyRows(ctx context.Context, from *sql.DB, to string) error {
	target, err := pgx.Connect(ctx, to)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close(ctx) }()
	if _, err := target.Exec(ctx, "SET session_replication_role = replica"); err != nil { // the order of tables does not matter then
		return err
	}
	names, err := strings1(ctx, from, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'goose_%'")
	if err != nil {
		return err
	}
	for _, table := range names {
		if err := copyTable(ctx, from, target, table); err != nil {
			return fmt.Errorf("copy %s: %w", table, err)
		}
	}
	return nil
}

func copyTable(ctx context.Context, from *sql.DB, to *pgx.Conn, table string) error {
	if _, err := to.Exec(ctx, "TRUNCATE "+table+" CASCADE"); err != nil {
		return err
	}
	columns, isBool, err := columnsOf(ctx, to, table)
	if err != nil {
		return err
	}
	rows, err := from.QueryContext(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM "+table)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	_, err = to.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		if !rows.Next() {
			return nil, rows.Err()
		}
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, v := range values {
			if n, ok := v.(int64); ok && isBool[i] {
				values[i] = n != 0
			}
		}
		return values, nil
	}))
	return err
}

// computed is the column that a database makes from others by itself.
const computed = "search_text"

// columnsOf are the columns of a table that are written, and which of them are boolean.
func columnsOf(ctx context.Context, q *pgx.Conn, table string) (names []string, isBool []bool, err error) {
	rows, err := q.Query(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	const oidBool = 16
	for _, d := range rows.FieldDescriptions() {
		if d.Name == computed {
			continue
		}
		names, isBool = append(names, d.Name), append(isBool, d.DataTypeOID == oidBool)
	}
	return names, isBool, nil
}

func strings1(ctx context.Context, d *sql.DB, query string) ([]string, error) {
	rows, err := d.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// fill adds devices to a database until it has so many, made from one that
// enrolled. Their counters and those of the devices that are connected are mixed,
// so that heartbeats meet pages all over the table, as those of a large fleet do.
func fill(ctx context.Context, d *sql.DB, kind string, many int) error {
	var have int
	if err := d.QueryRowContext(ctx, "SELECT count(*) FROM devices").Scan(&have); err != nil {
		return err
	}
	if many <= have {
		return nil
	}
	numbers := fmt.Sprintf("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) ", many-have)
	conn, err := d.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	do := func(q string) error {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%w in %.100s", err, q)
		}
		return nil
	}
	id, other := "'bulk-' || n.i", "t.%s || '-' || n.i"
	changed := map[string]map[string]string{
		"enrollments":    {"id": fmt.Sprintf(other, "id"), "device_id": id, "fingerprint": fmt.Sprintf(other, "fingerprint")},
		"certificates":   {"fingerprint": fmt.Sprintf(other, "fingerprint"), "serial": fmt.Sprintf(other, "serial"), "device_id": id, "enrollment_id": fmt.Sprintf(other, "enrollment_id")},
		"devices":        {"device_id": id, "enrollment_id": fmt.Sprintf(other, "enrollment_id")},
		"trust_verdicts": {"device_id": id},
	}
	const template = "(SELECT min(device_id) FROM devices WHERE state = 'active' AND device_id NOT LIKE 'bulk-%')"
	for _, table := range []string{"enrollments", "certificates", "devices", "trust_verdicts"} {
		columns, values, err := copied(ctx, d, conn, table, changed[table])
		if err != nil {
			return err
		}
		if err := do(fmt.Sprintf("INSERT INTO %s (%s) %s SELECT %s FROM n CROSS JOIN %s AS t WHERE t.device_id = %s", table, columns, numbers, values, table, template)); err != nil {
			return err
		}
	}
	counters, values, err := copied(ctx, d, conn, "device_counters",
		map[string]string{"device_id": id, "enrollment_id": fmt.Sprintf(other, "enrollment_id"), "fingerprint": fmt.Sprintf(other, "fingerprint")})
	if err != nil {
		return err
	}
	for _, q := range []string{
		"CREATE TEMPORARY TABLE kept AS SELECT * FROM device_counters",
		"DELETE FROM device_counters",
		fmt.Sprintf("INSERT INTO device_counters (%[1]s) SELECT %[1]s FROM (%[2]s SELECT %[3]s FROM n CROSS JOIN kept AS t WHERE t.device_id = %[4]s UNION ALL SELECT %[1]s FROM kept) AS every ORDER BY random()",
			counters, numbers, values, template),
		"DROP TABLE kept",
	} {
		if err := do(q); err != nil {
			return err
		}
	}
	if kind == postgres {
		return do("VACUUM ANALYZE")
	}
	return do("ANALYZE")
}

// copied are the columns of a table, and the values that copy a row t of it with
// some changed.
func copied(ctx context.Context, _ *sql.DB, conn *sql.Conn, table string, changed map[string]string) (columns, values string, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return "", "", err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return "", "", err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == computed })
	list := slices.Clone(names)
	for i, name := range names {
		list[i] = "t." + name
		if v, ok := changed[name]; ok {
			list[i] = v + " AS " + name
		}
	}
	return strings.Join(names, ", "), strings.Join(list, ", "), rows.Err()
}
