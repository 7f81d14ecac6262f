package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver, named "pgx"
)

// postgres is a PostgreSQL of the run's own, whose processes may be killed. What
// it commits survives that: only a power cut would ask for fsync.
type postgres struct {
	*process
	data     string
	password string
	port     int
	owner    *syscall.Credential // nil: it runs as who runs the test
}

// newPostgres makes a cluster in a new directory and starts it.
func newPostgres(dir string) (*postgres, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return nil, errors.New("PostgreSQL is not installed; test/postgres/ensure installs it")
	}
	slices.Sort(found)
	bin := filepath.Dir(found[len(found)-1])
	home, err := os.MkdirTemp("", "torture-postgres")
	if err != nil {
		return nil, err
	}
	p := &postgres{data: filepath.Join(home, "data"), password: rand.Text(), port: freePort()}
	secret := filepath.Join(home, "password")
	if err := os.WriteFile(secret, []byte(p.password+"\n"), 0o600); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 { // it refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		p.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		for _, path := range []string{home, secret} {
			if err := os.Chown(path, uid, gid); err != nil {
				return nil, err
			}
		}
	}
	cmd := exec.Command(filepath.Join(bin, "initdb"), "-D", p.data, "-U", "test", "-A", "scram-sha-256", "--pwfile="+secret, "--encoding=UTF8", "--locale=C", "--no-sync")
	cmd.Dir, cmd.SysProcAttr = home, &syscall.SysProcAttr{Credential: p.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	p.process = &process{name: "postgres", dir: dir, path: filepath.Join(bin, "postgres"), args: []string{
		"-D", p.data, "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "max_connections=100", "-c", "fsync=off", "-c", "restart_after_crash=on", "-c", "checkpoint_timeout=60s",
	}}
	return p, p.again(10 * time.Second)
}

// url is the address of a database, by way of a port.
func (p *postgres) url(port int, database string) string {
	return fmt.Sprintf("postgres://test:%s@127.0.0.1:%d/%s?sslmode=disable", p.password, port, database)
}

// again starts it and waits until it answers. What a killed one has left of its
// processes must be gone first, so it is tried more than once.
func (p *postgres) again(limit time.Duration) error {
	over := time.Now().Add(limit)
	for {
		if err := p.startAs(); err != nil {
			return err
		}
		for time.Now().Before(over) {
			if p.answers() {
				return nil
			}
			select {
			case <-p.gone():
			case <-time.After(20 * time.Millisecond):
				continue
			}
			break
		}
		if time.Now().After(over) {
			return fmt.Errorf("PostgreSQL does not answer within %v; see %s", limit, p.logPath())
		}
	}
}

func (p *postgres) startAs() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.data, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.owner, Pdeathsig: syscall.SIGQUIT}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	p.cmd, p.ended = cmd, ended
	return nil
}

func (p *postgres) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	d, err := sql.Open("pgx", p.url(p.port, "postgres"))
	if err != nil {
		return false
	}
	defer func() { _ = d.Close() }()
	return d.PingContext(ctx) == nil
}

// create makes a database.
func (p *postgres) create(name string) error {
	d, err := sql.Open("pgx", p.url(p.port, "postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	_, err = d.Exec("CREATE DATABASE " + name + " TEMPLATE template0")
	return err
}

// children are the processes of the running server, by the kernel's own list.
func (p *postgres) children() (pids []int) {
	parent := p.pid()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	if err != nil {
		return nil
	}
	for word := range strings.FieldsSeq(string(data)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killBackend kills one of its processes; it recovers by itself.
func (p *postgres) killBackend(which int) bool {
	pids := p.children()
	if len(pids) == 0 {
		return false
	}
	return syscall.Kill(pids[which%len(pids)], syscall.SIGKILL) == nil
}

// close stops it and removes what it has.
func (p *postgres) close() {
	p.signal(syscall.SIGQUIT)
	select {
	case <-p.gone():
	case <-time.After(5 * time.Second):
		p.kill()
	}
	_ = os.RemoveAll(filepath.Dir(p.data))
}

// freePort is below the range from which the system gives ports to outgoing
// connections: one of those would take the place of a server that is away.
func freePort() int {
	for {
		var b [2]byte
		_, _ = rand.Read(b[:])
		port := 10_000 + (int(b[0])<<8|int(b[1]))%20_000
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
}
