package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// fleet is a data directory with devices that enrolled there, to be copied.
type fleet struct {
	devices     int
	dir         string
	sims        string
	fingerprint string
	rootDigest  string
	identities  []*identity
}

const (
	accountName = "olivia"
	password    = "a long password for the bench"
)

// fleetOf enrolls so many devices with fleetsim at a server on SQLite, once.
func (b *bench) fleetOf(ctx context.Context, devices int) (*fleet, error) {
	if f := b.fleets[devices]; f != nil {
		return f, nil
	}
	f := &fleet{devices: devices, dir: filepath.Join(b.dir, "fleet-"+strconv.Itoa(devices)), sims: filepath.Join(b.sims, "fleet-"+strconv.Itoa(devices))}
	if b.plan.fleets != "" {
		kept := filepath.Join(b.plan.fleets, strconv.Itoa(devices))
		f.dir, f.sims = filepath.Join(kept, "server"), filepath.Join(kept, "devices")
	}
	begin := time.Now()
	if f.recall() == nil {
		b.fleets[devices] = f
		return f, nil
	}
	s := &site{b: b, kind: sqlite, dir: f.dir, fleet: f}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, err
	}
	if err := errors.Join(s.addresses(), s.account()); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	defer s.stop()
	token, err := s.enrollToken(ctx, devices)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(f.dir, "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.plan.bin, "fleetsim"), "--server", s.url(), "--ca-fingerprint", f.fingerprint, "--fleet-root", f.rootDigest,
		"--token-file", file, "--devices", strconv.Itoa(devices), "--dir", f.sims, "--duration", "0s")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("fleetsim: %w\n%s", err, out)
	}
	s.stop()
	if f.identities, err = readIdentities(f.sims); err != nil {
		return nil, err
	}
	if len(f.identities) != devices {
		return nil, fmt.Errorf("%d devices enrolled, not %d", len(f.identities), devices)
	}
	if err := f.remember(); err != nil {
		return nil, err
	}
	b.fleets[devices] = f
	b.sayf("%d devices enrolled within %.0f s", devices, time.Since(begin).Seconds())
	return f, nil
}

// remember notes that the fleet is whole, and what devices were told of it.
func (f *fleet) remember() error {
	data, err := json.Marshal([]string{f.fingerprint, f.rootDigest})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(f.sims, "fleet.json"), data, 0o600)
}

// recall is a fleet of an earlier run.
func (f *fleet) recall() error {
	data, err := os.ReadFile(filepath.Join(f.sims, "fleet.json"))
	if err != nil {
		return err
	}
	var told [2]string
	if err := json.Unmarshal(data, &told); err != nil {
		return err
	}
	f.fingerprint, f.rootDigest = told[0], told[1]
	f.identities, err = readIdentities(f.sims)
	if err == nil && len(f.identities) != f.devices {
		err = errors.New("the fleet is not whole")
	}
	return err
}

// site is a server on a copy of a fleet's data: a data directory and, on
// PostgreSQL, a database.
type site struct {
	b        *bench
	fleet    *fleet
	kind     string
	dir      string
	database string // URL; "" on SQLite
	settings []string
	people   string
	machine  string
	process  *process
}

func (b *bench) newSite(ctx context.Context, f *fleet, kind string, settings ...string) (*site, error) {
	b.sites++
	s := &site{b: b, fleet: f, kind: kind, dir: filepath.Join(b.dir, fmt.Sprintf("site-%d", b.sites)), settings: settings}
	if err := copyPrivate(s.dir, f.dir); err != nil {
		return nil, err
	}
	if err := s.addresses(); err != nil {
		return nil, err
	}
	if kind == sqlite {
		return s, nil
	}
	var err error
	if s.database, err = b.postgres.create(ctx); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.plan.bin, "sentinel-server"), "migrate", "up")
	cmd.Env = append(os.Environ(), s.environ()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("migrate up: %w\n%s", err, out)
	}
	from, err := openSQLite(sqliteFile(f.dir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }()
	return s, copyRows(ctx, from, s.database)
}

func (s *site) addresses() (err error) {
	if s.people, err = freeAddress(); err == nil {
		s.machine, err = freeAddress()
	}
	return err
}

// copyPrivate copies a data directory with its modes.
func copyPrivate(to, from string) error {
	return filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if e.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
}

// open is the site's database, beside a stopped server on SQLite.
func (s *site) open() (*sql.DB, error) {
	if s.kind == sqlite {
		return openSQLite(sqliteFile(s.dir))
	}
	return sql.Open("pgx", s.database)
}

// fill is the site with this many devices in its database.
func (s *site) fill(ctx context.Context, many int) error {
	d, err := s.open()
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	begin := time.Now()
	if err := fill(ctx, d, s.kind, many); err != nil {
		return err
	}
	s.b.sayf("%d devices in %s within %.0f s", many, s.kind, time.Since(begin).Seconds())
	return nil
}

func (s *site) environ() []string {
	return append([]string{
		"SENTINEL_DATA_DIR=" + s.dir, "SENTINEL_DATABASE_URL=" + s.database, "SENTINEL_PEOPLE_LISTEN=" + s.people, "SENTINEL_MACHINE_LISTEN=" + s.machine,
		"SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL=false", "SENTINEL_LOG_LEVEL=warn",
	}, s.settings...)
}

func (s *site) url() string {
	_, port, _ := strings.Cut(s.machine, ":")
	return "https://localhost:" + port
}

// launch starts the server without waiting for it.
func (s *site) launch() (err error) {
	s.process, err = s.b.start("the server", s.environ(), filepath.Join(s.b.plan.bin, "sentinel-server"), "serve")
	return err
}

func (s *site) start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return errors.Join(until(ctx, time.Minute, 20*time.Millisecond, func() bool {
		return s.process.ended() != nil || s.call(ctx, "GET", "/api/health/ready", "", nil, nil) == nil
	}), s.process.ended())
}

func (s *site) stop() {
	s.process.stop()
	s.process = nil
}

// pids are the processes whose CPU is the server's and its database's.
func (s *site) pids() []int {
	list := []int{s.process.pid()}
	if s.kind == postgres {
		list = append(list, s.b.postgres.pid)
	}
	return list
}

func (s *site) account() error {
	file := filepath.Join(s.dir, "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(s.b.plan.bin, "sentinel-server"), "admin", "create", "--local", "--name", accountName, "--role", "operator", "--password-file", file)
	cmd.Env = append(os.Environ(), "SENTINEL_DATA_DIR="+s.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make an account: %w\n%s", err, out)
	}
	return nil
}

// enrollToken signs in, makes a token, and notes what devices are told of the fleet.
func (s *site) enrollToken(ctx context.Context, uses int) (string, error) {
	var session struct{ Token string }
	if err := s.call(ctx, "POST", "/api/admin/login", "", map[string]string{"name": accountName, "password": password}, &session); err != nil {
		return "", err
	}
	var told struct {
		CAFingerprint   string `json:"ca_fingerprint"`
		FirstRootDigest string `json:"first_root_digest"`
	}
	if err := s.call(ctx, "GET", "/api/fleet", session.Token, nil, &told); err != nil {
		return "", err
	}
	s.fleet.fingerprint, s.fleet.rootDigest = told.CAFingerprint, told.FirstRootDigest
	var token struct{ Secret string }
	err := s.call(ctx, "POST", "/api/enroll-tokens", session.Token, map[string]any{"uses": uses, "life_seconds": 86400}, &token)
	return token.Secret, err
}

// call is one call of the admin API.
func (s *site) call(ctx context.Context, method, path, token string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.people+path, body)
	if err != nil {
		return err
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, data)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}
