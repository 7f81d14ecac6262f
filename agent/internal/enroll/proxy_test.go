package enroll

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
)

// connectProxy tunnels to one address, whatever name is asked for, and counts.
func connectProxy(t *testing.T, to string) (address *url.URL, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var list []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		list = append(list, r.Method+" "+r.Host)
		mu.Unlock()
		server, err := net.Dial("tcp", to)
		if r.Method != http.MethodConnect || err != nil {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusOK)
		device, rest, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() { _, _ = io.Copy(server, rest); _ = server.Close() }()
		_, _ = io.Copy(device, server)
		_ = device.Close()
	}))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u, func() []string { mu.Lock(); defer mu.Unlock(); return append([]string{}, list...) }
}

// AGT-12: with a proxy, the first contact too goes through it and nowhere else.
func TestEveryContactGoesThroughTheProxy(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	dev := newDevice(t, desk)
	_, port, err := net.SplitHostPort(desk.Address)
	if err != nil {
		t.Fatal(err)
	}
	// Only the proxy knows where this is: RFC 6761 section 6.4.
	const name = "devices.invalid"
	cert := desk.Fleet.ServerCertificate(t, name)
	behind := agenttest.Serve(t, cert, desk)
	dev.Server = "https://" + net.JoinHostPort(name, port)
	proxy, asked := connectProxy(t, behind)
	dev.Proxy = proxy
	if _, err := dev.enroll(t); err != nil {
		t.Fatal(err)
	}
	got := asked()
	if len(got) < 2 {
		t.Fatalf("the proxy was asked %q", got)
	}
	for _, line := range got {
		if line != "CONNECT "+net.JoinHostPort(name, port) {
			t.Errorf("the proxy was asked %q", line)
		}
	}
}

func TestAProxyThatRefusesIsNotGoneAround(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	dev := newDevice(t, desk)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer proxy.Close()
	dev.Proxy, _ = url.Parse(proxy.URL)
	if _, err := dev.enroll(t); !errors.Is(err, link.ErrNoAnswer) || !errors.Is(err, link.ErrProxy) {
		t.Fatalf("got %v", err)
	}
	if _, err := journal.Read(dev.Dir); !errors.Is(err, journal.ErrNotEnrolled) || len(desk.Requests) != 0 {
		t.Errorf("it went on: %v, %d requests", err, len(desk.Requests))
	}
}
