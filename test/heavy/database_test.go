//go:build heavy

package heavy

import (
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver, named "pgx"
	_ "modernc.org/sqlite"             // the driver, named "sqlite"
)

// onBoth runs f on SQLite (the URL is empty, as the server takes it) and on an
// empty PostgreSQL database, one after the other unless f says otherwise: what
// is measured should not measure its neighbour.
func onBoth(t *testing.T, f func(t *testing.T, database string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, "") })
	t.Run("postgres", func(t *testing.T) { f(t, postgres(t)) })
}

// postgres makes an empty database that is dropped when the test ends.
func postgres(t *testing.T) string {
	t.Helper()
	server, err := url.Parse(os.Getenv("SENTINEL_TEST_POSTGRES"))
	if err != nil || server.Host == "" {
		t.Fatal("no PostgreSQL is named in SENTINEL_TEST_POSTGRES; run: make test-heavy")
	}
	admin, err := sql.Open("pgx", server.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	name := "heavy_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	server.Path = "/" + name
	return server.String()
}

// open reads the database of a server beside it, or after it.
func open(t *testing.T, database, dir string) *sql.DB {
	t.Helper()
	driver := "pgx"
	if database == "" {
		driver, database = "sqlite", "file:"+filepath.Join(dir, "sentinel.db")+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)"
	}
	d, err := sql.Open(driver, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// count is the one number that a query answers.
func count(t *testing.T, d *sql.DB, query string) int {
	t.Helper()
	var n int
	if err := d.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// counters are the stored counters by device_id.
func counters(d *sql.DB) (map[string]int64, error) {
	rows, err := d.Query("SELECT device_id, counter FROM device_counters")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	stored := map[string]int64{}
	for rows.Next() {
		var id string
		var n int64
		if err := rows.Scan(&id, &n); err != nil {
			return nil, err
		}
		stored[id] = n
	}
	return stored, rows.Err()
}
