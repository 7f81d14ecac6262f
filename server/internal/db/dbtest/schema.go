package dbtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver, named "sqlite"

	"github.com/sentinel-secure-x/sentinel-secure-x/migrations"
)

// migrate brings a database to the present schema, without db's lock: nobody else
// knows of it yet.
func migrate(ctx context.Context, dialect goose.Dialect, folder string, d *sql.DB) error {
	files, err := fs.Sub(migrations.Files, folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, d, files)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// sqliteTemplate is a file with the present schema and nothing in it.
var sqliteTemplate = sync.OnceValues(func() (data []byte, err error) {
	dir, err := os.MkdirTemp("", "schema")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "sentinel.db")
	d, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return nil, err
	}
	d.SetMaxOpenConns(1)
	if err := errors.Join(migrate(context.Background(), goose.DialectSQLite3, "sqlite", d), d.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// PlaceSQLite makes a SQLite database with the present schema at path, unless there
// is a file.
func PlaceSQLite(tb testing.TB, path string) {
	tb.Helper()
	data, err := sqliteTemplate()
	if err != nil {
		tb.Fatalf("the schema for this test: %v", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return
	}
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		tb.Fatalf("the database of this test: %v", err)
	}
}

// postgresTemplate is the name of a database with the present schema, which is made
// once for all processes of a run: its name is the digest of the migrations.
var postgresTemplate = sync.OnceValues(func() (string, error) {
	s, err := server()
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	names, err := fs.Glob(migrations.Files, "postgres/*.sql")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := fs.ReadFile(migrations.Files, name)
		if err != nil {
			return "", err
		}
		digest.Write(text)
	}
	name := "schema_" + hex.EncodeToString(digest.Sum(nil)[:10])
	var there bool
	if err := s.admin.QueryRow("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there); err != nil || there {
		return name, err
	}
	made := databaseName()
	if _, err := s.admin.Exec("CREATE DATABASE " + made + " TEMPLATE template0"); err != nil {
		return "", err
	}
	d, err := sql.Open("pgx", databaseURL(s.url, made))
	if err != nil {
		return "", err
	}
	if err := errors.Join(migrate(context.Background(), goose.DialectPostgres, "postgres", d), d.Close()); err != nil {
		return "", fmt.Errorf("the schema: %w", err)
	}
	// Nobody ever connects to it by the name that others copy it by.
	if _, err := s.admin.Exec("ALTER DATABASE " + made + " RENAME TO " + name); err != nil {
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || pg.Code != "42P04" { // duplicate_database: another process was faster
			return "", err
		}
		_, err = s.admin.Exec("DROP DATABASE " + made + " WITH (FORCE)")
		return name, err
	}
	return name, nil
})
