package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// network is what is known of the way to the server.
type network struct {
	server  string // https://host:port, "" for none
	host    string
	address string // host:port
	proxy   *url.URL
	next    string // host:port of the first hop: the server, or the proxy

	cas         []*x509.Certificate // who may issue to the server
	fingerprint string              // or the pin by which to find the CA
	trustErr    error               // why neither is known

	named, connected, passed, proven bool // how far the check-ups came

	date    time.Time     // the server's clock as it last answered
	against time.Duration // this device's clock minus it
}

var errNoPin = errors.New("no CA is known to tell the server by")

// aim finds out which server the device speaks to, and by what it would know it.
func (s *subject) aim() {
	n := &s.net
	n.server, n.proxy = s.Config.Server, s.Config.Proxy
	known := s.disk.stateErr == nil && s.disk.dir != ""
	if n.server == "" && known {
		n.server = s.disk.state.Server
	}
	u, err := url.Parse(n.server)
	if n.server == "" || err != nil {
		n.server = ""
		return
	}
	n.host, n.address = u.Hostname(), u.Host
	n.next = n.address
	if n.proxy != nil {
		port := n.proxy.Port()
		if port == "" {
			port = "80"
		}
		n.next = net.JoinHostPort(n.proxy.Hostname(), port)
	}
	switch {
	case s.disk.pins != nil:
		n.cas, n.trustErr = s.disk.pins.ServerCAs()
	case s.Config.CAFingerprint != "":
		n.fingerprint = s.Config.CAFingerprint
	case known: // enrolling, or what was verified then is damaged
		var ca *x509.Certificate
		if ca, n.trustErr = certs.ParseCA(s.disk.state.ServerCA); ca != nil {
			n.cas = []*x509.Certificate{ca}
		}
	default:
		n.trustErr = errNoPin
	}
}

const nowhere = "no server is known: enroll the device, or give --server and --ca-fingerprint"

// dial makes the TCP connection to the first hop.
func (n *network) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", n.next)
}

// reach makes a connection on which the server's TLS begins: through the proxy,
// if there is one. It ends with the context.
func (n *network) reach(ctx context.Context) (net.Conn, error) {
	conn, err := n.dial(ctx)
	if err != nil || n.proxy == nil {
		return conn, err
	}
	if answer := n.ask(ctx, conn); answer.err != nil || !answer.passes() {
		return nil, errors.Join(errors.New("the proxy does not let it pass"), answer.err, conn.Close())
	}
	return conn, nil
}

// proxyAnswer is what a proxy said to CONNECT (RFC 9110 section 9.3.6).
type proxyAnswer struct {
	status int
	err    error // it did not answer, or not in HTTP
}

func (a proxyAnswer) passes() bool { return a.status >= 200 && a.status <= 299 }

// ask asks the proxy for a way to the server. The connection is closed when the
// context ends first.
func (n *network) ask(ctx context.Context, conn net.Conn) proxyAnswer {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var b strings.Builder
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sentinel-agent/%s\r\n", n.address, n.address, version.String())
	if u := n.proxy.User; u != nil {
		password, _ := u.Password()
		b.WriteString("Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)) + "\r\n")
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return proxyAnswer{err: cause(ctx, err)}
	}
	answer := readProxyAnswer(conn)
	if answer.err != nil {
		answer.err = cause(ctx, answer.err)
	}
	return answer
}

// maxProxyAnswer bounds the head of a proxy's answer.
const maxProxyAnswer = 16 << 10

// readProxyAnswer reads the head of the answer. Nothing may follow one that lets
// pass, since in TLS the server speaks second.
func readProxyAnswer(r io.Reader) proxyAnswer {
	buffered := bufio.NewReader(io.LimitReader(r, maxProxyAnswer))
	res, err := http.ReadResponse(buffered, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return proxyAnswer{err: err}
	}
	_ = res.Body.Close()
	a := proxyAnswer{status: res.StatusCode}
	if a.passes() && buffered.Buffered() > 0 {
		a.err = errors.New("it sends more than an answer")
	}
	return a
}

// cause is the context's end if that is why err came.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// handshake is what a TLS handshake brought.
type handshake struct {
	shown  []*x509.Certificate // what the server presented, its own first
	proven bool                // it verified under cas for the exact name
	err    error
}

// shake makes one handshake, verified as the agent's own are.
func (n *network) shake(ctx context.Context, cas []*x509.Certificate, now func() time.Time) handshake {
	conn, err := n.reach(ctx)
	if err != nil {
		return handshake{err: cause(ctx, err)}
	}
	defer func() { _ = conn.Close() }()
	conf := certs.ClientTLS(cas, n.host, nil)
	conf.Time = now
	client := tls.Client(conn, conf)
	if err = client.HandshakeContext(ctx); err == nil {
		return handshake{shown: client.ConnectionState().PeerCertificates, proven: true}
	}
	h := handshake{err: cause(ctx, err)}
	if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		h.shown = unverified.UnverifiedCertificates
	}
	return h
}

// pinned finds the CA with the fingerprint among what is shown; nil if it is not
// there, or is the server's own certificate.
func pinned(shown []*x509.Certificate, fingerprint string) *x509.Certificate {
	for i, c := range shown {
		if i > 0 && certs.Fingerprint(c.Raw) == fingerprint {
			return c
		}
	}
	return nil
}

// answer is the server's to a request.
type answer struct {
	status  int
	date    time.Time     // its clock, zero if it did not say
	against time.Duration // this device's clock minus it
	took    time.Duration
	err     error
}

const pathLive = "/api/health/live"

// live asks the server whether it lives, over a connection made as the agent
// makes its own, but for the client certificate.
func (n *network) live(ctx context.Context, clock, deviceTime func() time.Time) answer {
	transport, err := link.NewTransport(link.Target{Server: n.server, CAs: n.cas, Proxy: n.proxy, Now: deviceTime})
	if err != nil {
		return answer{err: err}
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.server+pathLive, nil)
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("User-Agent", "sentinel-agent/"+version.String())
	before := clock()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return answer{err: cause(ctx, err)}
	}
	_ = res.Body.Close()
	after := clock()
	a := answer{status: res.StatusCode, took: after.Sub(before)}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		// It was said somewhere between, in whole seconds that are cut off (RFC
		// 9110 section 6.6.1).
		a.date = date
		a.against = before.Add(a.took / 2).Sub(date.Add(500 * time.Millisecond))
	}
	return a
}
