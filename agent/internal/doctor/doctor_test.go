//go:build unix

package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func TestADeviceThatIsWell(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for name, r := range w.run() {
		if r.Verdict != OK {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if asked := w.asked(); len(asked) != 1 || asked[0] != "GET /api/health/live" {
		t.Errorf("the server was asked %q", asked)
	}
}

// What a person looks at runs on: its lock, its files and its counter stay as
// they are.
func TestLookingDisturbsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	j, err := journal.Open(w.dir) // the running agent
	must(t, err)
	defer func() { _ = j.Close() }()
	before := snapshot(t, w.dir)
	r := w.run()["state directory"]
	if after := snapshot(t, w.dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if r.Verdict != OK || !strings.Contains(r.Found, "holds it") {
		t.Errorf("%+v", r)
	}
	if n, err := j.Next(); n != 9 || err != nil {
		t.Errorf("the next counter is %d, %v", n, err)
	}
}

// An agent that starts or writes at this moment is not kept from it: no lock is
// taken, and nothing is swept away.
func TestLookingTakesNoHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	must(t, os.Remove(filepath.Join(w.dir, "agent.lock")))
	must(t, os.WriteFile(filepath.Join(w.dir, ".journal.json-123"), []byte("half"), 0o600))
	before := snapshot(t, w.dir)
	w.run()
	if after := snapshot(t, w.dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + "\n")
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			b.Write(data)
			return err
		}
		return nil
	}))
	return b.String()
}

// Each fault is real, and found by the check whose it is, with what came to be
// skipped for it.
func TestFaultsAreFoundWhereTheyAre(t *testing.T) {
	t.Parallel()
	type want map[string]struct {
		verdict Verdict
		says    string
	}
	elsewhere := func(w *world, cert tls.Certificate) {
		w.o.Config.Server = "https://" + agenttest.Serve(w.t, cert, http.HandlerFunc(w.serve))
	}
	for name, test := range map[string]struct {
		change func(*journal.State)
		spoil  func(w *world)
		want   want
	}{
		"another fleet's CA": {
			spoil: func(w *world) {
				elsewhere(w, agenttest.NewFleet(w.t, w.fleet.Now).ServerCertificate(w.t, "127.0.0.1"))
			},
			want: want{"TLS": {Fail, "another CA that has the name of the pinned one"}, "server": {Skipped, ""}, "connection": {OK, ""}},
		},
		"another CA that the system trusts": {
			spoil: func(w *world) {
				other := agenttest.NewFleet(w.t, w.fleet.Now)
				elsewhere(w, other.ServerCertificate(w.t, "127.0.0.1"))
				w.o.Roots = func() (*x509.CertPool, error) {
					pool := x509.NewCertPool()
					pool.AddCert(other.ServerCA.Certificate)
					return pool, nil
				}
			},
			want: want{"TLS": {Fail, "which this system trusts and the fleet does not"}},
		},
		"another name": {
			spoil: func(w *world) { elsewhere(w, w.fleet.ServerCertificate(w.t, "sentinel.example", "10.0.0.1")) },
			want:  want{"TLS": {Fail, "is for sentinel.example, 10.0.0.1, not for 127.0.0.1"}},
		},
		"an expired server certificate": {
			spoil: func(w *world) { elsewhere(w, expired(w.t, w.fleet)) },
			want:  want{"TLS": {Fail, "the server's certificate expired at"}},
		},
		"nothing listens": {
			spoil: func(w *world) { w.o.Config.Server = "https://" + closedPort(w.t) },
			want:  want{"connection": {Fail, "nothing listens at"}, "TLS": {Skipped, ""}, "server": {Skipped, ""}},
		},
		"plain HTTP": {
			spoil: func(w *world) { w.o.Config.Server = "https://" + say(w.t, "HTTP/1.1 400 Bad Request\r\n\r\n") },
			want:  want{"TLS": {Fail, "does not speak TLS"}},
		},
		"cut as TLS begins": {
			spoil: func(w *world) { w.o.Config.Server = "https://" + say(w.t, "") },
			want:  want{"TLS": {Fail, "cut as TLS begins"}},
		},
		"a TLS of another version": {
			spoil: func(w *world) {
				cert := w.fleet.ServerCertificate(w.t, "127.0.0.1")
				l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}})
				must(w.t, err)
				w.t.Cleanup(func() { _ = l.Close() })
				serveHandshakes(l)
				w.o.Config.Server = "https://" + l.Addr().String()
			},
			want: want{"TLS": {Fail, "refuses the TLS of the agent"}},
		},
		"a proxy that lets pass": {
			spoil: func(w *world) { w.o.Config.Proxy = w.proxy("200 OK") },
			want:  want{"proxy": {OK, "lets CONNECT"}, "TLS": {OK, ""}, "server": {OK, ""}},
		},
		"a proxy that wants a sign-in": {
			spoil: func(w *world) { w.o.Config.Proxy = w.proxy("407 Proxy Authentication Required") },
			want:  want{"proxy": {Fail, "(407)"}, "TLS": {Skipped, ""}},
		},
		"a proxy that refuses": {
			spoil: func(w *world) { w.o.Config.Proxy = w.proxy("403 Forbidden") },
			want:  want{"proxy": {Fail, "refuses CONNECT"}, "TLS": {Skipped, ""}},
		},
		"a proxy that is none": {
			spoil: func(w *world) { w.o.Config.Proxy = w.proxy(""); w.o.Config.Proxy.Host = say(w.t, "SSH-2.0-x\r\n") },
			want:  want{"proxy": {Fail, "does not answer as an HTTP proxy"}},
		},
		"a clock a day ahead": {
			spoil: func(w *world) { w.now = w.now.Add(20 * time.Hour) }, // as far as the server's certificate goes
			want:  want{"clock": {Fail, "seconds ahead of the server's"}, "TLS": {OK, ""}},
		},
		"a clock a day behind": {
			spoil: func(w *world) { w.now = w.now.Add(-24 * time.Hour) },
			want:  want{"clock": {Fail, "before what signed documents prove"}},
		},
		"a clock two days ahead": {
			spoil: func(w *world) { w.now = w.now.Add(48 * time.Hour) },
			want:  want{"TLS": {Fail, "by this device's clock"}, "server": {Skipped, ""}},
		},
		"a loose directory": {
			spoil: func(w *world) { must(w.t, os.Chmod(w.dir, 0o755)) },
			want:  want{"state directory": {Fail, "has mode 0755"}, "journal": {Skipped, ""}, "connection": {Skipped, ""}},
		},
		"a loose key": {
			spoil: func(w *world) { must(w.t, os.Chmod(filepath.Join(w.dir, "device.key"), 0o644)) },
			want:  want{"key and certificate": {Fail, "others may read"}, "TLS": {OK, ""}},
		},
		"no key": {
			spoil: func(w *world) { must(w.t, os.Remove(filepath.Join(w.dir, "device.key"))) },
			want:  want{"key and certificate": {Fail, "missing"}},
		},
		"a damaged journal": {
			spoil: func(w *world) {
				path := filepath.Join(w.dir, "journal.json")
				data, err := os.ReadFile(path)
				must(w.t, err)
				must(w.t, os.WriteFile(path, []byte(strings.Replace(string(data), `"counter":8`, `"counter":7`, 1)), 0o600))
			},
			want: want{"journal": {Fail, "the journal is damaged"}, "key and certificate": {Skipped, ""}, "TLS": {Skipped, ""}},
		},
		"a swapped policy": {
			spoil: func(w *world) {
				_, digest := w.fleet.Root(w.t)
				must(w.t, os.WriteFile(filepath.Join(w.dir, "policy-bundle.json"), w.fleet.Bundle(w.t, digest, 2, w.fleet.Now, time.Hour), 0o600))
			},
			// The CA that was pinned for first contact is still known.
			want: want{"fleet root and policy": {Fail, "not the one that was verified"}, "TLS": {OK, ""}},
		},
		"a refusal": {
			change: refused(protocol.CodeDeviceHeld, time.Now()),
			want:   want{"last heartbeat": {Fail, "device-held"}},
		},
		"trust on first use": {
			change: func(s *journal.State) { s.Enrolled.FirstUse = true },
			want:   want{"fleet root and policy": {Warn, "first use"}},
		},
		"no directory": {
			spoil: func(w *world) { w.o.Config.StateDir = filepath.Join(w.dir, "none") },
			want:  want{"state directory": {Warn, "there is no"}, "journal": {Warn, "not enrolled"}, "disk space": {OK, ""}, "TLS": {Skipped, ""}},
		},
		"not enrolled, with the server's pin": {
			spoil: func(w *world) {
				w.o.Config.StateDir = filepath.Join(w.dir, "none")
				w.o.Config.Server, w.o.Config.CAFingerprint = "https://"+w.address, certs.Fingerprint(w.fleet.ServerCA.Certificate.Raw)
			},
			want: want{"TLS": {OK, ""}, "server": {OK, ""}, "clock": {OK, ""}},
		},
		"not enrolled, with another pin": {
			spoil: func(w *world) {
				w.o.Config.StateDir = filepath.Join(w.dir, "none")
				w.o.Config.Server, w.o.Config.CAFingerprint = "https://"+w.address, strings.Repeat("ab", 32)
			},
			want: want{"TLS": {Fail, "pinned is abab"}, "server": {Skipped, ""}},
		},
		"not enrolled, with the server alone": {
			spoil: func(w *world) {
				w.o.Config.StateDir, w.o.Config.Server = filepath.Join(w.dir, "none"), "https://"+w.address
			},
			want: want{"connection": {OK, ""}, "TLS": {Skipped, "--ca-fingerprint"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.change)
			if test.spoil != nil {
				test.spoil(w)
			}
			got := w.run()
			for check, want := range test.want {
				if r := got[check]; r.Verdict != want.verdict || !strings.Contains(r.Found, want.says) {
					t.Errorf("%s: want %s %q, got %+v", check, want.verdict, want.says, r)
				}
			}
			for check, r := range got {
				if _, named := test.want[check]; r.Verdict == Fail && !named && name != "a clock two days ahead" && name != "a clock a day behind" {
					t.Errorf("%s fails, too: %+v", check, r)
				}
			}
			for _, asked := range w.asked() {
				if asked != "GET /api/health/live" {
					t.Errorf("the server was asked %s", asked)
				}
			}
		})
	}
}

func TestNoSecretIsInAReport(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"200 OK", "407 Proxy Authentication Required"} {
		w := newWorld(t, nil)
		w.o.Config.Proxy, w.o.Config.Token = w.proxy(status), "canary-token"
		var b strings.Builder
		must(t, Run(t.Context(), w.o).Print(&b))
		if strings.Contains(b.String(), "canary") {
			t.Errorf("%s", b.String())
		}
	}
}

// expired makes a certificate of the fleet's server CA that ended long ago.
func expired(t *testing.T, f *agenttest.Fleet) tls.Certificate {
	t.Helper()
	key := agenttest.Key(t)
	template := certs.ServerTemplate{PublicKey: key.Public(), IPs: []net.IP{net.IPv4(127, 0, 0, 1).To4()}}
	template.NotBefore, template.NotAfter = f.ServerCA.Certificate.NotBefore, f.ServerCA.Certificate.NotBefore.Add(time.Minute)
	der, err := certs.IssueServer(f.ServerCA, template)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der, f.ServerCA.Certificate.Raw}, PrivateKey: key}
}

// say answers every connection with a text, and ends it.
func say(t *testing.T, text string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				buf := make([]byte, 4096)
				_, _ = conn.Read(buf) // so that closing is no reset
				_, _ = conn.Write([]byte(text))
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func serveHandshakes(l net.Listener) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).Handshake()
				_ = conn.Close()
			}()
		}
	}()
}
