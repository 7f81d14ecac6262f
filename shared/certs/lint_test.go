package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"
)

// ENR-15
func TestSerialsAreRandomAndValidityIsExact(t *testing.T) {
	t.Parallel()
	const n = 2000
	a, pub := newAuthorities("acme", testNow), p256Key().Public()
	seen, ones := map[string]bool{}, [128]int{}
	for i := range n {
		life := time.Duration(1+i) * time.Second
		d := week(pub)
		d.NotBefore, d.NotAfter = Validity(testNow.Add(time.Duration(i)*time.Millisecond), life)
		c := parse(must(IssueDevice(a.device, d)))
		if seen[c.SerialNumber.String()] || c.SerialNumber.Sign() != 1 || c.SerialNumber.BitLen() > 128 {
			t.Fatalf("serial %s", c.SerialNumber)
		}
		seen[c.SerialNumber.String()] = true
		for bit := range ones {
			ones[bit] += int(c.SerialNumber.Bit(bit))
		}
		// Both ends are inclusive, so a second belongs to the last one.
		if got := c.NotAfter.Sub(c.NotBefore) + time.Second; got != life {
			t.Fatalf("asked for %s, got %s", life, got)
		}
	}
	for bit, got := range ones { // 10 % off is 8 standard deviations
		if got < n*4/10 || got > n*6/10 {
			t.Errorf("bit %d is one in %d of %d serials", bit, got, n)
		}
	}
}

func TestWhatIsIssuedIsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	root := newRoot("root", testNow)
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	ed := ed25519Key()
	for _, signer := range []crypto.Signer{p256Key(), p384, ed} {
		ca := CA{parse(must(NewIssuingCA(KindDevice, "devices", testDomain, root, signer.Public(), testNow, 24*time.Hour*30))), signer}
		for _, pub := range []crypto.PublicKey{p256Key().Public(), p384.Public(), ed.Public()} {
			c := parse(must(IssueDevice(ca, week(pub))))
			if c.Subject.String() != "CN="+testDevice || len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://fleet.example.org/device/edge-1" {
				t.Errorf("%s, %v", c.Subject, c.URIs)
			}
			if len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses) != 0 || c.KeyUsage != x509.KeyUsageDigitalSignature || c.IsCA {
				t.Errorf("%+v", c)
			}
			if !bytes.Equal(c.AuthorityKeyId, ca.Certificate.SubjectKeyId) || len(c.SubjectKeyId) != 20 || len(c.Extensions) != 6 {
				t.Errorf("%+v", c.Extensions)
			}
		}
	}
	t.Run("a server has its names and no other", func(t *testing.T) {
		t.Parallel()
		server := newIssuing(KindServer, "servers", root, testNow, 24*time.Hour*30)
		s := ServerTemplate{DNSNames: []string{"server.example.org", "localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, PublicKey: ed.Public()}
		s.NotBefore, s.NotAfter = Validity(testNow, time.Hour)
		c := parse(must(IssueServer(server, s)))
		for _, host := range []string{"server.example.org", "localhost", "127.0.0.1", "::1"} {
			if err := verifyServer(c, server.Certificate, host, testNow); err != nil {
				t.Error(err)
			}
		}
		for _, host := range []string{"a.server.example.org", "example.org", "127.0.0.2"} {
			if verifyServer(c, server.Certificate, host, testNow) == nil {
				t.Errorf("%s accepted", host)
			}
		}
		for name, change := range map[string]func(*ServerTemplate){
			"a name more":     func(s *ServerTemplate) { s.DNSNames = append(s.DNSNames, "more.example.org") },
			"a name less":     func(s *ServerTemplate) { s.DNSNames = s.DNSNames[:1] },
			"an address less": func(s *ServerTemplate) { s.IPs = nil },
			"another order":   func(s *ServerTemplate) { s.DNSNames = []string{"localhost", "server.example.org"} },
			"another key":     func(s *ServerTemplate) { s.PublicKey = p256Key().Public() },
			"another end":     func(s *ServerTemplate) { s.NotAfter = s.NotAfter.Add(time.Second) },
		} {
			other := s
			change(&other)
			if err := LintServer(c.Raw, server.Certificate, other); !errors.Is(err, ErrLint) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	})
}

func TestLintRefusesEverySingleDeviation(t *testing.T) {
	t.Parallel()
	b := newBench()
	key := p256Key()
	want := week(key.Public())
	ca := b.device.Certificate
	good := func() *x509.Certificate {
		c := b.template()
		c.SubjectKeyId = must(keyID(key.Public()))
		return c
	}
	sign := func(change func(*x509.Certificate)) []byte {
		c := good()
		change(c)
		return forge(c, ca, key.Public(), b.device.Signer)
	}
	if err := LintDevice(sign(func(*x509.Certificate) {}), ca, want); err != nil {
		t.Fatal(err)
	}
	from := func(change func(parent *x509.Certificate), signer crypto.Signer) []byte {
		parent := *ca
		change(&parent)
		return forge(good(), &parent, key.Public(), signer)
	}
	serial := func(n *big.Int) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.SerialNumber = n }
	}
	bit := func(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }
	bad := map[string][]byte{
		"a serial of 63 bits":            sign(serial(bit(62))),
		"serial 1":                       sign(serial(big.NewInt(1))),
		"a serial of 160 bits":           sign(serial(bit(159))),
		"a second earlier":               sign(func(c *x509.Certificate) { c.NotBefore = c.NotBefore.Add(-time.Second) }),
		"a second longer":                sign(func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) }),
		"a second shorter":               sign(func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(-time.Second) }),
		"another key":                    forge(good(), ca, p256Key().Public(), b.device.Signer),
		"another subject key identifier": sign(func(c *x509.Certificate) { c.SubjectKeyId = make([]byte, 20) }),
		"no subject key identifier":      sign(func(c *x509.Certificate) { c.SubjectKeyId = nil }),
		"no key usage":                   sign(func(c *x509.Certificate) { c.KeyUsage = 0 }),
		"a wider key usage":              sign(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyAgreement }),
		"no extended usage":              sign(func(c *x509.Certificate) { c.ExtKeyUsage = nil }),
		"a wider extended usage":         sign(func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) }),
		"no basic constraints":           sign(func(c *x509.Certificate) { c.BasicConstraintsValid = false }),
		"being a CA":                     sign(func(c *x509.Certificate) { c.IsCA = true }),
		"no URI":                         sign(func(c *x509.Certificate) { c.URIs = nil }),
		"a DNS name too":                 sign(func(c *x509.Certificate) { c.DNSNames = []string{testDevice} }),
		"critical names":                 sign(withExtension(true, deviceSAN(DeviceURI(testDomain, testDevice)), 2, 5, 29, 17)),
		"an extension more":              sign(withExtension(false, []byte{5, 0}, 1, 2, 3)),
		"a place for CRLs":               sign(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://example.org"} }),
		"an OCSP responder":              sign(func(c *x509.Certificate) { c.OCSPServer = []string{"http://example.org"} }),
		"a policy":                       sign(func(c *x509.Certificate) { c.Policies = []x509.OID{must(x509.OIDFromInts([]uint64{1, 2, 3}))} }),
		"a subject with more":            sign(func(c *x509.Certificate) { c.Subject.Organization = []string{"Example"} }),
		"SHA-512":                        sign(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA512 }),
		"another issuer's name":          from(func(p *x509.Certificate) { p.RawSubject = b.root.Certificate.RawSubject }, b.device.Signer),
		"another issuer's key":           from(func(*x509.Certificate) {}, p256Key()),
		"another issuer's identifier":    from(func(p *x509.Certificate) { p.SubjectKeyId = make([]byte, 20) }, b.device.Signer),
		"no issuer's identifier":         from(func(p *x509.Certificate) { p.SubjectKeyId = nil }, b.device.Signer),
		"a byte behind":                  append(sign(func(*x509.Certificate) {}), 0),
		"length":                         sign(withExtension(false, make([]byte, MaxCertificate), 1, 2, 3)),
		"nothing":                        nil,
		"an element behind the signature": func() []byte {
			var parts [][]byte
			for _, e := range must(children(sign(func(*x509.Certificate) {}))) {
				parts = append(parts, e.FullBytes)
			}
			return tlv(0x30, append(parts, []byte{5, 0})...)
		}(),
		"a unique identifier":          rewrite(sign(func(*x509.Certificate) {}), b.device.Signer, tbsExtensions, tlv(0x81, []byte{0, 1})),
		"an element behind the fields": rewrite(sign(func(*x509.Certificate) {}), b.device.Signer, tbsFields, []byte{5, 0}),
	}
	for name, san := range oddSANs() {
		bad["a URI that is "+name] = sign(withSAN(san))
	}
	for name, subject := range oddSubjects() {
		bad["a subject that is "+name] = sign(func(c *x509.Certificate) { c.RawSubject = subject })
	}
	for name, der := range bad {
		if err := LintDevice(der, ca, want); !errors.Is(err, ErrLint) {
			t.Errorf("%s: got %v, want ErrLint", name, err)
		}
		// The comparison finds it alone, before the other side's judgement of the signature.
		if name == "another issuer's key" {
			continue
		}
		if _, err := lint(der, ca, deviceExpectation(want)); !errors.Is(err, ErrLint) {
			t.Errorf("%s: compared: %v, want ErrLint", name, err)
		}
	}
	t.Run("and every template that is not its own", func(t *testing.T) {
		t.Parallel()
		der := sign(func(*x509.Certificate) {})
		for name, change := range map[string]func(*DeviceTemplate){
			"device": func(d *DeviceTemplate) { d.DeviceID = "edge-2" },
			"domain": func(d *DeviceTemplate) { d.TrustDomain = "other.example.org" },
			"key":    func(d *DeviceTemplate) { d.PublicKey = p256Key().Public() },
			"no key": func(d *DeviceTemplate) { d.PublicKey = nil },
			"start":  func(d *DeviceTemplate) { d.NotBefore = d.NotBefore.Add(time.Second) },
			"end":    func(d *DeviceTemplate) { d.NotAfter = d.NotAfter.Add(time.Second) },
		} {
			d := want
			change(&d)
			if err := LintDevice(der, ca, d); !errors.Is(err, ErrLint) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if err := LintDevice(der, b.server.Certificate, want); !errors.Is(err, ErrLint) {
			t.Errorf("another CA: %v", err)
		}
	})
	t.Run("and every changed byte", func(t *testing.T) {
		t.Parallel()
		der := sign(func(*x509.Certificate) {})
		for i := range der {
			flipped := bytes.Clone(der)
			flipped[i] ^= 1
			if LintDevice(flipped, ca, want) == nil {
				t.Fatalf("byte %d", i)
			}
		}
	})
}

// rewrite puts an element in front of field at of the signed part and signs anew.
func rewrite(der []byte, signer crypto.Signer, at int, element []byte) []byte {
	outer := must(children(der))
	var fields [][]byte
	for i, f := range must(children(outer[0].FullBytes)) {
		if i == at {
			fields = append(fields, element)
		}
		fields = append(fields, f.FullBytes)
	}
	if at == len(fields) {
		fields = append(fields, element)
	}
	body := tlv(0x30, fields...)
	sum := sha256.Sum256(body)
	sig := must(signer.Sign(rand.Reader, sum[:], crypto.SHA256))
	return must(asn1.Marshal(struct {
		Body      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: body}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}, asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}}))
}

func FuzzLintDevice(f *testing.F) {
	b := fuzzBench()
	want := week(b.leaf.PublicKey)
	if err := LintDevice(b.leaf.Raw, b.device.Certificate, want); err != nil {
		f.Fatal(err)
	}
	f.Add(b.leaf.Raw)
	f.Add(b.device.Certificate.Raw)
	f.Add(b.forge(withExtension(false, []byte{5, 0}, 1, 2, 3)).Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		if LintDevice(der, b.device.Certificate, want) == nil && !bytes.Equal(der, b.leaf.Raw) {
			t.Fatal("passed what our CA did not issue")
		}
	})
}

// ENR-15: of every kind of certificate, each changed bit of the signature is found.
func TestLintRefusesACertificateThatTheIssuerDidNotSign(t *testing.T) {
	t.Parallel()
	b := newBench()
	ca, key := b.device, p256Key()
	w := week(key.Public())
	responder := ResponderTemplate{PublicKey: key.Public(), NotBefore: w.NotBefore, NotAfter: w.NotAfter}
	for name, issued := range map[string]struct {
		der  []byte
		lint func(der []byte) error
	}{
		"device":    {must(IssueDevice(ca, w)), func(der []byte) error { return LintDevice(der, ca.Certificate, w) }},
		"responder": {must(IssueResponder(ca, responder)), func(der []byte) error { return LintResponder(der, ca.Certificate, responder) }},
	} {
		if err := issued.lint(issued.der); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		signature := parse(issued.der).Signature
		at := bytes.Index(issued.der, signature)
		for i := range 8 {
			der := bytes.Clone(issued.der)
			der[at+len(signature)-1] ^= 1 << i // of the number s
			if err := issued.lint(der); !errors.Is(err, ErrLint) {
				t.Errorf("%s, bit %d: %v", name, i, err)
			}
		}
	}
}
