package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver, named "pgx"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/preflight"
)

const guidePassword = "seventeen blue kettles"

// production is a host on which docs/production.md was followed, step by step.
type production struct {
	*testing.T
	dir      string // stands for the root directory
	password string // of the database's role
	database url.URL
	admin    *sql.DB // the database's administrator, in the database of the guide
	people   string  // ports
	machines string
	offline  string // the other machine
}

func (p *production) path(name string) string { return filepath.Join(p.dir, name) }

func (p *production) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *production) write(name, text string, mode os.FileMode) string {
	p.Helper()
	path := p.path(name)
	p.must(os.MkdirAll(filepath.Dir(path), 0o755))
	p.must(os.WriteFile(path, []byte(text), mode))
	p.must(os.Chmod(path, mode))
	return path
}

// step is a block of the guide that is done as it stands.
type step struct{ language, text string }

func guideSteps(t *testing.T) (steps []step) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "production.md"))
	if err != nil {
		t.Fatal(err)
	}
	var open *step
	for line := range strings.Lines(string(data)) {
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open == nil:
			open = &step{language: language}
		case fence:
			steps, open = append(steps, *open), nil
		case open != nil:
			open.text += line
		}
	}
	return steps
}

// here puts this host in the place of the guide's names. Everything else is done as it
// is written.
func (p *production) here(text string) string {
	return strings.NewReplacer(
		"'PASSWORD'", "'"+p.password+"'", ":PASSWORD@", ":"+p.password+"@", "db.example.com:5432", p.database.Host, "--server https://console.example.com:8080", "--server https://127.0.0.1:"+p.people,
		"0.0.0.0:8080", "127.0.0.1:"+p.people, ":8080", ":"+p.people, "0.0.0.0:8443", "127.0.0.1:"+p.machines, ":8443", ":"+p.machines,
		"/etc/sentinel", p.path("etc/sentinel"), "/var/lib/sentinel-server", p.path("var"), "/where/it/is", p.path("where"),
	).Replace(text)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// certificate writes a certificate that signs itself, and its key.
func (p *production) certificate(cert, key string, from time.Time, life time.Duration, names ...string) {
	p.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: from, NotAfter: from.Add(life), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	p.must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	p.must(err)
	p.write(cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o644)
	p.write(key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})), 0o600)
}

// postgres starts a PostgreSQL as a production has one: with TLS, and durable.
func (p *production) postgres() {
	p.Helper()
	p.certificate("database/server.crt", "database/server.key", time.Now().Add(-time.Hour), 24*time.Hour, "db.example.com")
	script, err := filepath.Abs(filepath.Join("..", "test", "postgres", "serve"))
	p.must(err)
	cmd := exec.Command(script, p.path("database"))
	cmd.Stderr = os.Stderr
	hold, err := cmd.StdinPipe()
	p.must(err)
	out, err := cmd.StdoutPipe()
	p.must(err)
	p.must(cmd.Start())
	p.Cleanup(func() { _ = hold.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.Fatalf("PostgreSQL did not start: %v", err)
	}
	u, err := url.Parse(strings.TrimSpace(line))
	p.must(err)
	p.database = *u
}

func (p *production) administrator(database string) *sql.DB {
	p.Helper()
	u := p.database
	u.Path, u.RawQuery = "/"+database, "sslmode=disable&default_query_exec_mode=simple_protocol"
	d, err := sql.Open("pgx", u.String())
	p.must(err)
	p.Cleanup(func() { _ = d.Close() })
	return d
}

// stand puts what a host has, and a test may not use, in the place of its programs.
func (p *production) stand() {
	p.Helper()
	self, err := os.Executable()
	p.must(err)
	p.write("bin/sentinel-server", "#!/bin/sh\nexec '"+self+"' \"$@\"\n", 0o755)
	p.write("bin/runuser", "#!/bin/sh\n[ \"$1 $2 $3\" = '-u sentinel-server --' ] || exit 9\nshift 3\nexec \"$@\"\n", 0o755)
	p.write("bin/chown", "#!/bin/sh\nexit 0\n", 0o755)
	p.write("bin/systemctl", "#!/bin/sh\n[ \"$*\" = 'enable --now sentinel-server' ] && : >'"+p.path("started")+"'\n", 0o755)
	p.write("bin/install", "#!/bin/bash\nargs=()\nwhile [ $# -gt 0 ]; do\n\tcase $1 in\n\t-o | -g) shift 2 ;;\n\t*) args+=(\"$1\"); shift ;;\n\tesac\ndone\nexec /usr/bin/install \"${args[@]}\"\n", 0o755)
}

func (p *production) environ(person string) []string {
	return []string{
		"PATH=" + p.path("bin") + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + p.path("home/"+person),
		"SENTINEL_CA_FILE=" + p.path("where/console.crt"), asProgram + "=" + guidePassword,
	}
}

// shell does a block of commands; functions that it defines last.
func (p *production) shell(text, person, dir string) string {
	p.Helper()
	p.must(os.MkdirAll(p.path("home/"+person), 0o700))
	functions := p.path("functions")
	cmd := exec.CommandContext(p.Context(), "bash", "-euo", "pipefail", "-c", "[ ! -f '"+functions+"' ] || . '"+functions+"'\n"+text+"\ndeclare -f >'"+functions+"'")
	cmd.Dir, cmd.Env = dir, p.environ(person)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.Fatalf("%v\n%s\n%s", err, text, out)
	}
	return string(out)
}

// serve runs the server until the test ends.
func (p *production) serve() {
	p.Helper()
	self, err := os.Executable()
	p.must(err)
	cmd := exec.Command(self, "serve", "--config", p.path("etc/sentinel/server.env"))
	cmd.Env = p.environ("root")
	log, err := cmd.StderrPipe()
	p.must(err)
	p.must(cmd.Start())
	p.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			p.Errorf("the server ended with %v", err)
		}
	})
	var said bytes.Buffer
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		said.Write(append(lines.Bytes(), '\n'))
		if strings.Contains(lines.Text(), `"msg":"ready"`) {
			go func() { _, _ = io.Copy(io.Discard, log) }()
			return
		}
	}
	p.Fatalf("the server did not start:\n%s", said.String())
}

// followed does the guide.
func followed(t *testing.T) *production {
	t.Helper()
	p := &production{T: t, dir: t.TempDir(), password: "5b1de2a09c7f4386e1d0", people: freePort(t), machines: freePort(t)}
	p.offline = p.path("offline")
	p.must(os.MkdirAll(p.offline, 0o700))
	p.postgres()
	p.stand()
	p.certificate("where/console.crt", "where/console.key", time.Now().Add(-time.Hour), 90*24*time.Hour, "console.example.com")
	p.must(os.Rename(p.path("database/server.crt"), p.path("where/database-ca.crt")))
	carry := func(name, from, to string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(from, name))
		p.must(err)
		p.must(os.WriteFile(filepath.Join(to, name), data, 0o600))
	}
	last := ""
	for _, s := range guideSteps(t) {
		text := p.here(s.text)
		switch s.language {
		case "sql":
			admin := p.administrator("postgres")
			for query := range strings.SplitSeq(text, ";\n") {
				if strings.TrimSpace(query) != "" {
					_, err := admin.Exec(query)
					p.must(err)
				}
			}
		case "ini":
			p.write("etc/sentinel/server.env", text, 0o644)
		case "sh":
			switch {
			case strings.Contains(text, "keys ceremony"): // on the other machine
				carry("request.json", p.path("var"), p.offline)
				last = p.shell(text, "owner", p.offline)
				carry("founding.json", p.offline, p.path("var"))
			case strings.Contains(text, "--name alice --server"): // "each of the four"
				for _, person := range []string{"alice", "sam", "ben", "clara"} {
					last = p.shell(strings.ReplaceAll(text, "alice", person), person, p.dir)
				}
			default:
				last = p.shell(text, "root", p.dir)
			}
			if _, err := os.Stat(p.path("started")); err == nil {
				p.must(os.Remove(p.path("started")))
				p.serve()
			}
		default:
			t.Fatalf("a step in %q", s.language)
		}
	}
	if !strings.Contains(last, " 0 fail,") {
		t.Fatalf("the guide does not end with a passed checklist:\n%s", last)
	}
	p.admin = p.administrator("sentinel")
	return p
}

// preflight goes through the checklist with a settings file.
func (p *production) preflight(file string, args ...string) (int, preflight.Report) {
	p.Helper()
	return checklist(p.T, []string{"HOME=" + p.path("home/root")}, append([]string{"--config", file}, args...)...)
}

func checklist(t *testing.T, environ []string, args ...string) (code int, r preflight.Report) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = run(context.Background(), append([]string{"preflight", "--output", "json"}, args...), strings.NewReader(""), &out, &errOut, environ)
	if err := json.Unmarshal(out.Bytes(), &r); err != nil && code != exitUsage {
		t.Fatalf("%v: %d\n%s%s", err, code, out.String(), errOut.String())
	}
	return code, r
}

// variant is the settings file of the guide with other settings; "" takes one out.
func (p *production) variant(settings map[string]string) string {
	p.Helper()
	data, err := os.ReadFile(p.path("etc/sentinel/server.env"))
	p.must(err)
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		key, _, _ := strings.Cut(line, "=")
		if _, changed := settings[key]; !changed {
			b.WriteString(line)
		}
	}
	for key, value := range settings {
		if value != "" {
			fmt.Fprintf(&b, "%s=%s\n", key, value)
		}
	}
	return p.write("etc/sentinel/variant.env", b.String(), 0o644)
}

func (p *production) sql(query string) {
	p.Helper()
	if _, err := p.admin.Exec(query); err != nil {
		p.Fatalf("%s: %v", query, err)
	}
}
