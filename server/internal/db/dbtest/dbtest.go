package dbtest

import (
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"path/filepath"
	"testing"
)

// Both runs f as the parallel subtests "sqlite" and "postgres", each with the
// URL of an empty database as db.Options takes it. Like t.Run with parallel
// subtests it returns before they have run.
func Both(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, "sqlite:"+SQLitePath(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, PostgresURL(t))
	})
}

// SQLitePath returns the path of a SQLite database that does not exist yet, in
// a directory that is removed when the test ends.
func SQLitePath(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "sentinel.db")
}

// PostgresURL makes an empty PostgreSQL database and returns its URL. When the
// test ends the database is dropped, whoever is still connected to it. Without
// PostgreSQL the test fails.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	s, err := server()
	if err != nil {
		tb.Fatalf("PostgreSQL for this test: %v", err)
	}
	name := databaseName()
	// The name is made here and needs no quoting. template0 is never connected
	// to, so that copying it cannot fail because another test looks at it.
	if _, err := s.admin.ExecContext(tb.Context(), "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
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
