package dbtest

import (
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"path/filepath"
	"testing"
)

// Both runs f as the parallel subtests "sqlite" and "postgres", each with the
// URL of a database of its own as db.Options takes it. It has the present schema and
// nothing in it. Like t.Run with parallel subtests it returns before they have run.
func Both(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	both(t, f, func(t *testing.T) string { return "sqlite:" + SQLitePath(t) }, func(t *testing.T) string { return PostgresURL(t) })
}

// BothEmpty is Both without a schema.
func BothEmpty(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	both(t, f, func(t *testing.T) string { return "sqlite:" + EmptySQLitePath(t) }, func(t *testing.T) string { return EmptyPostgresURL(t) })
}

func both(t *testing.T, f func(t *testing.T, url string), sqlite, postgres func(t *testing.T) string) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, sqlite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, postgres(t))
	})
}

// SQLitePath returns the path of a SQLite database with the present schema, in a
// directory that is removed when the test ends.
func SQLitePath(tb testing.TB) string {
	tb.Helper()
	path := EmptySQLitePath(tb)
	PlaceSQLite(tb, path)
	return path
}

// EmptySQLitePath returns the path of a SQLite database that does not exist yet, in
// a directory that is removed when the test ends.
func EmptySQLitePath(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "sentinel.db")
}

// PostgresURL makes a PostgreSQL database with the present schema and returns its
// URL. When the test ends the database is dropped, whoever is still connected to it.
// Without PostgreSQL the test fails.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	template, err := postgresTemplate()
	if err != nil {
		tb.Fatalf("PostgreSQL for this test: %v", err)
	}
	return newPostgres(tb, template)
}

// EmptyPostgresURL is PostgresURL without a schema.
func EmptyPostgresURL(tb testing.TB) string {
	tb.Helper()
	// template0 is never connected to, so that copying it cannot fail because another
	// test looks at it.
	return newPostgres(tb, "template0")
}

func newPostgres(tb testing.TB, template string) string {
	tb.Helper()
	s, err := server()
	if err != nil {
		tb.Fatalf("PostgreSQL for this test: %v", err)
	}
	name := databaseName() // made here, as the template's is: they need no quoting
	if _, err := s.admin.ExecContext(tb.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		tb.Fatalf("create a database for this test: %v", err)
	}
	tb.Cleanup(func() {
		if _, err := s.admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			tb.Errorf("drop the database of this test: %v", err)
		}
	})
	return databaseURL(s.url, name)
}

func databaseName() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return "test_" + hex.EncodeToString(b[:])
}

// databaseURL is the server's URL with another database.
func databaseURL(server url.URL, name string) string {
	server.Path = "/" + name
	return server.String()
}
