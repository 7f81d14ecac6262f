package dbtest

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// PooledURL is PostgresURL behind a PgBouncer of its own in transaction mode that knows
// nothing of prepared statements, as one before 1.21 does not: each transaction may be
// given another of its connections. Without PgBouncer the test fails.
func PooledURL(tb testing.TB, connections int) string {
	tb.Helper()
	behind, err := url.Parse(PostgresURL(tb))
	if err != nil {
		tb.Fatal(err)
	}
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			tb.Fatal("PgBouncer for this test: it is not installed; test/postgres/ensure pooler installs it, and so does \"make test\"")
		}
	}
	dir, err := os.MkdirTemp("", "pooler") // not the test's own, which is too long for the name of a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	name, password := strings.TrimPrefix(behind.Path, "/"), ""
	if p, ok := behind.User.Password(); ok {
		password = p
	}
	config := fmt.Sprintf("[databases]\n%s = host=%s port=%s user=%s password=%s\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = %s\nlisten_port = 6432\nauth_type = any\npool_mode = transaction\ndefault_pool_size = %d\n",
		name, behind.Hostname(), behind.Port(), behind.User.Username(), password, dir, connections)
	if os.Getuid() == 0 { // as whom it does not run
		u, err := user.Lookup("postgres")
		if err != nil {
			tb.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		if err := os.Chown(dir, uid, -1); err != nil {
			tb.Fatal(err)
		}
		config += "user = postgres\n"
	}
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	pooler := exec.CommandContext(tb.Context(), program, file)
	said, err := pooler.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := pooler.Start(); err != nil {
		tb.Fatal(err)
	}
	lines, up := bufio.NewScanner(said), false
	var all []string
	for !up && lines.Scan() {
		all = append(all, lines.Text())
		up = strings.Contains(lines.Text(), "process up")
	}
	if !up {
		_ = pooler.Wait()
		tb.Fatalf("PgBouncer does not start: %s", strings.Join(all, "\n"))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines.Scan() { // a full pipe would stop it
		}
	}()
	tb.Cleanup(func() {
		_ = pooler.Process.Kill()
		<-ended
		_ = pooler.Wait()
	})
	return (&url.URL{Scheme: "postgres", User: url.User(behind.User.Username()), Path: behind.Path, RawQuery: url.Values{"host": {dir}, "port": {"6432"}, "sslmode": {"disable"}}.Encode()}).String()
}
