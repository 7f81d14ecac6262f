package deviceapi_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// clock is a time that the test moves.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// countDials counts the connections that a device opens from now on.
func countDials(d *servertest.Device) *atomic.Int32 {
	n := new(atomic.Int32)
	var dialer net.Dialer
	d.Hangup()
	d.Transport().DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return dialer.DialContext(ctx, network, address)
	}
	return n
}

// cache is a session cache that counts what it is given to keep.
type cache struct {
	tls.ClientSessionCache
	kept atomic.Int32
}

func (c *cache) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		c.kept.Add(1)
	}
	c.ClientSessionCache.Put(key, s)
}

// PKI-02
func TestNoSessionIsEverResumed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:", servertest.Options{})
	d := w.device("edge-1")
	config := w.tlsConfig(d.Chain, d.Key)
	sessions := &cache{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	config.ClientSessionCache = sessions
	for i := range 5 {
		conn, err := tls.Dial("tcp", w.Host(), config)
		if err != nil {
			t.Fatal(err)
		}
		// Tickets come after the handshake: an answer that is read to its end brings them.
		if _, err := fmt.Fprintf(conn, "GET /api/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Fatal(err)
		}
		if s := conn.ConnectionState(); s.DidResume || s.Version != tls.VersionTLS13 {
			t.Errorf("connection %d: resumed %v, version %x", i, s.DidResume, s.Version)
		}
		if i == 2 {
			w.operator.Revoke(d.ID)
		}
		_ = conn.Close()
	}
	if n := sessions.kept.Load(); n != 0 {
		t.Errorf("the server gave out %d tickets", n)
	}
	if p, err := d.Beat(); err != nil || p == nil || p.Code != protocol.CodeDeviceRevoked {
		t.Errorf("after its revocation: %v %v", p, err)
	}
}

// PKI-02: only in TLS 1.3 is the client's certificate hidden, and every later
// rule of this surface rests on its handshake.
func TestOlderVersionsOfTLSAndOtherProtocolsAreNotSpoken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:", servertest.Options{})
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		config := w.tlsConfig(nil, nil)
		config.MinVersion, config.MaxVersion = version, version
		if conn, err := tls.Dial("tcp", w.Host(), config); err == nil {
			_ = conn.Close()
			t.Errorf("%s was spoken", tls.VersionName(version))
		}
	}
	config := w.tlsConfig(nil, nil)
	config.NextProtos = []string{"h2"}
	if conn, err := tls.Dial("tcp", w.Host(), config); err == nil {
		_ = conn.Close()
		t.Error("HTTP/2 was spoken")
	}
	a := w.send(http.DefaultTransport, call{method: "GET", url: "http://" + w.Host(), path: "/api/health/live"})
	if a.status != 400 {
		t.Errorf("plain HTTP was answered with %d", a.status)
	}
}
