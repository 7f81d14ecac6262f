package e2e

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
)

// address passes connections on to wherever the server listens now, as a load
// balancer does that does not look into TLS.
type address struct {
	net.Listener
	target atomic.Value                  // host:port
	losing atomic.Pointer[chan struct{}] // closed when an answer is lost
}

// lose loses the next answer of the server's, and says when that happens: what was
// asked is done then, and who asked does not know.
func (a *address) lose() <-chan struct{} {
	lost := make(chan struct{})
	a.losing.Store(&lost)
	return lost
}

func newAddress(t *testing.T, target string) *address {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a := &address{Listener: l}
	a.target.Store(target)
	go a.serve(t.Context())
	return a
}

// String is host:port by the name that the server's certificate is for.
func (a *address) String() string {
	_, port, _ := net.SplitHostPort(a.Addr().String())
	return net.JoinHostPort("localhost", port)
}

func (a *address) serve(ctx context.Context) {
	for {
		conn, err := a.Accept()
		if err != nil {
			return
		}
		go a.pass(ctx, conn)
	}
}

// pass ends both connections when one of them ends.
func (a *address) pass(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var d net.Dialer
	server, err := d.DialContext(ctx, "tcp", a.target.Load().(string))
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	// The caller sends its hello, then the end of the handshake; whatever the server
	// sends after that is an answer, since it gives out no tickets.
	var sent atomic.Int32
	go func() {
		_ = relay(server, conn, func() bool { sent.Add(1); return true })
		_ = server.Close()
		_ = conn.Close()
	}()
	_ = relay(conn, server, func() bool {
		if sent.Load() < 2 {
			return true
		}
		lost := a.losing.Swap(nil)
		if lost != nil {
			close(*lost)
		}
		return lost == nil
	})
}

// relay passes on what it reads for as long as pass says so.
func relay(to, from net.Conn, pass func() bool) error {
	chunk := make([]byte, 32<<10)
	for {
		n, err := from.Read(chunk)
		if err != nil {
			return err
		}
		if !pass() {
			return nil
		}
		if _, err := to.Write(chunk[:n]); err != nil {
			return err
		}
	}
}
