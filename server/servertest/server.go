package servertest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest" //nolint:depguard // this package is for tests too
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// Options choose what differs from a trial's defaults.
type Options struct {
	Dir      string            // data directory; "" is a new one
	Database string            // URL; "" is SQLite in Dir
	Settings map[string]string // SENTINEL_...
	Now      func() time.Time  // nil is the machine's clock
	Log      io.Writer         // nil discards
}

// Server is a running server.
type Server struct {
	PeopleURL     string
	MachineURL    string
	CAFingerprint string
	RootDigest    string
	Dir           string

	t       testing.TB
	options Options
	app     *app.Server
	stop    context.CancelFunc
	ended   chan error
	once    sync.Once
}

// Start starts a server that is stopped when the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s := &Server{t: t, options: o, Dir: o.Dir, ended: make(chan error, 1)}
	environ := []string{
		"SENTINEL_DATA_DIR=" + o.Dir, "SENTINEL_PEOPLE_LISTEN=127.0.0.1:0", "SENTINEL_MACHINE_LISTEN=127.0.0.1:0", "SENTINEL_SHUTDOWN_TIMEOUT=5s",
	}
	if o.Database != "" && !strings.HasPrefix(o.Database, "sqlite:") {
		environ = append(environ, "SENTINEL_DATABASE_URL="+o.Database)
	}
	for k, v := range o.Settings {
		environ = append(environ, k+"="+v)
	}
	settings, err := config.Load(environ, "")
	if err != nil {
		t.Fatal(err)
	}
	if settings.DatabaseURL == "" {
		dbtest.PlaceSQLite(t, filepath.Join(o.Dir, "sentinel.db"))
	}
	log := slog.New(slog.DiscardHandler)
	if o.Log != nil {
		log = slog.New(slog.NewJSONHandler(o.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if s.app, err = app.New(t.Context(), app.Options{Config: settings, Log: log, Now: o.Now, CheapHashes: true}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.ended <- s.app.Run(ctx) }()
	t.Cleanup(s.Stop)
	select {
	case <-s.app.Ready():
	case err := <-s.ended:
		s.ended <- err
		t.Fatalf("the server ended: %v", err)
	}
	s.PeopleURL, s.MachineURL = s.app.Config.PeopleURL, s.app.Config.MachineURL
	s.CAFingerprint = s.app.Fingerprint()
	if fleet, err := s.app.Policy.Fleet(); err == nil {
		s.RootDigest = fleet.FirstDigest
	}
	return s
}

// Stop stops the server and waits until it has ended.
func (s *Server) Stop() {
	s.once.Do(func() {
		s.stop()
		if err := <-s.ended; err != nil {
			s.t.Errorf("the server ended with: %v", err)
		}
		if err := s.app.Close(); err != nil {
			s.t.Errorf("the server did not close: %v", err)
		}
	})
}

// Again starts the server anew on the same data, after Stop.
func (s *Server) Again() *Server {
	s.t.Helper()
	s.Stop()
	return Start(s.t, s.options)
}

// Sibling starts a second node on the same PostgreSQL database. It shares the
// secrets, as nodes of one installation do.
func (s *Server) Sibling() *Server {
	s.t.Helper()
	o := s.options
	o.Dir = s.t.TempDir()
	if err := os.CopyFS(filepath.Join(o.Dir, "secrets"), os.DirFS(filepath.Join(s.Dir, "secrets"))); err != nil {
		s.t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(o.Dir, "secrets", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Chmod(f, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return Start(s.t, o)
}

// MarkRestored does what sentinel-server db mark-restored does, while the server
// is stopped, and returns how many devices were revoked again.
func (s *Server) MarkRestored() int {
	s.t.Helper()
	s.Stop()
	url := s.options.Database
	if url == "" {
		url = "sqlite:" + filepath.Join(s.Dir, "sentinel.db")
	}
	d, err := db.Open(s.t.Context(), db.Options{URL: url, Now: s.options.Now})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	journal, err := device.NewJournal(s.Dir).Read()
	if err != nil {
		s.t.Fatal(err)
	}
	done, err := flow.MarkRestored(s.t.Context(), d, db.NewOutside(s.Dir), authz.Host("test"), journal)
	if err != nil {
		s.t.Fatal(err)
	}
	return len(done.Revoked)
}

// Exec changes the database behind the server's back.
func (s *Server) Exec(query string, args ...any) {
	s.t.Helper()
	err := s.app.DB.Write(s.t.Context(), func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// ChangingRoutes is every route for people that may change something, as "METHOD /path".
func (s *Server) ChangingRoutes() (list []string) {
	routes, err := s.app.PeopleRoutes()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range routes {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			list = append(list, r.Method+" "+r.Pattern)
		}
	}
	return list
}

// Count counts the rows of a table that match a condition.
func (s *Server) Count(table, where string, args ...any) int {
	s.t.Helper()
	n, err := s.app.DB.Read().NewSelect().Table(table).Where(where, args...).Count(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return int(n)
}

// Round does one round of upkeep now.
func (s *Server) Round() {
	s.t.Helper()
	for _, f := range []func(context.Context) error{
		s.app.Flow.Reevaluate, s.app.Flow.Rejudge, s.app.Flow.ExpireEnrollments, s.app.Flow.ExpireIdentities, s.app.Flow.CommandRound, s.app.Flow.FlushBeatCounts, s.app.Policy.Refresh, s.app.Flow.RaiseMark, s.app.Lists.Round,
		func(ctx context.Context) error { return s.app.Refusals.Flush(ctx, true) },
	} {
		if err := f(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

// DeviceCA issues device certificates of any kind, also wrong ones.
func (s *Server) DeviceCA() certs.CA {
	s.t.Helper()
	ca, err := s.app.PKI.SigningCA(certs.KindDevice)
	if err != nil {
		s.t.Fatal(err)
	}
	return ca
}
