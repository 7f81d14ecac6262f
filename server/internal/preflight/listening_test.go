package preflight

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// answering starts a server with a TLS configuration, nil for plain HTTP, that answers
// as the real one does unless changed, and returns its address.
func answering(t *testing.T, c *tls.Config, answers map[string]int, ready health.Report) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/health/ready" {
			_ = json.NewEncoder(w).Encode(ready)
			return
		}
		if status, ok := answers[r.URL.Path]; ok {
			w.Header().Set("Location", "/elsewhere") // which refuses; of a redirection only
			w.WriteHeader(status)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	if c != nil { // StartTLS would add a certificate of its own
		s.Listener = tls.NewListener(s.Listener, c)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func pair(c *x509.Certificate, key *ecdsa.PrivateKey) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

func TestWhatAnswersIsSeenAsAStrangerSeesIt(t *testing.T) {
	t.Parallel()
	c, key := certificate(t, "devices.corp.test", noon, years, nil, nil)
	own := pair(c, key)
	machine := certs.ServerTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &own, nil })
	people := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}}
	in := inspect(map[string]string{
		"SENTINEL_MACHINE_LISTEN": answering(t, machine, nil, health.Report{}),
		"SENTINEL_PEOPLE_LISTEN":  answering(t, people, nil, health.Report{Ready: true, Checks: []health.Result{{Name: "database", OK: true}}}),
	})
	l := gatherListening(t.Context(), in.Config)
	if m := l.Machine; !m.Answers || m.Resumes || m.Open != 401 || !slices.Equal(m.Versions, []string{"1.3"}) || m.Certificate == nil || m.Certificate.DNSNames[0] != "devices.corp.test" {
		t.Errorf("machines: %+v", m)
	}
	if p := l.People; !p.Answers || !p.TLS || !p.Resumes || p.Open != 401 || !p.Ready || !slices.Equal(p.Versions, []string{"1.2", "1.3"}) || p.Wrong != "" {
		t.Errorf("people: %+v", p)
	}
	if runtime.GOOS == "linux" {
		ports := []int{portOf(in.Config.PeopleListen), portOf(in.Config.MachineListen)}
		for _, port := range ports {
			if !slices.ContainsFunc(l.Sockets, func(s Socket) bool { return s.Port == port && s.Owner == os.Getuid() && onLoopback(s.Address) }) {
				t.Errorf("no socket on port %d: %+v", port, l.Sockets)
			}
		}
	}
}

func TestWhatABadListenerDoesIsFound(t *testing.T) {
	t.Parallel()
	c, key := certificate(t, "devices.corp.test", noon, years, nil, nil)
	for name, bad := range map[string]struct {
		c       *tls.Config
		answers map[string]int
		is      func(Listener) bool
	}{
		"old versions": {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12}, nil, func(l Listener) bool {
			return slices.Equal(l.Versions, []string{"1.0", "1.1", "1.2"})
		}},
		"tickets of TLS 1.2": {&tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, nil, func(l Listener) bool { return l.Resumes }},
		"tickets of TLS 1.3": {&tls.Config{MinVersion: tls.VersionTLS13}, nil, func(l Listener) bool { return l.Resumes }},
		"an answer to nobody": {&tls.Config{MinVersion: tls.VersionTLS13}, map[string]int{"/api/heartbeat": 200}, func(l Listener) bool {
			return l.Open == 200
		}},
		"a way round": {&tls.Config{MinVersion: tls.VersionTLS13}, map[string]int{"/api/heartbeat": 302}, func(l Listener) bool { return l.Open == 302 }},
	} {
		bad.c.Certificates = []tls.Certificate{pair(c, key)}
		in := inspect(map[string]string{"SENTINEL_MACHINE_LISTEN": answering(t, bad.c, bad.answers, health.Report{}), "SENTINEL_PEOPLE_LISTEN": "127.0.0.1:1"})
		l := gatherListening(t.Context(), in.Config)
		if !bad.is(l.Machine) || l.People.Answers {
			t.Errorf("%s: %+v", name, l.Machine)
		}
	}
}

func TestReadinessSaysWhatItMisses(t *testing.T) {
	t.Parallel()
	at := answering(t, nil, map[string]int{"/metrics": 200}, health.Report{At: noon, Checks: []health.Result{{Name: "database"}, {Name: "issuing", OK: true}}})
	in := inspect(map[string]string{"SENTINEL_PEOPLE_LISTEN": at, "SENTINEL_MACHINE_LISTEN": "127.0.0.1:1"})
	if p := gatherListening(t.Context(), in.Config).People; !p.Answers || p.TLS || p.Ready || p.Open != 200 || !slices.Equal(p.NotReady, []string{"database"}) {
		t.Errorf("%+v", p)
	}
}

// Something that takes connections and says nothing holds nobody up for long.
func TestASilentListenerIsNoServer(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	in := inspect(map[string]string{"SENTINEL_MACHINE_LISTEN": l.Addr().String(), "SENTINEL_PEOPLE_LISTEN": "127.0.0.1:1"})
	begin := time.Now()
	if m := gatherListening(t.Context(), in.Config).Machine; !m.Answers || m.Open != 0 || m.Wrong == "" || m.Versions != nil || m.Certificate != nil {
		t.Errorf("%+v", m)
	}
	if time.Since(begin) > 30*time.Second {
		t.Errorf("it took %v", time.Since(begin))
	}
}

func TestAListenerOnEveryAddressIsAskedOnThisHost(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"0.0.0.0:8443": "127.0.0.1:8443", ":8443": "127.0.0.1:8443", "[::]:8443": "[::1]:8443", "192.0.2.7:8443": "192.0.2.7:8443", "localhost:8443": "localhost:8443",
	} {
		if got := dialable(listen); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
}

func TestTheKernelsTableOfSocketsIsRead(t *testing.T) {
	t.Parallel()
	if s := sockets(t.TempDir(), 1, 2); s != nil {
		t.Errorf("without a table: %+v", s)
	}
	dir := t.TempDir()
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	word := func(b ...byte) string { return strings.ToUpper(hexOfNative(b)) }
	place(t, filepath.Join(dir, "tcp"), []byte(head+
		"   0: "+word(127, 0, 0, 1)+":1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 1 1\n"+
		"   1: "+word(0, 0, 0, 0)+":20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n"+
		"   2: "+word(127, 0, 0, 1)+":1F90 0100007F:8888 01 00000000:00000000 00:00000000 00000000   998        0 1 1\n"+
		"   3: nonsense\n   4: zzzzzzzz:1F90 00000000:0000 0A 0:0 0:0 0 998 0\n"))
	place(t, filepath.Join(dir, "tcp6"), []byte(head+
		"   0: "+strings.Repeat(word(0, 0, 0, 0), 4)+":1F90 "+strings.Repeat("0", 32)+":0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1\n"))
	want := []Socket{{"127.0.0.1:8080", 8080, 998}, {"0.0.0.0:8443", 8443, 0}, {"[::]:8080", 8080, 1000}}
	if got := sockets(dir, 8080, 8443); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

// hexOfNative writes four bytes as the kernel does: as one number of this host.
func hexOfNative(b []byte) string {
	var text strings.Builder
	for i := range b {
		at := i
		if nativeBytes(1)[0] == 1 { // little-endian
			at = len(b) - 1 - i
		}
		const digits = "0123456789abcdef"
		text.WriteByte(digits[b[at]>>4])
		text.WriteByte(digits[b[at]&15])
	}
	return text.String()
}

func FuzzParseSocket(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 1 1")
	f.Fuzz(func(t *testing.T, line string) {
		if s, ok := parseSocket(line); ok {
			if _, _, err := net.SplitHostPort(s.Address); err != nil || s.Port < 0 || s.Port > 65535 {
				t.Errorf("%q: %+v", line, s)
			}
		}
	})
}
