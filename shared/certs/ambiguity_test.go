package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"
)

// forge makes a certificate that the device CA signs although it is not as it
// should be.
func (b bench) forge(change func(*x509.Certificate)) *x509.Certificate {
	return b.forgeFor(p256Key().Public(), change)
}

func (b bench) forgeFor(pub crypto.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	return parse(b.forgeDER(pub, change))
}

// forgeDER is forge for what the library may refuse to read.
func (b bench) forgeDER(pub crypto.PublicKey, change func(*x509.Certificate)) []byte {
	c := b.template()
	change(c)
	return forge(c, b.device.Certificate, pub, b.device.Signer)
}

// template is the good certificate as a template, so that each change is alone.
func (b bench) template() *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: testDevice}, URIs: b.leaf.URIs,
		NotBefore: b.leaf.NotBefore, NotAfter: b.leaf.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, SubjectKeyId: b.leaf.SubjectKeyId,
	}
}

func withExtension(critical bool, value []byte, arcs ...int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier(arcs), Critical: critical, Value: value})
	}
}

func withSAN(value []byte) func(*x509.Certificate) { return withExtension(false, value, 2, 5, 29, 17) }

// oddSANs are subject alternative names other than the one URI of testDevice.
func oddSANs() map[string][]byte {
	own := DeviceURI(testDomain, testDevice)
	uri := func(s string) []byte { return tlv(0x86, []byte(s)) }
	one := func(s string) []byte { return tlv(0x30, uri(s)) }
	names := func(n ...[]byte) []byte { return tlv(0x30, n...) }
	otherName := tlv(0xa0, oidDER(1, 3, 6, 1, 4, 1, 311, 20, 2, 3), tlv(0xa0, tlv(0x0c, []byte(testDevice))))
	odd := map[string][]byte{
		"no name at all":              names(),
		"the URI twice":               names(uri(own), uri(own)),
		"another device first":        names(uri(DeviceURI(testDomain, "edge-2")), uri(own)),
		"another device last":         names(uri(own), uri(DeviceURI(testDomain, "edge-2"))),
		"a DNS name beside":           names(uri(own), tlv(0x82, []byte("edge-1"))),
		"a DNS name before":           names(tlv(0x82, []byte("edge-1")), uri(own)),
		"an IP address beside":        names(uri(own), tlv(0x87, []byte{10, 0, 0, 1})),
		"an email address beside":     names(uri(own), tlv(0x81, []byte("edge-1@example.org"))),
		"a principal name beside":     names(uri(own), otherName),
		"a principal name before":     names(otherName, uri(own)),
		"a directory name beside":     names(uri(own), tlv(0xa4, commonName(tagUTF8String, "edge-2"))),
		"a registered id beside":      names(uri(own), tlv(0x88, []byte{42, 3, 4})),
		"an X.400 address beside":     names(uri(own), tlv(0xa3, tlv(0x30))),
		"an EDI party beside":         names(uri(own), tlv(0xa5, tlv(0x81, []byte("x")))),
		"a DNS name only":             names(tlv(0x82, []byte("edge-1"))),
		"the URI as DNS name":         names(tlv(0x82, []byte(own))),
		"the URI as email address":    names(tlv(0x81, []byte(own))),
		"a principal name only":       names(otherName),
		"a length in long form":       append([]byte{0x30, byte(3 + len(own)), 0x86, 0x81, byte(len(own))}, own...),
		"a constructed URI":           names(tlv(0xa6, []byte(own))),
		"a URI of universal class":    names(tlv(0x16, []byte(own))),
		"a set in place of the list":  tlv(0x31, uri(own)),
		"bytes behind the list":       append(one(own), 5, 0),
		"the URI without a list":      uri(own),
		"a URI in letters of two":     one(strings.Replace(own, "edge", "\u0435dge", 1)),
		"a URI with a byte above 127": one(own + "\xff"),
	}
	for name, s := range map[string]string{
		"another device":             DeviceURI(testDomain, "edge-2"),
		"another domain":             DeviceURI("evil.example", testDevice),
		"a domain below":             DeviceURI("a."+testDomain, testDevice),
		"a domain above":             DeviceURI("example.org", testDevice),
		"a domain in upper case":     DeviceURI("FLEET.example.org", testDevice),
		"a domain with trailing dot": DeviceURI(testDomain+".", testDevice),
		"a port":                     DeviceURI(testDomain+":443", testDevice),
		"an empty port":              DeviceURI(testDomain+":", testDevice),
		"a user":                     DeviceURI("root@"+testDomain, testDevice),
		"an address as domain":       DeviceURI("10.0.0.1", testDevice),
		"no domain":                  DeviceURI("", testDevice),
		"a scheme in upper case":     "SPIFFE" + strings.TrimPrefix(own, "spiffe"),
		"another scheme":             "https" + strings.TrimPrefix(own, "spiffe"),
		"no scheme":                  strings.TrimPrefix(own, "spiffe:"),
		"a device in upper case":     DeviceURI(testDomain, "EDGE-1"),
		"a path in upper case":       strings.Replace(own, "/device/", "/Device/", 1),
		"a trailing slash":           own + "/",
		"a double slash":             strings.Replace(own, "/device/", "//device/", 1),
		"a dot segment":              strings.Replace(own, "/device/", "/device/./", 1),
		"a parent segment":           strings.Replace(own, "/device/", "/device/edge-2/../", 1),
		"a segment more":             own + "/admin",
		"a segment less":             "spiffe://" + testDomain + "/" + testDevice,
		"another class":              strings.Replace(own, "/device/", "/workload/", 1),
		"no path":                    "spiffe://" + testDomain,
		"a query":                    own + "?x=1",
		"an empty query":             own + "?",
		"a fragment":                 own + "#x",
		"an empty fragment":          own + "#",
		"a parameter":                own + ";v=1",
		"a percent-encoded letter":   strings.Replace(own, "edge", "%65dge", 1),
		"a percent-encoded slash":    strings.Replace(own, "/device/", "/device%2f", 1),
		"a NUL at the end":           own + "\x00",
		"a NUL and more":             own + "\x00/x",
		"a space at the end":         own + " ",
		"a line break at the end":    own + "\n",
		"a tab inside":               strings.Replace(own, "edge", "ed\tge", 1),
		"a backslash":                strings.Replace(own, "/device/", `/device\`, 1),
		"an empty URI":               "",
	} {
		odd["a URI with "+name] = one(s)
	}
	return odd
}

// PKI-08: of all that the CA could be brought to sign, one spelling passes.
func TestOnlyTheOneSpellingOfAnIdentityPasses(t *testing.T) {
	t.Parallel()
	b := newBench()
	if _, err := b.verify(b.forge(func(*x509.Certificate) {})); err != nil {
		t.Fatal(err) // the forgery without a change is good
	}
	if n := len(oddSANs()) + len(oddSubjects()); n < 80 {
		t.Fatalf("only %d variants", n)
	}
	refused := func(t *testing.T, change func(*x509.Certificate)) {
		t.Helper()
		leaf, err := x509.ParseCertificate(b.forgeDER(p256Key().Public(), change))
		if err != nil {
			return // such a certificate ends in the handshake
		}
		if id, err := b.verify(leaf); !errors.Is(err, ErrNotDevice) || id.DeviceID != "" {
			t.Fatalf("got %q, %v, want ErrNotDevice", id.DeviceID, err)
		}
	}
	for name, san := range oddSANs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, withSAN(san))
		})
	}
	for name, subject := range oddSubjects() {
		t.Run("a subject with "+name, func(t *testing.T) {
			t.Parallel()
			refused(t, func(c *x509.Certificate) { c.RawSubject = subject })
		})
	}
	for _, id := range []string{"", "EDGE-1", "edge-1.", ".", "..", "a/b", "*", "edge 1", "edge%2d1", "\u0435dge-1", strings.Repeat("a", 65)} {
		t.Run("both names agree on "+id, func(t *testing.T) {
			t.Parallel()
			refused(t, func(c *x509.Certificate) {
				c.RawSubject = commonName(tagUTF8String, id)
				withSAN(deviceSAN(DeviceURI(testDomain, id)))(c)
			})
		})
	}
	t.Run("no subject alternative name", func(t *testing.T) {
		t.Parallel()
		refused(t, func(c *x509.Certificate) { c.URIs = nil })
	})
}

func TestACertificateForOtherUseIsNoIdentity(t *testing.T) {
	t.Parallel()
	b := newBench()
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	keyUsage := func(u x509.KeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.KeyUsage = u }
	}
	text := tlv(0x0c, []byte("x"))
	for name, change := range map[string]func(*x509.Certificate){
		"no usage":                    usage(),
		"serving":                     usage(x509.ExtKeyUsageServerAuth),
		"client and serving":          usage(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth),
		"serving and client":          usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth),
		"client twice":                usage(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageClientAuth),
		"any":                         usage(x509.ExtKeyUsageAny),
		"client and any":              usage(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageAny),
		"signing code":                usage(x509.ExtKeyUsageCodeSigning),
		"answering OCSP":              usage(x509.ExtKeyUsageOCSPSigning),
		"client and a use of its own": func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} },
		"a use of its own": func(c *x509.Certificate) {
			c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
		},
		"no key usage":                  keyUsage(0),
		"encrypting keys":               keyUsage(x509.KeyUsageKeyEncipherment),
		"signing certificates":          keyUsage(x509.KeyUsageCertSign),
		"signing certificates and data": keyUsage(x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign),
		"signing commitments":           keyUsage(x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment),
		"being a CA":                    func(c *x509.Certificate) { c.IsCA = true },
		"being a CA for leaves":         func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = true, true },
		"no word on being a CA":         func(c *x509.Certificate) { c.BasicConstraintsValid = false },
		"something critical, unknown":   withExtension(true, text, 1, 2, 3, 4),
		"length":                        withExtension(false, make([]byte, MaxCertificate), 1, 2, 3, 4),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := b.verify(b.forge(change)); !errors.Is(err, ErrNotDevice) {
				t.Fatalf("got %v, want ErrNotDevice", err)
			}
		})
	}
	for name, pub := range map[string]crypto.PublicKey{
		"RSA":   must(rsa.GenerateKey(rand.Reader, 2048)).Public(),
		"P-224": must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).Public(),
		"P-521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).Public(),
	} {
		if _, err := b.verify(b.forgeFor(pub, func(*x509.Certificate) {})); !errors.Is(err, ErrNotDevice) {
			t.Errorf("%s: got %v, want ErrNotDevice", name, err)
		}
	}
	t.Run("under a CA for servers", func(t *testing.T) {
		t.Parallel()
		leaf := parse(forge(b.template(), b.server.Certificate, p256Key().Public(), b.server.Signer))
		_, err := VerifyDevice(list(leaf), list(b.server.Certificate), testDomain, testNow)
		if !errors.Is(err, ErrNotDevice) {
			t.Fatal(err)
		}
	})
}

// PKI-14: a chain made to cost time is refused before it does.
func TestACostlyCertificateIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench()
	var many [][]byte
	for range 4000 { // 64 KiB of names, as much as a handshake lets pass
		many = append(many, tlv(0x82, []byte("a.example.org")))
	}
	leaf := b.forge(withSAN(tlv(0x30, many...)))
	start := time.Now()
	if _, err := b.verify(leaf); !errors.Is(err, ErrNotDevice) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 50*time.Millisecond {
		t.Fatalf("it took %s", took)
	}
}
