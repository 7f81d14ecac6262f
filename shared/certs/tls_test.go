package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// show is a server's GetCertificate that always answers with this chain.
func show(key crypto.Signer, chain ...*x509.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c := &tls.Certificate{PrivateKey: key}
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }
}

// serverLeaf is a certificate for localhost, valid at the real time, since TLS
// asks the real clock.
func serverLeaf(ca CA, pub crypto.PublicKey, names ...string) *x509.Certificate {
	s := ServerTemplate{DNSNames: names, PublicKey: pub}
	s.NotBefore, s.NotAfter = Validity(time.Now().Add(-time.Minute), time.Hour)
	return parse(must(IssueServer(ca, s)))
}

// handshake runs both sides over a real connection, whose buffers let both
// write at once, and returns what each came to.
func handshake(server, client *tls.Config) (s, c tls.ConnectionState, serverErr, clientErr error) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = l.Close() }()
	b := must(net.Dial("tcp", l.Addr().String()))
	a := must(l.Accept())
	for _, end := range []net.Conn{a, b} { // a defect must fail, not hang
		_ = end.SetDeadline(time.Now().Add(5 * time.Second))
	}
	left, right := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := left.Handshake()
		if err == nil {
			_, err = left.Write([]byte("x")) // brings whatever follows a handshake
		}
		done <- errors.Join(err, a.Close())
	}()
	if clientErr = right.Handshake(); clientErr == nil {
		_, clientErr = right.Read(make([]byte, 1))
	}
	_ = b.Close()
	serverErr = <-done
	return left.ConnectionState(), right.ConnectionState(), serverErr, clientErr
}

type rememberTickets struct{ n int }

func (r *rememberTickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (r *rememberTickets) Put(string, *tls.ClientSessionState)        { r.n++ }

func TestTheMachineListenerAsksAndJudgesLater(t *testing.T) {
	t.Parallel()
	a := newAuthorities("acme", time.Now())
	key, deviceKey := p256Key(), p256Key()
	server := ServerTLS(show(key, serverLeaf(a.server, key.Public(), "localhost"), a.server.Certificate))
	cas := list(a.server.Certificate)
	device := DeviceTemplate{DeviceID: testDevice, TrustDomain: testDomain, PublicKey: deviceKey.Public()}
	device.NotBefore, device.NotAfter = Validity(time.Now().Add(-30*time.Minute), time.Minute) // long expired
	expired := parse(must(IssueDevice(a.device, device)))
	present := func(key crypto.Signer) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{expired.Raw}, PrivateKey: key}, nil
		}
	}
	t.Run("an expired certificate reaches the request", func(t *testing.T) {
		t.Parallel()
		s, c, serverErr, clientErr := handshake(server, ClientTLS(cas, "localhost", present(deviceKey)))
		if serverErr != nil || clientErr != nil {
			t.Fatal(serverErr, clientErr)
		}
		if len(s.PeerCertificates) != 1 || s.Version != tls.VersionTLS13 || c.NegotiatedProtocol != "http/1.1" {
			t.Fatalf("%d certificates, version %x, %q", len(s.PeerCertificates), s.Version, c.NegotiatedProtocol)
		}
		if _, err := VerifyDevice(s.PeerCertificates, list(a.device.Certificate), testDomain, time.Now()); !errors.Is(err, ErrExpired) {
			t.Fatal(err)
		}
	})
	t.Run("a certificate without its key does not", func(t *testing.T) {
		t.Parallel()
		if _, _, serverErr, _ := handshake(server, ClientTLS(cas, "localhost", present(p256Key()))); serverErr == nil {
			t.Fatal("accepted")
		}
	})
	t.Run("no certificate is a matter of the request", func(t *testing.T) {
		t.Parallel()
		s, _, serverErr, clientErr := handshake(server, ClientTLS(cas, "localhost", nil))
		if serverErr != nil || clientErr != nil || len(s.PeerCertificates) != 0 {
			t.Fatal(serverErr, clientErr)
		}
	})
	t.Run("no session is resumed (PKI-02)", func(t *testing.T) {
		t.Parallel()
		tickets := &rememberTickets{}
		client := ClientTLS(cas, "localhost", nil)
		client.ClientSessionCache = tickets
		if _, _, serverErr, clientErr := handshake(server, client); serverErr != nil || clientErr != nil || tickets.n != 0 {
			t.Fatal(tickets.n, serverErr, clientErr)
		}
	})
	t.Run("TLS 1.2 is refused by both sides (PKI-13)", func(t *testing.T) {
		t.Parallel()
		client := ClientTLS(cas, "localhost", nil)
		client.MinVersion, client.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		if _, _, serverErr, _ := handshake(server, client); serverErr == nil {
			t.Error("by the server not")
		}
		old := server.Clone()
		old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		if _, _, _, clientErr := handshake(old, ClientTLS(cas, "localhost", nil)); clientErr == nil {
			t.Error("by the client not")
		}
	})
	t.Run("HTTP/2 is not spoken", func(t *testing.T) {
		t.Parallel()
		client := ClientTLS(cas, "localhost", nil)
		client.NextProtos = []string{"h2"}
		if _, _, serverErr, _ := handshake(server, client); serverErr == nil {
			t.Fatal("accepted")
		}
	})
}

// PKI-12
func TestTheAgentBelievesItsCAAndTheExactName(t *testing.T) {
	t.Parallel()
	a, other := newAuthorities("acme", time.Now()), newAuthorities("acme", time.Now())
	key := p256Key()
	right := serverLeaf(a.server, key.Public(), "localhost")
	self := func() *x509.Certificate {
		c := *right
		return parse(forge(&c, &c, key.Public(), key))
	}()
	d := week(key.Public())
	d.NotBefore, d.NotAfter = Validity(time.Now(), time.Hour)
	device := parse(must(IssueDevice(a.device, d)))
	for name, test := range map[string]struct {
		chain []*x509.Certificate
		cas   []*x509.Certificate
		name  string
		good  bool
	}{
		"the right one":                  {list(right, a.server.Certificate), list(a.server.Certificate), "localhost", true},
		"the right CA, another name":     {list(right, a.server.Certificate), list(a.server.Certificate), "server.example.org", false},
		"another CA of the same name":    {list(serverLeaf(other.server, key.Public(), "localhost"), other.server.Certificate), list(a.server.Certificate), "localhost", false},
		"self-signed":                    {list(self), list(a.server.Certificate), "localhost", false},
		"self-signed, the right CA next": {list(self, a.server.Certificate), list(a.server.Certificate), "localhost", false},
		"a device's certificate":         {list(device, a.device.Certificate), list(a.server.Certificate, a.device.Certificate), "localhost", false},
		"anyone, without any CA":         {list(right, a.server.Certificate), nil, "localhost", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := handshake(ServerTLS(show(key, test.chain...)), ClientTLS(test.cas, test.name, nil))
			if (err == nil) != test.good {
				t.Fatal(err)
			}
		})
	}
}

// looks is the one place that connects to be shown a certificate, which it then judges:
// the checklist looks at this server's own listeners, and tells what is wrong with them.
const looks = "../../server/internal/preflight/listening.go"

func TestNoCodeCanSkipVerification(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if filepath.ToSlash(path) == looks {
			return nil
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name == "InsecureSkipVerify" {
				t.Errorf("%s uses it", path)
			}
			return true
		})
		return nil
	})
	if err != nil || files < 10 {
		t.Fatal(files, err)
	}
}
