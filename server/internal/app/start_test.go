package app

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/preflight"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// start opens a server below its listeners on a data directory.
func start(t *testing.T, dir string, environ ...string) (*Core, string, error) {
	t.Helper()
	c, err := config.Load(append([]string{"SENTINEL_DATA_DIR=" + dir}, environ...), "")
	if err != nil {
		return nil, "", err
	}
	var log bytes.Buffer
	core, err := Open(t.Context(), Options{Config: c, Log: slog.New(slog.NewJSONHandler(&log, nil))})
	return core, log.String(), err
}

func started(t *testing.T, dir string, environ ...string) *Core {
	t.Helper()
	core, _, err := start(t, dir, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return core
}

func stop(t *testing.T, c *Core) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents is every file below dir that is not the database, with its bytes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), "sentinel.db") {
			return err
		}
		data, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// AGT-06, SUP-03
func TestATrialMakesItsSecretsAndKeysForItsOwnerOnlyAndKeepsThem(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	core, log, err := start(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := core.Policy.Fleet()
	if err != nil {
		t.Fatal(err)
	}
	first := core.Fingerprint()
	stop(t, core)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has the mode %o", path, info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	made := contents(t, dir)
	for _, name := range []string{"secrets/secret-key", "secrets/jwt-secret", "secrets/metrics-token", "keys/command.key", "keys/fleet-root.key", "keys/policy.key", "keys/certificate-root.key"} {
		if len(made[name]) < 48 {
			t.Errorf("%s holds %d bytes", name, len(made[name]))
		}
		if strings.Contains(log, strings.TrimSpace(made[name])) {
			t.Errorf("%s is in the log", name)
		}
	}
	if !strings.Contains(log, "trial") {
		t.Errorf("nothing says that keys are kept here: %s", log)
	}

	again := started(t, dir)
	defer stop(t, again)
	for name, data := range contents(t, dir) {
		if made[name] != data && !strings.HasPrefix(name, "instance") {
			t.Errorf("a second start changed %s", name)
		}
	}
	if f, err := again.Policy.Fleet(); err != nil || f.FirstDigest != fleet.FirstDigest || again.Fingerprint() != first || first == "" {
		t.Errorf("a second start is another fleet: %v", err)
	}
}

func TestTwoTrialsShareNoSecret(t *testing.T) {
	t.Parallel()
	var made [2]map[string]string
	for i := range made {
		dir := t.TempDir()
		stop(t, started(t, dir))
		made[i] = contents(t, dir)
	}
	for name, data := range made[0] {
		if made[1][name] == data {
			t.Errorf("both have the same %s", name)
		}
	}
}

// REL-14, AGT-06
func TestASecretOrKeyThatOthersMayReadStopsTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stop(t, started(t, dir))
	for _, name := range []string{"secret-key", "jwt-secret", "metrics-token"} {
		path := filepath.Join(dir, "secrets", name)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := start(t, dir); !errors.Is(err, files.ErrExposed) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, started(t, dir))
}

func TestWithAnotherSecretTheServerDoesNotStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stop(t, started(t, dir))
	if err := os.Remove(filepath.Join(dir, "secrets", "secret-key")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := start(t, dir); !errors.Is(err, seal.ErrUnknownKey) {
		t.Fatalf("the sealed keys were opened: %v", err)
	}
}

// A4: the key of before is needed until everything is sealed anew, and no longer.
func TestTheSecretKeyIsChangedAndTheOldOneDropped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := started(t, dir)
	before := string(first.Config.SecretKey)
	stop(t, first)
	next := "SENTINEL_SECRET_KEY=q8Zt0vYb3mXw7cNf5hLr2pKd9sGj4uTe6aWi1oRx"
	core := started(t, dir, next, "SENTINEL_SECRET_KEY_PREVIOUS="+before)
	page, err := audit.List(t.Context(), core.DB.Read(), audit.Filter{Action: audit.SecretKeyReseal, Limit: 10})
	if err != nil || len(page.Rows) != 1 || page.Rows[0].ActorKind != audit.System {
		t.Errorf("audit: %+v %v", page.Rows, err)
	}
	if n, err := core.Reseal(t.Context(), authz.Host("test")); err != nil || n != 0 {
		t.Errorf("again: %d %v", n, err)
	}
	stop(t, core)
	stop(t, started(t, dir, next))
	if _, _, err := start(t, dir, "SENTINEL_SECRET_KEY="+before); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("the dropped key opens: %v", err)
	}
}

// strict are the settings of a profile that makes nothing by itself.
func strict(profile string) []string {
	return []string{
		"SENTINEL_PROFILE=" + profile, "SENTINEL_DATABASE_REQUIRE_POSTGRESQL=false", "SENTINEL_PEOPLE_URL=https://console.example.net",
		"SENTINEL_MACHINE_URL=https://devices.example.net", "SENTINEL_MACHINE_NAMES=devices.example.net", "SENTINEL_TRUST_DOMAIN=fleet.test",
	}
}

var given = []string{
	"SENTINEL_SECRET_KEY=q8Zt0vYb3mXw7cNf5hLr2pKd9sGj4uTe6aWi1oRx", "SENTINEL_JWT_SECRET=Lk3nVb8xQz5wPm1cRt7yHd2fGs9jUa4eOi6vTq0B",
	"SENTINEL_METRICS_TOKEN=Wm4kZp9tXc2vNb7hRq1sLd6gJf3yUe8aTi5oVx0C",
}

// REL-14
func TestOutsideATrialNothingIsMadeUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, profile := range []string{"staging", "production"} {
		if _, _, err := start(t, dir, strict(profile)...); err == nil || !strings.Contains(err.Error(), "SENTINEL_SECRET_KEY") || !strings.Contains(err.Error(), "SENTINEL_JWT_SECRET") {
			t.Errorf("%s without secrets: %v", profile, err)
		}
	}
	if made := contents(t, dir); len(made) != 0 {
		t.Errorf("made all the same: %v", made)
	}
	environ := append(append(strict("staging"), given...), "SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT=false")
	if _, _, err := start(t, dir, environ...); !errors.Is(err, db.ErrSchemaOlder) || !strings.Contains(err.Error(), "migrate up") {
		t.Errorf("without its schema: %v", err)
	}
	if made := contents(t, dir); len(made) != 0 {
		t.Errorf("made for want of a schema: %v", made)
	}
	environ[len(environ)-1] = "SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT=true"
	core, log, err := start(t, dir, environ...)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, core)
	if _, err := core.Policy.Fleet(); err == nil || core.isFounded(t.Context()) == nil {
		t.Errorf("a fleet was founded without its owner: %s", log)
	}
	if made := contents(t, dir); len(made) != 0 {
		t.Errorf("keys or secrets were made: %v", made)
	}
}

func TestADatabaseOfAStricterProfileIsNotOpenedAsATrial(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stop(t, started(t, dir, append(append(strict("staging"), given...), "SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT=true")...))
	if _, _, err := start(t, dir); !errors.Is(err, db.ErrProfile) {
		t.Fatalf("opened: %v", err)
	}
}

// A25: a failed must stops the start, before the database is marked for production.
func TestAServerThatIsNotFitForProductionDoesNotStartAndMarksNothing(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgresURL(t) // its role is a superuser, and its commits are not durable
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	environ := append(append(strict("production"), given...), "SENTINEL_DATA_DIR="+dir, "SENTINEL_DATABASE_REQUIRE_POSTGRESQL=true", "SENTINEL_DATABASE_URL="+url,
		"SENTINEL_PEOPLE_LISTEN=127.0.0.1:0", "SENTINEL_MACHINE_LISTEN=127.0.0.1:0")
	environ = slices.DeleteFunc(environ, func(kv string) bool { return kv == "SENTINEL_DATABASE_REQUIRE_POSTGRESQL=false" })
	c, err := config.Load(environ, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		_ = s.Close()
	}
	refusal, ok := errors.AsType[preflight.UnfitError](err)
	if !ok || !strings.Contains(err.Error(), "database.role") || !strings.Contains(err.Error(), "database.durable") || !strings.Contains(err.Error(), "keys.fleet-root") || len(refusal) != 3 {
		t.Fatalf("it starts, or for another reason not: %v", err)
	}
	d, err := OpenDB(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if in, err := d.Instance(t.Context()); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("the database is marked: %+v, %v", in, err)
	}
}

// A25: nor is it migrated for that.
func TestADatabaseOfAStricterProfileIsNotMigratedByATrial(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	core := started(t, dir, append(append(strict("staging"), given...), "SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT=true")...)
	if err := core.DB.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { // as one that an older version left
		_, err := tx.ExecContext(ctx, "DELETE FROM goose_db_version WHERE version_id = (SELECT MAX(version_id) FROM goose_db_version)")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	stop(t, core)
	if _, _, err := start(t, dir); !errors.Is(err, db.ErrProfile) {
		t.Fatalf("opened, or migrated: %v", err)
	}
}

// REV-05
func TestARestoredDatabaseDoesNotStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	core := started(t, dir)
	if err := core.Flow.RaiseMark(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t, core)
	path := filepath.Join(dir, "sentinel.db")
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	core = started(t, dir)
	if err := core.Flow.RaiseMark(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := core.notBehind(t.Context()); err != nil {
		t.Errorf("before: %v", err)
	}
	stop(t, core)
	for _, name := range []string{path + "-wal", path + "-shm"} {
		_ = os.Remove(name)
	}
	if err := os.WriteFile(path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := start(t, dir); !errors.Is(err, db.ErrRestored) || !strings.Contains(err.Error(), "mark-restored") {
		t.Fatalf("it starts: %v", err)
	}
	// The refusal left nothing behind that would let it start next time.
	if _, _, err := start(t, dir); !errors.Is(err, db.ErrRestored) {
		t.Fatalf("it starts the second time: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "instance.json")); err != nil {
		t.Fatal(err)
	}
	stop(t, started(t, dir)) // a node that remembers nothing cannot know
}

// REV-05: a node that remembers no mark still has its journal of revocations.
func TestADeviceThatCameBackWithABackupStopsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	core := started(t, dir)
	state := func(to device.State) {
		t.Helper()
		if err := core.DB.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE devices SET state = ? WHERE device_id = 'edge-1'", to)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		stop(t, core)
	}
	if err := core.DB.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
		return device.Add(ctx, tx, &device.Device{DeviceID: "edge-1", EnrollmentID: tx.NewID()}, nil, "f", "e")
	}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"edge-0", "edge-1"} { // one is not in this database at all
		if err := core.Journal.Add(device.Revocation{DeviceID: id, Reason: "stolen"}); err != nil {
			t.Fatal(err)
		}
	}
	state(device.Revoked)
	core = started(t, dir) // as it should be
	state(device.Active)
	if _, _, err := start(t, dir); !errors.Is(err, db.ErrRestored) || !strings.Contains(err.Error(), "edge-1") || !strings.Contains(err.Error(), "mark-restored") {
		t.Fatalf("it starts with a revoked device alive: %v", err)
	}
}

// REV-05: a running server is not ready once it knows that the database is old.
func TestReadinessSaysWhatIsWrongAndNothingInside(t *testing.T) {
	t.Parallel()
	core := started(t, t.TempDir())
	if err := core.Flow.RaiseMark(t.Context()); err != nil { // as Run does
		t.Fatal(err)
	}
	for _, check := range core.checks() {
		if err := check.Ask(t.Context()); err != nil {
			t.Errorf("%s: %v", check.Name, err)
		}
	}
	if err := core.DB.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { return tx.SetBehind(ctx, "edge-1 knows more") }); err != nil {
		t.Fatal(err)
	}
	if err := core.notBehind(t.Context()); err == nil || !strings.Contains(err.Error(), "mark-restored") || strings.Contains(err.Error(), "edge-1") {
		t.Errorf("behind: %v", err)
	}
	stop(t, core)
	for _, check := range core.checks() {
		if slices.Contains([]string{"authorities", "fleet-root", "policy-bundle", "command-key", "revocation-lists", "external-revocation"}, check.Name) { // these are in memory
			continue
		}
		if err := check.Ask(t.Context()); err == nil || strings.Contains(err.Error(), "sql") || strings.Contains(err.Error(), "/") {
			t.Errorf("%s without a database: %v", check.Name, err)
		}
	}
}

// REL-06: a clock that stands wrong is no outage: the server starts, and says what
// waits for the right time.
func TestAServerWhoseClockJumpedStarts(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Now()
	open := func(now time.Time) *Server {
		t.Helper()
		c, err := config.Load([]string{"SENTINEL_DATA_DIR=" + dir, "SENTINEL_PEOPLE_LISTEN=127.0.0.1:0", "SENTINEL_MACHINE_LISTEN=127.0.0.1:0"}, "")
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(t.Context(), Options{Config: c, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
		if err != nil {
			t.Fatalf("at %s: %v", now, err)
		}
		return s
	}
	first := open(now)
	authority, err := first.PKI.Active(certs.KindServer)
	if err != nil {
		t.Fatal(err)
	}
	ends := authority.NotAfter.Sub(now)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		by       time.Duration
		says     string // of the policy bundle
		presents bool
	}{
		"an hour back":                   {-time.Hour, "still to come", true},
		"years back":                     {-20 * 365 * 24 * time.Hour, "still to come", false},
		"half a minute back":             {-time.Minute / 2, "", true},
		"past the bundle":                {signing.MaxBundleLife + time.Hour, "has expired", true},
		"in the authority's last hour":   {ends - time.Hour, "has expired", true},
		"after the end of the authority": {ends + time.Hour, "has expired", false},
	} {
		s := open(now.Add(c.by))
		err := s.bundleLasts(t.Context())
		if _, warns := errors.AsType[health.WarningError](err); warns != (c.says != "") || warns && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the bundle: %v", name, err)
		}
		ready := s.health.Ready(t.Context())
		i := slices.IndexFunc(ready.Checks, func(r health.Result) bool { return r.Name == "server-certificate" })
		if ready.Checks[i].OK != c.presents || !c.presents && ready.Ready {
			t.Errorf("%s: the certificate: %+v", name, ready.Checks[i])
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// REL-07: a first start that is killed between the keys and the fleet that they
// sign is made up for by the next one, with the keys that stand there.
func TestATrialWhoseFoundingWasBrokenOffIsFounded(t *testing.T) {
	t.Parallel()
	for _, made := range [][]string{{"fleet-root.key"}, {"fleet-root.key", "policy.key"}, {"fleet-root.key", "policy.key", "certificate-root.key"}} {
		other := filepath.Join(t.TempDir(), "data")
		stop(t, started(t, other))
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.MkdirAll(filepath.Join(dir, keysDir), 0o700); err != nil {
			t.Fatal(err)
		}
		keys := map[string]string{}
		for _, name := range made {
			data, err := os.ReadFile(filepath.Join(other, keysDir, name))
			if err != nil {
				t.Fatal(err)
			}
			keys[name] = string(data)
			if err := os.WriteFile(filepath.Join(dir, keysDir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		half := filepath.Join(dir, keysDir, ".policy.key-123")
		if err := os.WriteFile(half, []byte("half a key"), 0o600); err != nil {
			t.Fatal(err)
		}
		core := started(t, dir)
		if _, err := core.Policy.Fleet(); err != nil {
			t.Errorf("with %v: %v", made, err)
		}
		stop(t, core)
		for name, key := range keys {
			if data, err := os.ReadFile(filepath.Join(dir, keysDir, name)); err != nil || string(data) != key {
				t.Errorf("with %v: %s is another one: %v", made, name, err)
			}
		}
		if _, err := os.Lstat(half); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("with %v: half a key stands there still: %v", made, err)
		}
	}
}
