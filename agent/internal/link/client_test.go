package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// clientFor speaks to address, and expects the certificate to name name.
func clientFor(t *testing.T, cas []*x509.Certificate, name, address string) *Client {
	t.Helper()
	return clientOf(t, Target{
		Server: "https://" + net.JoinHostPort(name, "8443"), CAs: cas, Now: time.Now,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	})
}

func clientOf(t *testing.T, target Target) *Client {
	t.Helper()
	transport, err := NewTransport(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return NewClient(target.Server, transport)
}

// PKI-12: nobody but the holder of a certificate of the pinned CA, for the exact
// name, ever gets a request.
func TestWhoCannotProveToBeTheServerGetsNothing(t *testing.T) {
	t.Parallel()
	now := time.Now()
	past, other := agenttest.NewFleet(t, now.AddDate(0, 0, -2)), agenttest.NewFleet(t, now)
	fleet := *past // the same authorities
	fleet.Now = now
	selfSigned := httptest.NewUnstartedServer(nil)
	selfSigned.StartTLS()
	t.Cleanup(selfSigned.Close)
	device := agenttest.Key(t)
	for name, cert := range map[string]tls.Certificate{
		"the right CA, another name":      fleet.ServerCertificate(t, "other.test"),
		"the right CA, a name below":      fleet.ServerCertificate(t, "x.s.test"),
		"the right CA, an address":        fleet.ServerCertificate(t, "127.0.0.1"),
		"another CA, the right name":      other.ServerCertificate(t, "s.test"),
		"self-signed":                     selfSigned.TLS.Certificates[0],
		"out of date":                     past.ServerCertificate(t, "s.test"),
		"a device of the fleet, its cert": {Certificate: fleet.IssueDevice(t, "s.test", device.Public(), now, time.Hour), PrivateKey: device},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got atomic.Int64
			address := agenttest.Serve(t, cert, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
			err := clientFor(t, fleet.CAs(), "s.test", address).Post(t.Context(), "/", []byte(`{}`), new(struct{}))
			if !errors.Is(err, ErrNotServer) || got.Load() != 0 {
				t.Errorf("got %v, and the impostor %d requests", err, got.Load())
			}
			if IsClock(err) != (name == "out of date") {
				t.Errorf("taken for a matter of clocks: %v", err)
			}
		})
	}
	t.Run("and with no CA at all nobody is the server", func(t *testing.T) {
		t.Parallel()
		address := agenttest.Serve(t, fleet.ServerCertificate(t, "s.test"), http.NotFoundHandler())
		if err := clientFor(t, nil, "s.test", address).Post(t.Context(), "/", nil, nil); !errors.Is(err, ErrNotServer) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheConnectionIsKeptAndShowsTheDevicesCertificate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	fleet, key := agenttest.NewFleet(t, now), agenttest.Key(t)
	mine := tls.Certificate{Certificate: fleet.IssueDevice(t, "edge-1", key.Public(), now, time.Hour), PrivateKey: key}
	seen := map[string]bool{}
	address := agenttest.Serve(t, fleet.ServerCertificate(t, "s.test"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen[r.RemoteAddr] = true
		id, err := certs.VerifyDevice(r.TLS.PeerCertificates, []*x509.Certificate{fleet.DeviceCA.Certificate}, agenttest.TrustDomain, now)
		if err != nil || id.DeviceID != "edge-1" || r.Proto != "HTTP/1.1" {
			t.Errorf("%+v, %v over %s", id, err, r.Proto)
		}
		agenttest.Answer(w, 200, struct{}{})
	}))
	client := clientOf(t, Target{
		Server: "https://s.test", CAs: fleet.CAs(), Now: time.Now,
		Present: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &mine, nil },
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	})
	for range 5 {
		if err := client.Post(t.Context(), "/", nil, new(struct{})); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 1 {
		t.Errorf("%d connections for 5 requests", len(seen))
	}
}

func TestARequestIsNeverSentTwiceByItself(t *testing.T) {
	t.Parallel()
	fleet := agenttest.NewFleet(t, time.Now())
	var requests atomic.Int64
	address := agenttest.Serve(t, fleet.ServerCertificate(t, "s.test"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if requests.Add(1) > 1 { // the first warms the connection up
			panic(http.ErrAbortHandler)
		}
		agenttest.Answer(w, 200, struct{}{})
	}))
	client := clientFor(t, fleet.CAs(), "s.test", address)
	if err := client.Post(t.Context(), "/", []byte(`{}`), new(struct{})); err != nil {
		t.Fatal(err)
	}
	if err := client.Post(t.Context(), "/", []byte(`{}`), new(struct{})); !errors.Is(err, ErrNoAnswer) {
		t.Fatalf("got %v", err)
	}
	if requests.Load() != 2 {
		t.Fatalf("the server saw %d requests for 2", requests.Load())
	}
}

// AGT-12: a hostile environment does not choose the way.
func TestTheProxyIsTheOneOfTheSettingsOrNone(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("https_proxy", "http://127.0.0.1:1")
	t.Setenv("NO_PROXY", "")
	fleet := agenttest.NewFleet(t, time.Now())
	address := agenttest.Serve(t, fleet.ServerCertificate(t, "127.0.0.1"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		agenttest.Answer(w, 200, struct{}{})
	}))
	target := Target{Server: "https://" + address, CAs: fleet.CAs(), Now: time.Now}
	if err := clientOf(t, target).Post(t.Context(), "/", nil, new(struct{})); err != nil {
		t.Fatalf("with a proxy in the environment: %v", err)
	}
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer proxy.Close()
	target.Proxy, _ = url.Parse(proxy.URL)
	if err := clientOf(t, target).Post(t.Context(), "/", nil, new(struct{})); !errors.Is(err, ErrNoAnswer) {
		t.Fatalf("through a proxy that refuses: %v", err)
	}
	if got := <-asked; got != "CONNECT "+address {
		t.Errorf("the proxy was asked %q", got)
	}
}

func TestARefusalIsPrintableWhateverWasSent(t *testing.T) {
	t.Parallel()
	header := http.Header{"Content-Type": {"application/problem+json; charset=utf-8"}, "Retry-After": {"30"}}
	body, err := json.Marshal(protocol.Problem{Code: "device-held", Title: "Held\x1b[2J", Detail: strings.Repeat("x", 10_000), Epoch: "no id", Nonce: strings.Repeat("n", 10_000)})
	if err != nil {
		t.Fatal(err)
	}
	r := readRefusal(409, header, body)
	if r.Problem != (protocol.Problem{Status: 409, Code: "device-held", Title: "no reason given"}) || r.RetryAfter != 30*time.Second {
		t.Errorf("got %+v", r)
	}
	for _, wait := range []string{"", "-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"} {
		if got := retryAfter(http.Header{"Retry-After": {wait}}); got != 0 {
			t.Errorf("Retry-After %q: %v", wait, got)
		}
	}
	if got := retryAfter(http.Header{"Retry-After": {"4000000000"}}); got != time.Hour {
		t.Errorf("for ever: %v", got)
	}
}

func FuzzReadRefusal(f *testing.F) {
	f.Add([]byte(`{"code":"epoch-changed","title":"x","epoch":"0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d","nonce":"n"}`))
	f.Add([]byte(`{"code":"\u001b","title":"x"}`))
	f.Add([]byte(`{"code":7}`))
	f.Add([]byte(``))
	header := http.Header{"Content-Type": {problemJSONType}}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := readRefusal(400, header, body)
		if protocol.CheckText("text", r.Error(), 2*maxText+maxCode+64) != nil {
			t.Errorf("not printable: %q", r.Error())
		}
		if p := r.Problem; p.Epoch != "" && protocol.CheckID(p.Epoch) != nil || len(p.Nonce) > protocol.MaxOpaque {
			t.Errorf("got %+v", p)
		}
		if React(r) == Go {
			t.Error("a refusal is taken for an answer")
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"counter":1,"epoch":"0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d","nonce":"n","receipt":"r"}`))
	f.Add([]byte(`{"counter":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var a protocol.HeartbeatAnswer
		if protocol.DecodeTolerant(body, &a) == nil && check(&a, 1) == nil && (a.Counter != 1 || protocol.CheckID(a.Epoch) != nil) {
			t.Errorf("took %s", body)
		}
	})
}
