package main

import (
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver, named "sqlite"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/check"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// readyWithin is how soon a server must be ready after a kill.
const readyWithin = 10 * time.Second

// restartPause is between two starts of a server that ended by itself.
const restartPause = 200 * time.Millisecond

// site is one installation with all that runs beside it.
type site struct {
	name   string
	dir    string // for what is kept
	bin    string
	begun  time.Time
	ended  time.Duration
	random *rand.Rand    // of the load
	life   time.Duration // of certificates

	nodes       []*node
	postgres    *postgres // nil on SQLite
	cutter      *cutter
	balancer    *balancer
	disk        *disk // nil where none can be filled
	fingerprint string
	root        string
	authorities []*x509.Certificate
	operator    *person
	guard       *person // of security
	reviewer    *person // agrees to what guard and devices ask for
	agents      []*agent

	operations *record.Log
	journals   *record.Log
	figures    figures
}

// node is a server.
type node struct {
	*process
	s       *site
	data    string
	people  int // ports
	machine int
	client  *http.Transport
}

func (n *node) peopleURL() string  { return "http://127.0.0.1:" + strconv.Itoa(n.people) }
func (n *node) machineURL() string { return "https://localhost:" + strconv.Itoa(n.machine) }

func (s *site) since() time.Duration { return time.Since(s.begun) }
func (s *site) note(op record.Op)    { op.End = s.since(); s.figures.add(op); s.operations.Add(op) }

// newSite founds an installation on a database and lets some agents in.
func newSite(o options, database, bin, dir string, random *rand.Rand) (s *site, err error) {
	s = &site{name: database, dir: dir, bin: bin, begun: time.Now(), random: random, life: o.life}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, err
	}
	if s.operations, err = record.Create(filepath.Join(dir, "operations.jsonl")); err != nil {
		return s, err
	}
	if s.journals, err = record.Create(filepath.Join(dir, "journals.jsonl")); err != nil {
		return s, err
	}
	count, url := 1, ""
	if database == "postgres" {
		count = 2
		if url, err = s.openPostgres(random); err != nil {
			return s, err
		}
	} else if s.disk, err = mountDisk(filepath.Join(dir, "disk")); err != nil {
		s.figures.sayf("no disk can be filled here (%v): only files that may not grow", err)
	}
	for i := range count {
		data := filepath.Join(s.dir, fmt.Sprintf("node-%d", i))
		if s.disk != nil {
			data = filepath.Join(s.disk.path, fmt.Sprintf("node-%d", i))
		}
		s.nodes = append(s.nodes, s.newNode(fmt.Sprintf("server-%d", i), data, url))
	}
	for name, role := range map[string]string{"olivia": "operator", "sam": "security", "ben": "approver"} {
		if err := s.account(name, role); err != nil {
			return s, err
		}
	}
	if err := s.found(); err != nil {
		return s, err
	}
	return s, s.letAgentsIn(o.agents)
}

func (s *site) openPostgres(random *rand.Rand) (url string, err error) {
	if s.postgres, err = newPostgres(s.dir); err != nil {
		return "", err
	}
	if err := s.postgres.create("sentinel"); err != nil {
		return "", err
	}
	if s.cutter, err = newCutter(fmt.Sprintf("127.0.0.1:%d", s.postgres.port), rand.New(rand.NewPCG(random.Uint64(), 1))); err != nil {
		return "", err
	}
	return s.postgres.url(s.cutter.port(), "sentinel"), nil
}

// newNode is a server on a data directory; an empty database is SQLite.
func (s *site) newNode(name, data, database string) *node {
	n := &node{s: s, data: data, people: freePort(), machine: freePort(), client: &http.Transport{DisableKeepAlives: true}}
	n.process = &process{name: name, dir: s.dir, path: filepath.Join(s.bin, "sentinel-server"), args: []string{"serve"}}
	n.env = []string{
		"SENTINEL_DATA_DIR=" + n.data, fmt.Sprintf("SENTINEL_PEOPLE_LISTEN=127.0.0.1:%d", n.people),
		fmt.Sprintf("SENTINEL_MACHINE_LISTEN=127.0.0.1:%d", n.machine), "SENTINEL_HEARTBEAT_INTERVAL=1s", "SENTINEL_SESSION_IDLE=12h",
		fmt.Sprintf("SENTINEL_DEVICE_CERT_LIFETIME=%v", s.life),
	}
	if database != "" {
		n.env = append(n.env, "SENTINEL_DATABASE_URL="+database)
	}
	return n
}

// account makes an account on the host, while no server runs.
func (s *site) account(name, role string) error {
	file := filepath.Join(s.dir, "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	_, err := run(filepath.Join(s.bin, "sentinel-server"), s.nodes[0].env, "admin", "create", "--local", "--name", name, "--role", role, "--password-file", file)
	return err
}

// found starts the nodes, the first before the others, and signs in.
func (s *site) found() (err error) {
	for i, n := range s.nodes {
		if i > 0 { // nodes of one installation share its secrets
			if err := copyPrivate(filepath.Join(s.nodes[0].data, "secrets"), filepath.Join(n.data, "secrets")); err != nil {
				return err
			}
		}
		if err := n.start(); err != nil {
			return err
		}
		if err := n.waitReady(30 * time.Second); err != nil {
			return err
		}
	}
	if s.operator, err = s.signIn("olivia"); err != nil {
		return err
	}
	if s.guard, err = s.signIn("sam"); err != nil {
		return err
	}
	if s.reviewer, err = s.signIn("ben"); err != nil {
		return err
	}
	var fleet struct {
		Fingerprint string `json:"ca_fingerprint"`
		Root        string `json:"first_root_digest"`
	}
	if result, text := s.operator.do(0, http.MethodGet, "/api/fleet", nil, &fleet); result != record.OK {
		return fmt.Errorf("the fleet: %s %s", result, text)
	}
	s.fingerprint, s.root = fleet.Fingerprint, fleet.Root
	ca, err := certs.LearnCA(context.Background(), nil, fmt.Sprintf("127.0.0.1:%d", s.nodes[0].machine), "localhost", s.fingerprint)
	if err != nil {
		return err
	}
	s.authorities = []*x509.Certificate{ca}
	var targets []string
	for _, n := range s.nodes {
		targets = append(targets, fmt.Sprintf("127.0.0.1:%d", n.machine))
	}
	if s.balancer, err = newBalancer(targets); err != nil {
		return err
	}
	if result, text := s.guard.do(0, http.MethodPost, "/api/enroll-window/open", map[string]any{"seconds": 86400, "reason": "torture"}, nil); result != record.OK {
		return fmt.Errorf("opening the window: %s %s", result, text)
	}
	return nil
}

func copyPrivate(from, to string) error {
	names, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(from, n.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, n.Name()), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// ready asks a node whether it is.
func (n *node) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.peopleURL()+"/api/health/ready", nil)
	if err != nil {
		return false
	}
	resp, err := n.client.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// waitReady waits for a node, and starts it again when it ends, as a service
// manager does: one whose database is lost while it starts says so and ends.
func (n *node) waitReady(limit time.Duration) error {
	for over := time.Now().Add(limit); time.Now().Before(over); <-time.After(20 * time.Millisecond) {
		if n.ready() {
			return nil
		}
		select {
		case <-n.gone():
			n.s.figures.count("times that a server ended by itself, and was started again")
			if err := n.start(); err != nil {
				return err
			}
			<-time.After(restartPause)
		default:
		}
	}
	return fmt.Errorf("%s is not ready within %v (%s); see %s", n.name, limit, busy(), n.logPath())
}

// open opens the database to read it.
func (s *site) open() (*sql.DB, error) {
	if s.postgres != nil {
		return sql.Open("pgx", s.postgres.url(s.postgres.port, "sentinel"))
	}
	return sql.Open("sqlite", "file:"+filepath.Join(s.nodes[0].data, "sentinel.db")+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
}

// evidence is all that is left, after everything was stopped.
func (s *site) evidence() (*check.Evidence, error) {
	if err := errors.Join(s.operations.Close(), s.journals.Close()); err != nil {
		return nil, err
	}
	d, err := s.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	if s.postgres == nil {
		var verdict string
		if err := d.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
			return nil, fmt.Errorf("the SQLite file is damaged: %s %w", verdict, err)
		}
	}
	var nodes []string
	for _, n := range s.nodes {
		nodes = append(nodes, n.data)
	}
	agents := map[string]string{}
	for _, a := range s.agents {
		agents[a.id] = a.state
	}
	return check.Load(s.dir, nodes, d, agents)
}

// stop ends agents and nodes at once: what is to be there is there already.
func (s *site) stop() {
	for _, a := range s.agents {
		a.signal(9)
		<-a.gone()
	}
	for _, n := range s.nodes {
		n.signal(9)
		<-n.gone()
	}
}

// close ends what runs and gives back what was mounted.
func (s *site) close() {
	s.stop()
	if s.balancer != nil {
		_ = s.balancer.Close()
	}
	if s.cutter != nil {
		_ = s.cutter.Close()
	}
	if s.postgres != nil {
		s.postgres.close()
	}
	if s.disk != nil {
		s.disk.close()
	}
}
