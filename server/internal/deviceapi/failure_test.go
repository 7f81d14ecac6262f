package deviceapi_test

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// REV-11
func TestWhenTheDatabaseCannotSayWhetherADeviceIsRevokedNothingIsAccepted(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		for table, broken := range map[string]func(*servertest.Server){
			"device_counters": func(s *servertest.Server) { s.Exec("ALTER TABLE device_counters RENAME TO hidden") },
			"instance":        func(s *servertest.Server) { s.Exec("ALTER TABLE instance RENAME TO hidden") },
		} {
			t.Run("without "+table, func(t *testing.T) {
				w := newWorld(t, fresh(t, database), servertest.Options{})
				good, revoked := w.device("good"), w.device("revoked")
				good.MustBeat()
				revoked.MustBeat()
				w.operator.Revoke("revoked")
				broken(w.Server)
				for name, d := range map[string]*servertest.Device{"a good device": good, "a revoked one": revoked} {
					for range 3 {
						a := w.send(d.Transport(), call{path: protocol.PathHeartbeat, body: encode(t, d.Heartbeat())})
						if a.status != 503 || a.problem.Code != protocol.CodeNotReady || a.header.Get("Retry-After") == "" || a.problem.Detail != "" {
							t.Errorf("%s: %d %s %q", name, a.status, a.problem.Code, a.problem.Detail)
						}
					}
				}
				w.Exec("ALTER TABLE hidden RENAME TO " + table)
				good.MustBeat()
				if p, err := revoked.Beat(); err != nil || p == nil || p.Code != protocol.CodeDeviceRevoked {
					t.Errorf("when it is back the revoked one gets %v %v", p, err)
				}
			})
		}
	})
}

// REV-11: a server that has lost its database answers that it is not ready, and
// goes on when it is back.
func TestWithoutItsDatabaseTheServerAcceptsNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	database := dbtest.PostgresURL(t)
	w := newWorld(t, database, servertest.Options{})
	d := w.device("edge-1")
	d.MustBeat()
	at, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(at.Path, "/")
	at.Path = "/postgres" // a database cannot be closed from within
	admin, err := sql.Open("pgx", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := admin.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("ALTER DATABASE " + name + " WITH ALLOW_CONNECTIONS false")
	exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
	for range 20 {
		a := w.send(d.Transport(), call{path: protocol.PathHeartbeat, body: encode(t, d.Heartbeat())})
		if a.status != 503 || a.problem.Code != protocol.CodeNotReady {
			t.Fatalf("a heartbeat without a database: %d %s", a.status, a.problem.Code)
		}
	}
	if a := w.send(w.caller(nil, nil), call{method: "GET", path: "/api/health/ready"}); a.status != 503 {
		t.Errorf("readiness: %d", a.status)
	}
	exec("ALTER DATABASE " + name + " WITH ALLOW_CONNECTIONS true")
	for range 50 { // connections that died are found out one by one
		if p, err := d.Beat(); p == nil && err == nil {
			return
		}
	}
	t.Error("the server did not find its database again")
}

// fresh is an empty database of the same kind. (On SQLite each server has its own.)
func fresh(t *testing.T, database string) string {
	t.Helper()
	if strings.HasPrefix(database, "sqlite:") {
		return database
	}
	return dbtest.PostgresURL(t)
}
