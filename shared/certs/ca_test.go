package certs

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

func TestAuthoritiesAreMadeForOneThing(t *testing.T) {
	t.Parallel()
	a := newAuthorities("acme", testNow)
	root := a.root.Certificate
	if !root.IsCA || root.MaxPathLen != 1 || root.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(root.ExtKeyUsage) != 0 {
		t.Errorf("root: %+v", root)
	}
	if root.CheckSignatureFrom(root) != nil || root.PublicKeyAlgorithm != x509.ECDSA || root.Subject.CommonName != "acme root" {
		t.Errorf("root: %v", root.Subject)
	}
	for kind, ca := range map[Kind]*x509.Certificate{KindDevice: a.device.Certificate, KindServer: a.server.Certificate} {
		usage := map[Kind]x509.ExtKeyUsage{KindDevice: x509.ExtKeyUsageClientAuth, KindServer: x509.ExtKeyUsageServerAuth}[kind]
		if !ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero || len(ca.ExtKeyUsage) != 1 || ca.ExtKeyUsage[0] != usage || !ca.PermittedDNSDomainsCritical {
			t.Errorf("%s: %+v", kind, ca)
		}
		if err := ca.CheckSignatureFrom(root); err != nil || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
			t.Errorf("%s: %v", kind, err)
		}
		if !ca.NotBefore.Equal(testNow.Add(-Backdate)) || !ca.NotAfter.Equal(testNow.Add(365*24*time.Hour-time.Second)) {
			t.Errorf("%s: %s to %s", kind, ca.NotBefore, ca.NotAfter)
		}
	}
	if got := a.device.Certificate.PermittedURIDomains; len(got) != 1 || got[0] != testDomain {
		t.Errorf("device CA may name %v", got)
	}
}

// The constraints stand in the certificate, so any verifier holds to them, not
// only VerifyDevice.
func TestNameConstraintsHoldWithoutOurHelp(t *testing.T) {
	t.Parallel()
	b := newBench()
	verify := func(leaf []byte, ca CA, usage x509.ExtKeyUsage) error {
		_, err := parse(leaf).Verify(x509.VerifyOptions{Roots: pool(ca.Certificate), CurrentTime: testNow, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	foreign := b.forgeDER(p256Key().Public(), withSAN(deviceSAN(DeviceURI("evil.example", testDevice))))
	if verify(foreign, b.device, x509.ExtKeyUsageClientAuth) == nil {
		t.Error("the device CA named a URI of another domain")
	}
	serving := b.forge(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	if verify(serving.Raw, b.device, x509.ExtKeyUsageServerAuth) == nil {
		t.Error("the device CA made a server")
	}
	named := b.template()
	named.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	withURI := forge(named, b.server.Certificate, p256Key().Public(), b.server.Signer)
	if verify(withURI, b.server, x509.ExtKeyUsageServerAuth) == nil {
		t.Error("the server CA named a device")
	}
	named.URIs, named.DNSNames = nil, []string{"server.example.org"}
	if err := verify(forge(named, b.server.Certificate, p256Key().Public(), b.server.Signer), b.server, x509.ExtKeyUsageServerAuth); err != nil {
		t.Errorf("the server CA could not name a server: %v", err)
	}
}

func TestAnAuthorityIsNotMadeFromWhatIsUnfit(t *testing.T) {
	t.Parallel()
	a := newAuthorities("acme", testNow)
	pub, year := p256Key().Public(), 365*24*time.Hour
	weak := must(rsa.GenerateKey(rand.Reader, 2048))
	issuing := func(kind Kind, name, domain string, root CA, life time.Duration) error {
		_, err := NewIssuingCA(kind, name, domain, root, pub, testNow, life)
		return err
	}
	wrongSigner := CA{a.root.Certificate, p256Key()}
	leaf := CA{parse(must(IssueDevice(a.device, week(pub)))), p256Key()}
	for name, test := range map[string]struct{ err, want error }{
		"under an issuing CA":       {issuing(KindDevice, "x", testDomain, a.device, year/2), ErrNotCA},
		"under a leaf":              {issuing(KindDevice, "x", testDomain, leaf, year/2), ErrNotCA},
		"under nothing":             {issuing(KindDevice, "x", testDomain, CA{}, year), ErrNotCA},
		"with another's signer":     {issuing(KindDevice, "x", testDomain, wrongSigner, year), ErrNotCA},
		"for longer than the root":  {issuing(KindDevice, "x", testDomain, a.root, 11*year), ErrBeyondIssuer},
		"of no kind":                {issuing("workload", "x", testDomain, a.root, year), ErrTemplate},
		"without a name":            {issuing(KindDevice, "", testDomain, a.root, year), ErrTemplate},
		"with a name of two lines":  {issuing(KindDevice, "a\nb", testDomain, a.root, year), ErrTemplate},
		"with a long name":          {issuing(KindDevice, strings.Repeat("a", 65), testDomain, a.root, year), ErrTemplate},
		"without a domain":          {issuing(KindDevice, "x", "", a.root, year), ErrTrustDomain},
		"for a domain in upper":     {issuing(KindDevice, "x", "Fleet.example.org", a.root, year), ErrTrustDomain},
		"for no time":               {issuing(KindDevice, "x", testDomain, a.root, 0), ErrTemplate},
		"for less than a second":    {issuing(KindDevice, "x", testDomain, a.root, time.Second-1), ErrTemplate},
		"a root with an RSA key":    {second(NewRootCA("x", weak, testNow, year)), ErrWeakKey},
		"a root of negative life":   {second(NewRootCA("x", p256Key(), testNow, -year)), ErrTemplate},
		"read from a leaf":          {second(ParseCA(leaf.Certificate.Raw)), ErrNotCA},
		"read from junk":            {second(ParseCA([]byte("x"))), ErrNotCA},
		"read from two":             {second(ParseCA(append(bytes.Clone(a.root.Certificate.Raw), a.root.Certificate.Raw...))), ErrNotCA},
		"read from what is too big": {second(ParseCA(make([]byte, MaxCertificate+1))), ErrNotCA},
		"read from a list with one": {second(ParseCAs([][]byte{a.root.Certificate.Raw, nil})), ErrNotCA},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: got %v, want %v", name, test.err, test.want)
		}
	}
	if list, err := ParseCAs([][]byte{a.root.Certificate.Raw, a.device.Certificate.Raw}); err != nil || len(list) != 2 {
		t.Errorf("two good ones: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestATemplateThatCannotBeMetIsRefused(t *testing.T) {
	t.Parallel()
	a := newAuthorities("acme", testNow)
	good := week(p256Key().Public())
	for name, test := range map[string]struct {
		change func(*DeviceTemplate)
		want   error
	}{
		"another form of device_id":   {func(d *DeviceTemplate) { d.DeviceID = "Edge-1" }, ErrTemplate},
		"no trust domain":             {func(d *DeviceTemplate) { d.TrustDomain = "" }, ErrTemplate},
		"a domain the CA may not":     {func(d *DeviceTemplate) { d.TrustDomain = "other.example.org" }, ErrLint},
		"a key not taken":             {func(d *DeviceTemplate) { d.PublicKey = elliptic.P256() }, ErrWeakKey},
		"no key":                      {func(d *DeviceTemplate) { d.PublicKey = nil }, ErrWeakKey},
		"no beginning":                {func(d *DeviceTemplate) { d.NotBefore = time.Time{} }, ErrTemplate},
		"parts of a second":           {func(d *DeviceTemplate) { d.NotAfter = d.NotAfter.Add(time.Millisecond) }, ErrTemplate},
		"an end before the beginning": {func(d *DeviceTemplate) { d.NotAfter = d.NotBefore.Add(-time.Second) }, ErrTemplate},
		"a second beyond the CA":      {func(d *DeviceTemplate) { d.NotAfter = a.device.Certificate.NotAfter.Add(time.Second) }, ErrBeyondIssuer},
		"a hundred years":             {func(d *DeviceTemplate) { d.NotAfter = d.NotBefore.AddDate(100, 0, 0) }, ErrBeyondIssuer},
	} {
		d := good
		test.change(&d)
		if _, err := IssueDevice(a.device, d); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
	server := ServerTemplate{DNSNames: []string{"server.example.org"}, PublicKey: good.PublicKey, NotBefore: good.NotBefore, NotAfter: good.NotAfter}
	for name, change := range map[string]func(*ServerTemplate){
		"no name":            func(s *ServerTemplate) { s.DNSNames = nil },
		"a wildcard":         func(s *ServerTemplate) { s.DNSNames = []string{"*.example.org"} },
		"an address as name": func(s *ServerTemplate) { s.DNSNames = []string{"10.0.0.1"} },
		"upper case":         func(s *ServerTemplate) { s.DNSNames = []string{"Server.example.org"} },
		"an odd address":     func(s *ServerTemplate) { s.IPs = []net.IP{{1, 2, 3}} },
		"every address":      func(s *ServerTemplate) { s.IPs = []net.IP{net.IPv4zero} },
		"too many names":     func(s *ServerTemplate) { s.DNSNames = make([]string, maxNames+1) },
	} {
		s := server
		change(&s)
		if _, err := IssueServer(a.server, s); !errors.Is(err, ErrTemplate) {
			t.Errorf("a server with %s: got %v", name, err)
		}
	}
	t.Run("a CA signs its own kind only", func(t *testing.T) {
		t.Parallel()
		if _, err := IssueDevice(a.server, good); !errors.Is(err, ErrNotCA) {
			t.Error(err)
		}
		if _, err := IssueServer(a.device, server); !errors.Is(err, ErrNotCA) {
			t.Error(err)
		}
		if _, err := IssueDevice(CA{a.device.Certificate, a.server.Signer}, good); !errors.Is(err, ErrNotCA) {
			t.Error(err)
		}
	})
}
