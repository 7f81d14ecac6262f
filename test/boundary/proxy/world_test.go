//go:build boundary

package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/programs"
)

// bin is the folder of the two programs, built once.
var bin string

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (int, error) {
	var err error
	if bin, err = os.MkdirTemp("", "boundary"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	if err := programs.Build("../../..", bin); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// world is a server behind NGINX, with the people who run it.
type world struct {
	*testing.T
	*servertest.Server
	dir                string // that NGINX's workers may look into
	nginxProgram       string
	user               string // that they run as
	settings           map[string]string
	machines, console  string // host:port of NGINX
	operator, reviewer *servertest.Person
}

// options differ between worlds.
type options struct {
	secret   bool // the proxy connects to an address, not to a socket
	settings map[string]string
}

const proxySecret = "mZ1pT8vK0qYB3uJ6xw9Lr2HcN5dGfSa7VeQoXtMbWkRiPzDyCjUhE4FgIlOnAsq+"

// newWorld starts a server and NGINX, which serves nothing before install.
func newWorld(t *testing.T, o options) *world {
	t.Helper()
	w := &world{T: t, machines: freePort(t), console: freePort(t), user: strconv.Itoa(os.Getuid())}
	if os.Getuid() == 0 {
		w.user = "nobody"
	}
	var err error
	if w.nginxProgram, err = findNGINX(); err != nil {
		t.Fatal(err)
	}
	if w.dir, err = os.MkdirTemp("", "sentinel-nginx"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(w.dir) })
	w.must(os.Chmod(w.dir, 0o755))
	w.settings = map[string]string{
		"SENTINEL_TRUST_PROXY_CERT_HEADERS": "true", "SENTINEL_MACHINE_URL": "https://localhost:" + port(t, w.machines), "SENTINEL_HEARTBEAT_INTERVAL": "1s",
		"SENTINEL_PROXY_LISTEN": "unix:" + w.dir + "/machines.sock", "SENTINEL_PROXY_PEOPLE_LISTEN": "unix:" + w.dir + "/people.sock", "SENTINEL_PROXY_USERS": w.user,
	}
	if o.secret {
		delete(w.settings, "SENTINEL_PROXY_USERS")
		w.settings["SENTINEL_PROXY_LISTEN"], w.settings["SENTINEL_PROXY_PEOPLE_LISTEN"] = freePort(t), freePort(t)
		w.settings["SENTINEL_PROXY_SECRET"] = proxySecret
	}
	for key, value := range o.settings {
		w.settings[key] = value
	}
	w.Server = servertest.Start(t, servertest.Options{Settings: w.settings})
	w.operator, w.reviewer = w.Person("olivia", "operator"), w.Person("ben", "approver")
	w.startNGINX(filepath.Join(w.dir, "nginx.conf"), w.user)
	w.eventually(20*time.Second, "the server writes what NGINX goes by", func() bool {
		_, err := os.Stat(filepath.Join(w.Dir, "proxy", "stamp"))
		return err == nil
	})
	return w
}

func findNGINX() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("NGINX is missing; run the test as: make test-boundary")
}

// startNGINX runs it until the test ends, as the user given for its workers.
func (w *world) startNGINX(conf, user string) {
	w.Helper()
	dir := filepath.Dir(conf)
	as := ""
	if os.Getuid() == 0 {
		group := "nogroup"
		if user != "nobody" {
			group = user
		}
		as = "user " + user + " " + group + ";\n"
	}
	w.must(os.MkdirAll(filepath.Join(dir, "sites"), 0o755))
	var temporary strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "  %s_temp_path %s/%s;\n", kind, dir, kind)
	}
	w.must(os.WriteFile(conf, []byte(as+`worker_processes 1;
daemon off;
pid `+dir+`/nginx.pid;
error_log `+dir+`/error.log info;
events { worker_connections 512; }
http {
  access_log off;
`+temporary.String()+`  include `+dir+`/sites/*.conf;
}
`), 0o600))
	cmd := exec.Command(w.nginxProgram, "-c", conf, "-e", dir+"/error.log")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	w.must(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
		}
		if w.Failed() {
			log, _ := os.ReadFile(dir + "/error.log")
			w.Logf("NGINX said:\n%s%s", said.String(), log[max(0, len(log)-6000):])
		}
	})
	w.eventually(10*time.Second, "NGINX runs", func() bool {
		select {
		case err := <-ended:
			w.Fatalf("NGINX ended: %v\n%s", err, said.String())
		default:
		}
		data, err := os.ReadFile(dir + "/nginx.pid")
		return err == nil && len(data) > 1
	})
}

// command runs sentinel-server with the settings of the server.
func (w *world) command(args ...string) (code int, output string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "sentinel-server"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SENTINEL_DATA_DIR=" + w.Dir, "SENTINEL_PEOPLE_URL=https://localhost:" + port(w.T, w.console)}
	for key, value := range w.settings {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), string(out)
	}
	w.must(err)
	return 0, string(out)
}

// nginx runs a command of sentinel-server nginx on this world's NGINX.
func (w *world) nginx(verb string, args ...string) (code int, output string) {
	w.Helper()
	return w.command(append([]string{"nginx", verb, "--nginx", w.nginxProgram, "--nginx-conf", filepath.Join(w.dir, "nginx.conf"), "--dir", filepath.Join(w.dir, "beside")}, args...)...)
}

// installArgs are those of nginx install; the console's certificate is a made up one.
func (w *world) installArgs() []string {
	w.Helper()
	certificate, key := w.consoleCertificate()
	return []string{"--site", filepath.Join(w.dir, "sites", "sentinel.conf"), "--listen-machines", w.machines, "--listen-people", w.console, "--console-certificate", certificate, "--console-key", key}
}

func (w *world) install() {
	w.Helper()
	if code, out := w.nginx("install", w.installArgs()...); code != 0 {
		w.Fatalf("nginx install: exit code %d\n%s", code, out)
	}
}

func (w *world) refresh() string {
	w.Helper()
	code, out := w.nginx("refresh", "--from", filepath.Join(w.Dir, "proxy"))
	if code != 0 {
		w.Fatalf("nginx refresh: exit code %d\n%s", code, out)
	}
	return out
}

// getsThrough waits until a heartbeat is accepted after NGINX was told to load anew: for a
// moment a worker of before may still take a connection, or end an open one.
func (w *world) getsThrough(d *servertest.Device) {
	w.Helper()
	w.eventually(20*time.Second, d.ID+" gets through", func() bool {
		p, err := d.Beat()
		return p == nil && err == nil
	})
}

// caFile is what believes the certificate that NGINX shows to devices.
func (w *world) caFile() string { return filepath.Join(w.dir, "beside", "machine.pem") }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// eventually waits for what another process does.
func (w *world) eventually(limit time.Duration, what string, f func() bool) {
	w.Helper()
	over := time.After(limit)
	every := time.NewTicker(25 * time.Millisecond)
	defer every.Stop()
	for !f() {
		select {
		case <-over:
			w.Fatalf("not within %v: %s", limit, what)
		case <-every.C:
		}
	}
}

// agent is a device's program with its state directory.
type agent struct {
	w   *world
	dir string
	id  string
}

func (a *agent) run(args ...string) (code int, output string) {
	a.w.Helper()
	out, err := exec.Command(filepath.Join(bin, "sentinel-agent"), append(args, "--state-dir", a.dir)...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), string(out)
	}
	a.w.must(err)
	return 0, string(out)
}

// enroll lets an agent in through NGINX, the whole way.
func (w *world) enroll(id string) *agent {
	w.Helper()
	a := &agent{w, filepath.Join(w.TempDir(), "state"), id}
	if code, out := a.run("enroll", "--server", w.settings["SENTINEL_MACHINE_URL"], "--ca-fingerprint", w.CAFingerprint, "--fleet-root", w.RootDigest,
		"--token", w.operator.EnrollToken(1), "--device-id", id, "--wait", "1s"); code != 3 {
		w.Fatalf("asking to enroll: exit code %d\n%s", code, out)
	}
	w.reviewer.Approve(a.status().EnrollmentID)
	if code, out := a.run("enroll"); code != 0 {
		w.Fatalf("enrolling: exit code %d\n%s", code, out)
	}
	return a
}

// status is what the agent says of itself.
type status struct {
	State        string `json:"state"`
	EnrollmentID string `json:"enrollment_id"`
	LastCounter  int64  `json:"last_counter"`
	Refusal      *struct {
		Code string `json:"code"`
	} `json:"refusal"`
}

func (a *agent) status() (st status) {
	a.w.Helper()
	code, out := a.run("status", "--output", "json")
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		a.w.Fatalf("status: exit code %d: %v\n%s", code, err, out)
	}
	return st
}

// start runs the agent until the test ends, or the function that it returns is called.
func (a *agent) start() (stop func()) {
	a.w.Helper()
	cmd := exec.Command(filepath.Join(bin, "sentinel-agent"), "run", "--state-dir", a.dir, "--min-interval", "1s")
	var log bytes.Buffer
	cmd.Stderr = &log
	a.w.must(cmd.Start())
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
			if a.w.Failed() {
				a.w.Logf("the agent %s logged:\n%s", a.id, log.String())
			}
		})
	}
	a.w.Cleanup(stop)
	return stop
}

// pair is the agent's certificate with its key.
func (a *agent) pair() tls.Certificate {
	a.w.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, "certificate.pem"), filepath.Join(a.dir, "device.key"))
	a.w.must(err)
	return pair
}

// counter is the last that the server accepted.
func (w *world) counter(id string) int64 {
	w.Helper()
	var d struct {
		Counter int64 `json:"counter"`
	}
	w.operator.Must("GET", "/api/devices/"+id, nil, &d)
	return d.Counter
}

// answer is what came back over HTTP.
type answer struct {
	status int
	header http.Header
	code   protocol.Code
	body   string
}

// byServer says whether the server itself answered: all of its answers have an id.
func (a answer) byServer() bool { return a.header.Get("X-Request-ID") != "" }

// caller is a client of NGINX's side for devices, with a certificate or none.
func (w *world) caller(pair *tls.Certificate) *http.Client {
	w.Helper()
	conf := w.NewDevice("nobody").Transport().TLSClientConfig.Clone()
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if pair == nil {
			return &tls.Certificate{}, nil
		}
		return pair, nil
	}
	transport := &http.Transport{TLSClientConfig: conf, MaxIdleConnsPerHost: 2}
	w.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func (w *world) post(client *http.Client, path string, in any) answer {
	w.Helper()
	body, err := json.Marshal(in)
	w.must(err)
	r, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.settings["SENTINEL_MACHINE_URL"]+path, bytes.NewReader(body))
	w.must(err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	w.must(err)
	return read(resp)
}

// read reads an answer, as far as it comes.
func read(resp *http.Response) answer {
	defer func() { _ = resp.Body.Close() }()
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(data)}
	var p protocol.Problem
	if resp.StatusCode >= 300 && json.Unmarshal(data, &p) == nil {
		a.code = p.Code
	}
	return a
}
