package dbtest_test

import (
	"database/sql"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

func open(tb testing.TB, url string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

func TestPostgresURL(t *testing.T) {
	t.Parallel()

	t.Run("gives each call a database of its own", func(t *testing.T) {
		t.Parallel()
		first, second := open(t, dbtest.EmptyPostgresURL(t)), open(t, dbtest.EmptyPostgresURL(t))
		defer first.Close()
		defer second.Close()
		for _, db := range []*sql.DB{first, second} {
			// In a shared database the second would find the table there.
			if _, err := db.Exec("CREATE TABLE mine (n int)"); err != nil {
				t.Error(err)
			}
		}
	})

	t.Run("drops the database when the test ends, though it is in use", func(t *testing.T) {
		t.Parallel()
		var db *sql.DB
		t.Run("user", func(t *testing.T) {
			db = open(t, dbtest.EmptyPostgresURL(t))
			if err := db.Ping(); err != nil {
				t.Fatal(err)
			}
		})
		defer db.Close()
		err := db.Ping()
		for range 3 { // the pool may first find out that its connection is gone
			if err != nil && strings.Contains(err.Error(), "does not exist") {
				return
			}
			err = db.Ping()
		}
		t.Errorf("after the test its database answers %v; it should not exist", err)
	})
}

func TestSQLitePathIsNewEachTime(t *testing.T) {
	t.Parallel()
	first, second := dbtest.EmptySQLitePath(t), dbtest.EmptySQLitePath(t)
	if first == second {
		t.Errorf("two calls gave the same path %s", first)
	}
	if _, err := os.Stat(first); !os.IsNotExist(err) {
		t.Errorf("the file should not exist yet: %v", err)
	}
}

func TestADatabaseHasThePresentSchema(t *testing.T) {
	t.Parallel()
	lite, err := sql.Open("sqlite", dbtest.SQLitePath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	postgres := open(t, dbtest.PostgresURL(t))
	defer postgres.Close()
	for name, db := range map[string]*sql.DB{"SQLite": lite, "PostgreSQL": postgres} {
		var devices, versions int
		if err := db.QueryRow("SELECT COUNT(*) FROM devices").Scan(&devices); err != nil || devices != 0 {
			t.Errorf("%s has %d devices: %v", name, devices, err)
		}
		if err := db.QueryRow("SELECT COUNT(*) FROM goose_db_version").Scan(&versions); err != nil || versions < 2 {
			t.Errorf("%s has %d versions of the schema: %v", name, versions, err)
		}
	}
}

//nolint:tparallel // the end of the inner test says that both have run
func TestBothRunsTheTestOnEachEngine(t *testing.T) {
	t.Parallel()
	var sqlite, postgres atomic.Int32
	t.Run("engines", func(t *testing.T) {
		dbtest.BothEmpty(t, func(t *testing.T, url string) {
			switch {
			case strings.HasPrefix(url, "sqlite:/") && strings.HasSuffix(t.Name(), "/sqlite"):
				sqlite.Add(1)
			case strings.HasPrefix(url, "postgres://") && strings.HasSuffix(t.Name(), "/postgres"):
				postgres.Add(1)
			default:
				t.Errorf("%s was given %s", t.Name(), url)
			}
		})
	})
	if sqlite.Load() != 1 || postgres.Load() != 1 {
		t.Errorf("ran %d times on SQLite and %d times on PostgreSQL; want once each", sqlite.Load(), postgres.Load())
	}
}

// helperVariable makes the test binary stand for a test process that starts a
// server of its own.
const helperVariable = "SENTINEL_DBTEST_HELPER"

func TestHelperProcess(t *testing.T) {
	if os.Getenv(helperVariable) == "" {
		return
	}
	os.Stdout.WriteString(dbtest.EmptyPostgresURL(t) + "\n")
	select {} // until it is killed
}

func TestAServerOfItsOwnStopsWithAKilledProcess(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(os.Environ(), helperVariable+"=1", "SENTINEL_TEST_POSTGRES=")
	url := firstLine(t, cmd)

	db := open(t, url)
	defer db.Close()
	if err := db.Ping(); err != nil {
		t.Fatalf("the server should run while its process does: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitUntil(t, "the server stopped", func() bool { return !listening(url) })
}

func TestWithoutPostgreSQLTheTestFailsAndNamesTheFix(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Dir = t.TempDir() // outside the repository there is no script to start one
	cmd.Env = append(os.Environ(), helperVariable+"=1", "SENTINEL_TEST_POSTGRES=")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the test passed without PostgreSQL")
	}
	for _, want := range []string{"make test", "SENTINEL_TEST_POSTGRES"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the message does not name %q:\n%s", want, out)
		}
	}
}
