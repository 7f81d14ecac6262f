package preflight

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// probeFor bounds each question to a listener.
const probeFor = 5 * time.Second

const answerMax = 256 << 10 // bytes

// gatherListening asks both addresses as a stranger would: with nothing that a secret
// opens, believing no certificate, only looking at it.
func gatherListening(ctx context.Context, c *config.Config) *Listening {
	people := Listener{Address: dialable(c.PeopleListen)}
	people.probe(ctx)
	if people.Answers {
		people.askReadiness(ctx)
		people.ask(ctx, "GET", "/metrics")
	}
	machine := Listener{Address: dialable(c.MachineListen)}
	machine.probe(ctx)
	if machine.Answers {
		machine.ask(ctx, "POST", protocol.PathHeartbeat)
	}
	return &Listening{People: people, Machine: machine, Sockets: sockets("/proc/net", portOf(c.PeopleListen), portOf(c.MachineListen))}
}

// dialable is where this host reaches a listener: one on every address is reached on
// loopback.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

func portOf(listen string) int {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return n
}

// versions of TLS, the oldest first.
var versions = []struct {
	name string
	id   uint16
}{{"1.0", tls.VersionTLS10}, {"1.1", tls.VersionTLS11}, {"1.2", tls.VersionTLS12}, {"1.3", tls.VersionTLS13}}

// looking is a TLS client that looks at a certificate instead of believing it; the
// rules judge it.
func looking(lowest, highest uint16) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: lowest, MaxVersion: highest} //nolint:gosec,forbidigo // it looks: machineCertificate and peopleCertificate judge what was shown, and nothing is sent that matters
}

func (l *Listener) probe(ctx context.Context) {
	conn, err := l.dial(ctx)
	if err != nil {
		return
	}
	_ = conn.Close()
	l.Answers = true
	for _, v := range versions {
		state, err := l.handshake(ctx, looking(v.id, v.id))
		if err != nil {
			continue
		}
		l.Versions = append(l.Versions, v.name)
		if len(state.PeerCertificates) > 0 {
			l.Certificate = state.PeerCertificates[0]
		}
	}
	l.TLS = len(l.Versions) > 0
	l.Resumes = l.TLS && l.resumes(ctx)
}

func (l *Listener) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: probeFor}
	return dialer.DialContext(ctx, "tcp", l.Address)
}

func (l *Listener) handshake(ctx context.Context, c *tls.Config) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	raw, err := l.dial(ctx)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer raw.Close()
	conn := tls.Client(raw, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), nil
}

// resumes asks, in each version that tickets differ in, with a request between the two
// handshakes: in TLS 1.3 a ticket comes with the first answer (RFC 8446, 4.6.1).
func (l *Listener) resumes(ctx context.Context) bool {
	for _, v := range versions[2:] {
		c := looking(v.id, v.id)
		c.ServerName = "preflight" // the cache's key
		c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for range 2 {
			if resumed := l.request(ctx, c); resumed {
				return true
			}
		}
	}
	return false
}

// request does a handshake and reads an answer, and says whether the session was
// resumed.
func (l *Listener) request(ctx context.Context, c *tls.Config) bool {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	raw, err := l.dial(ctx)
	if err != nil {
		return false
	}
	defer raw.Close()
	conn := tls.Client(raw, c)
	if conn.HandshakeContext(ctx) != nil {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	_, _ = io.WriteString(conn, "GET /api/health/live HTTP/1.1\r\nHost: preflight\r\nConnection: close\r\n\r\n")
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, answerMax))
	return conn.ConnectionState().DidResume
}

func (l *Listener) client() *http.Client {
	return &http.Client{
		Timeout:   probeFor,
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: looking(tls.VersionTLS12, 0)},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

func (l *Listener) do(ctx context.Context, method, path string) (int, []byte, error) {
	scheme := "http://"
	if l.TLS {
		scheme = "https://"
	}
	var body io.Reader
	if method == http.MethodPost {
		body = bytes.NewReader([]byte("{}"))
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+l.Address+path, body)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := l.client().Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	return resp.StatusCode, data, err
}

// ask notes how a request without credentials is answered.
func (l *Listener) ask(ctx context.Context, method, path string) {
	status, _, err := l.do(ctx, method, path)
	if l.Open = status; err != nil {
		l.Wrong = "no HTTP answer"
	}
}

func (l *Listener) askReadiness(ctx context.Context) {
	_, data, err := l.do(ctx, "GET", "/api/health/ready")
	var report health.Report
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err != nil {
		l.Wrong = "readiness is not answered as this server does"
		return
	}
	l.Ready = report.Ready
	for _, c := range report.Checks {
		if !c.OK {
			l.NotReady = append(l.NotReady, c.Name)
		}
	}
}

// sockets are those that listen on the ports, from the kernel's tables in dir; nil
// where there are none.
func sockets(dir string, ports ...int) []Socket {
	var list []Socket
	read := false
	for _, table := range []string{"tcp", "tcp6"} {
		data, err := os.ReadFile(dir + "/" + table)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil
		}
		read = true
		for line := range strings.Lines(string(data)) {
			if s, ok := parseSocket(line); ok && slices.Contains(ports, s.Port) {
				list = append(list, s)
			}
		}
	}
	if read && list == nil {
		return []Socket{}
	}
	return list
}

// parseSocket reads a line of /proc/net/tcp or tcp6: its second field is the local
// address, each 32 bits in the host's order, its fourth the state, its eighth the user.
func parseSocket(line string) (Socket, bool) {
	const listening = "0A"
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[3] != listening {
		return Socket{}, false
	}
	host, port, found := strings.Cut(fields[1], ":")
	n, err := strconv.ParseUint(port, 16, 16)
	owner, ownerErr := strconv.Atoi(fields[7])
	if !found || err != nil || ownerErr != nil || len(host) != 8 && len(host) != 32 {
		return Socket{}, false
	}
	var ip net.IP
	for at := 0; at < len(host); at += 8 {
		word, err := strconv.ParseUint(host[at:at+8], 16, 32)
		if err != nil {
			return Socket{}, false
		}
		ip = append(ip, nativeBytes(uint32(word))...)
	}
	return Socket{Address: net.JoinHostPort(ip.String(), strconv.Itoa(int(n))), Port: int(n), Owner: owner}, true
}

// nativeBytes are the bytes of a number as they lie in this host's memory.
func nativeBytes(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
