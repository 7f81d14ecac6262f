package simulation

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/agentsim"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/simtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

var (
	errRefused = errors.New("simulated: connection refused")
	errReset   = errors.New("simulated: connection reset")
	errTimeout = errors.New("simulated: no answer in time")
)

// wire is an agent's way to the server.
type wire struct {
	w *World
	a *agent
}

// LearnCA is the first look at the server: the CA is believed for its fingerprint.
func (n wire) LearnCA(fingerprint string) (*x509.Certificate, error) {
	p := n.w.current
	p.yield(sleeping{n.w.clock + n.w.between(time.Millisecond, 200*time.Millisecond).Microseconds()})
	if n.w.server.node == nil {
		return nil, errRefused
	}
	chain, err := n.w.server.node.Presents()
	if err != nil {
		return nil, err
	}
	for _, der := range chain {
		if certs.Fingerprint(der) == fingerprint {
			return certs.ParseCA(der)
		}
	}
	return nil, certs.ErrPinMismatch
}

// Connect makes a connection that opens with the first request.
func (n wire) Connect(t agentsim.Target) (http.RoundTripper, error) {
	return &connection{w: n.w, a: n.a, target: t}, nil
}

// connection carries one request at a time, as an http.Transport of the agent's does.
type connection struct {
	w      *World
	a      *agent
	target agentsim.Target

	open       *simtest.Conn
	state      *tls.ConnectionState // what the agent's side knows of it
	generation int
}

// reply resumes a process that has sent.
type reply struct {
	answer simtest.Answer
	err    error
}

// RoundTrip sends, and returns when the scheduler has an answer or none.
func (c *connection) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	got, _ := c.w.current.yield(sending{c, r.URL.Path, body}).(reply)
	if got.err != nil {
		return nil, got.err
	}
	return &http.Response{
		StatusCode: got.answer.Status, Header: got.answer.Header, Body: io.NopCloser(bytes.NewReader(got.answer.Body)),
		ProtoMajor: 1, ProtoMinor: 1, Request: r, TLS: c.state,
	}, nil
}

// CloseIdleConnections makes the next request open a new connection.
func (c *connection) CloseIdleConnections() { c.open = nil }

// handshake opens the connection: each side judges the other's certificate.
func (c *connection) handshake() error {
	node := c.w.server.node
	if node == nil {
		return errRefused
	}
	if c.open != nil && c.generation == c.w.server.generation {
		return nil
	}
	presented, err := node.Presents()
	if err != nil {
		return err
	}
	if c.state, err = judge(presented, c.target); err != nil {
		return err
	}
	var chain [][]byte
	if c.target.Present != nil {
		own, err := c.target.Present()
		if err != nil {
			return err
		}
		chain = own.Certificate
		if c.a.chain != nil && !bytes.Equal(c.a.chain[0], chain[0]) {
			c.a.before = c.a.chain
		}
		c.a.chain = chain
	}
	c.generation = c.w.server.generation
	c.open, err = node.Accept(c.w.ctx, chain, c.a.address)
	return err
}

// judge is what the agent's TLS does with the server's chain, and knows of it then.
func judge(presented [][]byte, t agentsim.Target) (*tls.ConnectionState, error) {
	leaf, err := x509.ParseCertificate(presented[0])
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, ca := range t.CAs {
		roots.AddCert(ca)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, DNSName: t.Host, CurrentTime: t.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{leaf}, Err: err}
	}
	return &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: chains}, nil
}

// send takes a request on its way.
func (w *World) send(p *process, m sending) {
	f := w.faults
	if w.quiet {
		f = faults{}
	}
	if m.path == protocol.PathHeartbeat && len(m.c.a.bodies) < 30 {
		m.c.a.bodies = append(m.c.a.bodies, m.body)
	}
	answered := false
	sentAt := w.clock
	give := func(r reply) {
		if answered {
			return
		}
		answered = true
		w.resume(p, r)
	}
	w.at(sentAt+requestTimeout.Microseconds(), "", func() { give(reply{err: errTimeout}) })
	if w.chance(f.reset) {
		m.c.open = nil
	}
	if w.chance(f.proxy) {
		w.after(w.delay(f), func() {
			give(reply{answer: simtest.Answer{Status: http.StatusBadGateway, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte("<html>")}})
		})
		return
	}
	lost := w.chance(f.loseRequest)
	if !lost {
		w.after(w.delay(f), func() { w.deliver(m, give) })
	}
	if lost && w.chance(0.5) {
		w.tellf("%s: a request is lost", p.name)
	}
	if w.chance(f.duplicate) {
		w.tellf("%s: a request comes twice", p.name)
		again := sending{m.c, m.path, slices.Clone(m.body)}
		w.after(w.delay(f)+w.delay(f), func() { w.deliver(again, func(reply) {}) })
	}
}

// delay is how long a message is on its way.
func (w *World) delay(f faults) time.Duration {
	if w.chance(f.late) {
		return w.between(time.Second, 40*time.Second)
	}
	return w.between(time.Millisecond, 300*time.Millisecond)
}

// deliver brings a request to the server, which answers it in a process of its own.
func (w *World) deliver(m sending, give func(reply)) {
	if err := m.c.handshake(); err != nil {
		give(reply{err: err})
		return
	}
	w.serve(m.c.a.name, m.c.open, m.path, m.body, func(a simtest.Answer) {
		if !w.quiet && w.chance(w.faults.loseAnswer) {
			w.tellf("%s: an answer is lost", m.c.a.name)
			return
		}
		f := w.faults
		if w.quiet {
			f = faults{}
		}
		if m.path == protocol.PathHeartbeat && a.Status == http.StatusOK {
			a.Body = w.tamper(m.c.a, a.Body)
		}
		w.after(w.delay(f), func() { give(reply{answer: a}) })
	}, func() { w.after(w.between(time.Millisecond, time.Second), func() { give(reply{err: errReset}) }) })
}

// serve has the server answer, watched by the oracle.
func (w *World) serve(from string, conn *simtest.Conn, path string, body []byte, answer func(simtest.Answer), lost func()) {
	seen := w.oracle.request(from, conn.Fingerprint(), path, body)
	p := w.spawn(ofServer, "request of "+from, func(p *process) {
		a, err := conn.Post(path, body)
		if err != nil {
			w.failf("a request could not be made: %v", err)
			return
		}
		w.oracle.answer(w, seen, a)
		p.lost = nil
		answer(a)
	})
	p.lost = lost
	w.resume(p, nil)
}
