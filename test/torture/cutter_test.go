package main

import (
	"database/sql"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver, named "pgx"
)

// Whoever loses the answer to a COMMIT cannot tell, and both fates occur: REL-02.
func TestAnAnswerToACommitIsLost(t *testing.T) {
	t.Parallel()
	server, err := url.Parse(os.Getenv("SENTINEL_TEST_POSTGRES"))
	if err != nil || server.Host == "" {
		t.Fatal("no PostgreSQL is named in SENTINEL_TEST_POSTGRES; run it beside test/postgres/with")
	}
	c, err := newCutter(server.Host, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	direct := open(t, server)
	if _, err := direct.Exec("CREATE TABLE cutter_test (n INT)"); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = direct.Exec("DROP TABLE cutter_test") }()
	through := *server
	through.Host = c.Addr().String()
	_, port, _ := net.SplitHostPort(through.Host)
	through.Host = net.JoinHostPort(server.Hostname(), port)
	d := open(t, &through)

	insert := func(n int) error {
		tx, err := d.Begin()
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO cutter_test VALUES ($1)", n); err != nil {
			return err
		}
		return tx.Commit()
	}
	if err := insert(0); err != nil {
		t.Fatal("nothing is cut yet:", err)
	}
	c.cutOneOf(1)
	for n := 1; n <= 20; n++ {
		if err := insert(n); err == nil {
			t.Errorf("commit %d was answered", n)
		}
	}
	var stored int64
	if err := direct.QueryRow("SELECT count(*) FROM cutter_test WHERE n > 0").Scan(&stored); err != nil {
		t.Fatal(err)
	}
	before, after := c.before.Load(), c.after.Load()
	if before+after != 20 || before == 0 || after == 0 || stored != after {
		t.Errorf("%d cut before, %d after, and %d are stored", before, after, stored)
	}
	c.cutOneOf(0)
	if err := insert(100); err != nil {
		t.Error("nothing is cut any more:", err)
	}
}

func open(t *testing.T, address *url.URL) *sql.DB {
	t.Helper()
	d, err := sql.Open("pgx", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}
