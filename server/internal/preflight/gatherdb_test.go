package preflight

import (
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver, named "pgx"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

func gathered(t *testing.T, url string) *Facts {
	t.Helper()
	in := inspect(map[string]string{"SENTINEL_DATABASE_URL": url, "SENTINEL_DATA_DIR": t.TempDir()})
	return Gather(t.Context(), Ask{Inspection: in, Now: noon})
}

func administrator(t *testing.T, url string) func(query string, into ...any) {
	t.Helper()
	d, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return func(query string, into ...any) {
		t.Helper()
		if len(into) > 0 {
			err = d.QueryRow(query).Scan(into...)
		} else {
			_, err = d.Exec(query)
		}
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}

// role makes a role for the test and returns its name and the database's URL with it.
func role(t *testing.T, address string, admin func(string, ...any)) (name, as string) {
	t.Helper()
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	name = "role_" + hex.EncodeToString(b[:])
	admin("CREATE ROLE " + name + " LOGIN PASSWORD 'dW5ndWVzc2FibGU'")
	t.Cleanup(func() { admin("DROP OWNED BY " + name); admin("DROP ROLE " + name) })
	admin("GRANT ALL ON ALL TABLES IN SCHEMA public TO " + name)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "dW5ndWVzc2FibGU")
	return name, u.String()
}

func TestADatabaseWithNothingInItIsReadAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	address := dbtest.PostgresURL(t)
	f := gathered(t, address)
	d := f.Database
	if d.Refused != "" || d.Unread != "" || !d.Fits || d.Instance != nil || d.Behind != "" || f.Standing == nil || f.Fleet.Founded || f.Fleet.Wrong != "" || f.Fleet.Sealed != "" {
		t.Errorf("%+v %+v", d, f.Fleet)
	}
	if d.Session.Fsync != "off" || d.Session.SynchronousCommit != "off" || d.Session.TLS != "" {
		t.Errorf("of a server for tests: %+v", d.Session)
	}
	var rows int
	administrator(t, address)("SELECT (SELECT COUNT(*) FROM instance) + (SELECT COUNT(*) FROM audit_entries)", &rows)
	if rows != 0 {
		t.Errorf("looking wrote %d rows", rows)
	}
}

// A25: what a role of the server may do beyond its tables is found.
func TestThePowersOfARoleAreFound(t *testing.T) {
	t.Parallel()
	address := dbtest.PostgresURL(t)
	if powers := gathered(t, address).Database.Session.Powers; !slices.Contains(powers, "SUPERUSER") {
		t.Errorf("of the superuser: %v", powers)
	}
	admin := administrator(t, address)
	name, as := role(t, address, admin)
	check := func(want ...string) {
		t.Helper()
		f := gathered(t, as)
		if s := f.Database.Session; f.Database.Refused != "" || f.Standing == nil || s.Role != name || !slices.Equal(s.Powers, want) {
			t.Errorf("%+v, want %v", f.Database, want)
		}
	}
	check()
	for _, power := range []string{"CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS"} {
		admin("ALTER ROLE " + name + " " + power)
		check(power)
		admin("ALTER ROLE " + name + " NO" + power)
	}
	for _, power := range []string{"pg_execute_server_program", "pg_write_server_files", "pg_read_server_files"} {
		admin("GRANT " + power + " TO " + name)
		check(power)
		admin("REVOKE " + power + " FROM " + name)
	}
}

func TestADatabaseThatGivesNothingSaysWhyAndNoSecret(t *testing.T) {
	t.Parallel()
	address := dbtest.EmptyPostgresURL(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	nobody, silent, strange := *u, *u, *u
	nobody.User = url.UserPassword("nobody", "canaryCanary")
	silent.Host, silent.User = "127.0.0.1:1", url.UserPassword("test", "canaryCanary")
	strange.RawQuery = "sslmode=canary"
	for name, at := range map[string]url.URL{"another role": nobody, "nothing there": silent, "a strange URL": strange} {
		d := gathered(t, at.String()).Database
		if d.Refused == "" || strings.Contains(d.Refused, "canary") {
			t.Errorf("%s: %q", name, d.Refused)
		}
	}
	if f := gathered(t, address); f.Database.Fits || f.Database.Refused != "" || f.Database.Schema.Current != 0 || f.Standing != nil {
		t.Errorf("without a schema: %+v", f.Database)
	}
}

func TestATableThatCannotBeReadIsAFact(t *testing.T) {
	t.Parallel()
	address := dbtest.PostgresURL(t)
	admin := administrator(t, address)
	name, as := role(t, address, admin)
	admin("REVOKE ALL ON accounts FROM " + name)
	f := gathered(t, as)
	if f.Standing != nil || !strings.Contains(f.Database.Unread, "42501") {
		t.Errorf("%+v", f.Database)
	}
	admin("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)")
	if f := gathered(t, address); f.Database.Fits || f.Database.Schema.Current != 99999 {
		t.Errorf("a newer schema: %+v", f.Database)
	}
}

// What would send a password in plain text is not tried at all, and SQLite is not
// looked into.
func TestNoConnectionIsMadeWhereItIsNotSafe(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "postgres://sentinel:dW5ndWVzc2FibGU@192.0.2.1:5432/fleet", "postgres://sentinel:dW5ndWVzc2FibGU@192.0.2.1:5432/fleet?sslmode=prefer"} {
		if d := gathered(t, address).Database; d.Asked {
			t.Errorf("%q was tried: %+v", address, d)
		}
	}
}
