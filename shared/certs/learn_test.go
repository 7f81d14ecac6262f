package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// listen serves handshakes on a real port until the test ends.
func listen(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if config == nil {
					_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
					return
				}
				_ = tls.Server(conn, config).Handshake()
			}()
		}
	}()
	return l.Addr().String()
}

func TestAServersCAIsLearntByItsFingerprintOnly(t *testing.T) {
	t.Parallel()
	a, other := newAuthorities("acme", time.Now()), newAuthorities("acme", time.Now())
	key := p256Key()
	leaf := serverLeaf(a.server, key.Public(), "localhost")
	ca := a.server.Certificate
	pin := Fingerprint(ca.Raw)
	selfSigned := parse(forge(leaf, leaf, key.Public(), key))
	expiredT := ServerTemplate{DNSNames: []string{"localhost"}, PublicKey: key.Public()}
	expiredT.NotBefore, expiredT.NotAfter = Validity(time.Now().Add(-time.Hour), time.Minute)
	expired := parse(must(IssueServer(a.server, expiredT)))
	var mismatch x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError

	chain := func(c ...*x509.Certificate) *tls.Config { return ServerTLS(show(key, c...)) }
	for name, test := range map[string]struct {
		server    *tls.Config
		name, pin string
		is        error // what the error is, or
		as        any   // what kind it is
	}{
		"the pinned CA":                        {server: chain(leaf, ca), name: "localhost", pin: pin},
		"the pinned CA behind its root":        {server: chain(leaf, a.root.Certificate, ca), name: "localhost", pin: pin},
		"a pin in upper case":                  {server: chain(leaf, ca), name: "localhost", pin: strings.ToUpper(pin)},
		"the right CA, another name":           {server: chain(leaf, ca), name: "server.example.org", pin: pin, as: &mismatch},
		"another CA":                           {server: chain(serverLeaf(other.server, key.Public(), "localhost"), other.server.Certificate), name: "localhost", pin: pin, is: ErrPinMismatch},
		"another's leaf with the pinned CA":    {server: chain(serverLeaf(other.server, key.Public(), "localhost"), ca), name: "localhost", pin: pin, as: &unknown},
		"self-signed":                          {server: chain(selfSigned), name: "localhost", pin: pin, is: ErrPinMismatch},
		"self-signed with the pinned CA":       {server: chain(selfSigned, ca), name: "localhost", pin: pin, as: &unknown},
		"self-signed, pinned itself":           {server: chain(selfSigned), name: "localhost", pin: Fingerprint(selfSigned.Raw), is: ErrNotCA},
		"the CA as the server itself":          {server: ServerTLS(show(a.server.Signer, ca)), name: "localhost", pin: pin, is: ErrNotCA},
		"the CA not shown":                     {server: chain(leaf), name: "localhost", pin: pin, is: ErrPinMismatch},
		"a pin of the leaf":                    {server: chain(leaf, ca), name: "localhost", pin: Fingerprint(leaf.Raw), is: ErrNotCA},
		"a pin of the root":                    {server: chain(leaf, ca, a.root.Certificate), name: "localhost", pin: Fingerprint(a.root.Certificate.Raw), is: ErrNotCA},
		"a pin of the device CA":               {server: chain(leaf, ca, a.device.Certificate), name: "localhost", pin: Fingerprint(a.device.Certificate.Raw), is: ErrNotCA},
		"a pin of another server certificate":  {server: chain(leaf, expired, ca), name: "localhost", pin: Fingerprint(expired.Raw), is: ErrNotCA},
		"an expired certificate":               {server: chain(expired, ca), name: "localhost", pin: pin, as: &invalid},
		"no pin":                               {server: chain(leaf, ca), name: "localhost", is: ErrPinMismatch},
		"half a pin":                           {server: chain(leaf, ca), name: "localhost", pin: pin[:32], is: ErrPinMismatch},
		"a pin that is not hex":                {server: chain(leaf, ca), name: "localhost", pin: strings.Repeat("x", 64), is: ErrPinMismatch},
		"a server of TLS 1.2":                  {server: &tls.Config{MaxVersion: tls.VersionTLS12, GetCertificate: show(key, leaf, ca)}, name: "localhost", pin: pin, as: new(error)},
		"a server that does not speak TLS":     {name: "localhost", pin: pin, as: new(error)},
		"the right one, asked without a name ": {server: chain(leaf, ca), pin: pin, as: new(error)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := LearnCA(t.Context(), nil, listen(t, test.server), test.name, test.pin)
			switch {
			case test.is == nil && test.as == nil:
				if err != nil || !got.Equal(ca) {
					t.Fatal(err)
				}
			case got != nil || err == nil:
				t.Fatal("learnt")
			case test.is != nil && !errors.Is(err, test.is):
				t.Fatalf("got %v, want %v", err, test.is)
			case test.as != nil && !errors.As(err, newOf(test.as)):
				t.Fatalf("got %v, want a %T", err, test.as)
			}
		})
	}
	t.Run("a mismatch names both fingerprints", func(t *testing.T) {
		t.Parallel()
		_, err := LearnCA(t.Context(), nil, listen(t, chain(leaf, ca)), "localhost", Fingerprint(other.server.Certificate.Raw))
		if !strings.Contains(err.Error(), pin) || !strings.Contains(err.Error(), Fingerprint(other.server.Certificate.Raw)) {
			t.Fatal(err)
		}
	})
	t.Run("what was learnt connects", func(t *testing.T) {
		t.Parallel()
		address := listen(t, chain(leaf, ca))
		learnt := must(LearnCA(t.Context(), nil, address, "localhost", pin))
		conn, err := tls.Dial("tcp", address, ClientTLS(list(learnt), "localhost", nil))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	})
	t.Run("a context that ended ends it", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := LearnCA(ctx, nil, listen(t, chain(leaf, ca)), "localhost", pin); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

// newOf gives each parallel test its own target for errors.As.
func newOf(target any) any {
	switch target.(type) {
	case *x509.HostnameError:
		return new(x509.HostnameError)
	case *x509.CertificateInvalidError:
		return new(x509.CertificateInvalidError)
	case *x509.UnknownAuthorityError:
		return new(x509.UnknownAuthorityError)
	default:
		return new(error)
	}
}
