package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"
)

// bench holds one good device certificate and the means to forge others.
type bench struct {
	authorities
	leaf *x509.Certificate
}

func newBench() bench {
	a := newAuthorities("acme", testNow)
	return bench{a, parse(must(IssueDevice(a.device, week(p256Key().Public()))))}
}

func (b bench) verify(presented ...*x509.Certificate) (Identity, error) {
	return VerifyDevice(presented, []*x509.Certificate{b.device.Certificate}, testDomain, testNow)
}

func list(c ...*x509.Certificate) []*x509.Certificate { return c }

func TestADeviceIsWhoItsCertificateSays(t *testing.T) {
	t.Parallel()
	b := newBench()
	id, err := b.verify(b.leaf, b.device.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if id.DeviceID != testDevice || id.Fingerprint != Fingerprint(b.leaf.Raw) || id.Serial != b.leaf.SerialNumber.Text(16) ||
		!bytes.Equal(id.SPKI, b.leaf.RawSubjectPublicKeyInfo) || !id.NotBefore.Equal(b.leaf.NotBefore) || !id.NotAfter.Equal(b.leaf.NotAfter) {
		t.Fatalf("%+v", id)
	}
}

// PKI-01
func TestAStrangersCertificateIsNoIdentity(t *testing.T) {
	t.Parallel()
	b, other := newBench(), newAuthorities("other", testNow)
	sameName := newAuthorities("acme", testNow) // names are for people; keys count
	selfSigned := func() *x509.Certificate {
		key := p256Key()
		c := *b.leaf
		return parse(forge(&c, &c, key.Public(), key))
	}()
	server := ServerTemplate{DNSNames: []string{"server.example.org"}, PublicKey: p256Key().Public()}
	server.NotBefore, server.NotAfter = Validity(testNow, time.Hour)
	for name, test := range map[string]struct {
		presented []*x509.Certificate
		want      error
	}{
		"no certificate":                  {nil, ErrNoCertificate},
		"an empty entry":                  {list(nil), ErrNoCertificate},
		"self-signed":                     {list(selfSigned), ErrUnknownIssuer},
		"self-signed, our CA beside":      {list(selfSigned, b.device.Certificate), ErrUnknownIssuer},
		"of another CA":                   {list(parse(must(IssueDevice(other.device, week(p256Key().Public()))))), ErrUnknownIssuer},
		"of another CA of the same name":  {list(parse(must(IssueDevice(sameName.device, week(p256Key().Public()))))), ErrUnknownIssuer},
		"of another CA that comes with":   {list(parse(must(IssueDevice(other.device, week(p256Key().Public())))), other.device.Certificate, other.root.Certificate), ErrUnknownIssuer},
		"the server's own":                {list(parse(must(IssueServer(b.server, server)))), ErrUnknownIssuer},
		"the device CA itself":            {list(b.device.Certificate), ErrNotDevice},
		"the root itself":                 {list(b.root.Certificate), ErrUnknownIssuer},
		"the server CA":                   {list(b.server.Certificate), ErrUnknownIssuer},
		"a good one as the second":        {list(selfSigned, b.leaf), ErrUnknownIssuer},
		"five certificates":               {list(b.leaf, b.leaf, b.leaf, b.leaf, b.leaf), ErrNotDevice},
		"a hundred certificates (PKI-14)": {slices.Repeat(list(b.leaf), 100), ErrNotDevice},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := b.verify(test.presented...)
			if !errors.Is(err, test.want) || id.DeviceID != "" {
				t.Fatalf("got %q, %v, want %v", id.DeviceID, err, test.want)
			}
		})
	}
}

// PKI-09: what else is presented changes nothing.
func TestIdentityComesFromTheProvenCertificateOnly(t *testing.T) {
	t.Parallel()
	b := newBench()
	victim := week(p256Key().Public())
	victim.DeviceID = "victim"
	v := parse(must(IssueDevice(b.device, victim)))
	for name, rest := range map[string][]*x509.Certificate{
		"alone":             nil,
		"a victim's beside": list(v),
		"victims around":    list(v, b.device.Certificate, v),
		"itself again":      list(b.leaf, b.leaf),
		"the root":          list(b.root.Certificate),
		"an empty entry":    list(nil),
	} {
		id, err := b.verify(append(list(b.leaf), rest...)...)
		if err != nil || id.DeviceID != testDevice {
			t.Errorf("%s: %q, %v", name, id.DeviceID, err)
		}
	}
	t.Run("a sub-CA that a device makes of itself counts for nothing", func(t *testing.T) {
		t.Parallel()
		key := p256Key()
		device := parse(must(IssueDevice(b.device, week(key.Public()))))
		forged := parse(forge(v, device, p256Key().Public(), key))
		if _, err := b.verify(forged, device, b.device.Certificate); !errors.Is(err, ErrUnknownIssuer) {
			t.Fatal(err)
		}
	})
	t.Run("a CA that the root signed and nobody named counts for nothing", func(t *testing.T) {
		t.Parallel()
		second := newIssuing(KindDevice, "unnamed", b.root, testNow, time.Hour*24*30)
		leaf := parse(must(IssueDevice(second, week(p256Key().Public()))))
		for _, issuers := range [][]*x509.Certificate{list(b.device.Certificate), list(b.root.Certificate), nil} {
			_, err := VerifyDevice(list(leaf, second.Certificate), issuers, testDomain, testNow)
			if !errors.Is(err, ErrUnknownIssuer) {
				t.Fatal(err)
			}
		}
	})
}

func TestDatesAreJudgedLast(t *testing.T) {
	t.Parallel()
	b, other := newBench(), newAuthorities("other", testNow)
	ours, week1 := list(b.device.Certificate), 7*24*time.Hour
	last := b.leaf.NotAfter
	for name, test := range map[string]struct {
		now  time.Time
		want error
	}{
		"a second before":        {testNow.Add(-time.Second), ErrNotYetValid},
		"the first second":       {testNow, nil},
		"the last second":        {last, nil},
		"a second past the last": {last.Add(time.Second), ErrExpired},
		"a month later":          {testNow.Add(30 * 24 * time.Hour), ErrExpired},
	} {
		id, err := VerifyDevice(list(b.leaf), ours, testDomain, test.now)
		if !errors.Is(err, test.want) || id.DeviceID != testDevice {
			t.Errorf("%s: %q, %v, want %v", name, id.DeviceID, err, test.want)
		}
	}
	later := testNow.Add(2 * week1)
	for name, test := range map[string]struct {
		leaf   *x509.Certificate
		domain string
		want   error
	}{
		"of another CA":        {parse(must(IssueDevice(other.device, week(p256Key().Public())))), testDomain, ErrUnknownIssuer},
		"of another domain":    {b.leaf, "other.example.org", ErrNotDevice},
		"for serving":          {b.forge(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), testDomain, ErrNotDevice},
		"that ends first":      {b.forge(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(-time.Second) }), testDomain, ErrNotDevice},
		"in a domain of junk":  {b.leaf, "", ErrNotDevice},
		"naming two devices":   {b.forge(func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }), testDomain, ErrNotDevice},
		"with a CA's own mark": {b.forge(func(c *x509.Certificate) { c.IsCA = true }), testDomain, ErrNotDevice},
	} {
		for _, now := range []time.Time{testNow.Add(-time.Hour), testNow, later} {
			if _, err := VerifyDevice(list(test.leaf), ours, test.domain, now); !errors.Is(err, test.want) {
				t.Errorf("%s at %s: got %v, want %v", name, now, err, test.want)
			}
		}
	}
}

// PKI-11: nine moments in the life of two issuing CAs that overlap by a month.
func TestAnIssuerCountsOnlyWhileItIsInDate(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	root := newRoot("root", testNow)
	oldCA := newIssuing(KindDevice, "devices 1", root, testNow.Add(Backdate), 60*day)
	newCA := newIssuing(KindDevice, "devices 2", root, testNow.Add(30*day).Add(Backdate), 60*day)
	issuers := list(oldCA.Certificate, newCA.Certificate)
	long := func(ca CA, from, life time.Duration) *x509.Certificate {
		t := week(p256Key().Public())
		t.NotBefore, t.NotAfter = Validity(testNow.Add(from), life)
		return parse(must(IssueDevice(ca, t)))
	}
	oldLeaf, newLeaf := long(oldCA, 0, 60*day), long(newCA, 30*day, 60*day)
	// A leaf that a careless issuer lets outlive it.
	c := *oldLeaf
	c.NotAfter = testNow.Add(100 * day)
	careless := parse(forge(&c, oldCA.Certificate, p256Key().Public(), oldCA.Signer))

	for _, test := range []struct {
		at                 time.Duration
		old, new, careless error
	}{
		{-2 * Backdate, ErrUnknownIssuer, ErrUnknownIssuer, ErrUnknownIssuer},
		{0, nil, ErrUnknownIssuer, nil},
		{29 * day, nil, ErrUnknownIssuer, nil},
		{30 * day, nil, nil, nil},
		{45 * day, nil, nil, nil},
		{60*day - time.Second, nil, nil, nil},
		{60*day + Backdate, ErrUnknownIssuer, nil, ErrUnknownIssuer},
		{89 * day, ErrUnknownIssuer, nil, ErrUnknownIssuer},
		{91 * day, ErrUnknownIssuer, ErrUnknownIssuer, ErrUnknownIssuer},
	} {
		for name, pair := range map[string]struct {
			leaf *x509.Certificate
			want error
		}{"old": {oldLeaf, test.old}, "new": {newLeaf, test.new}, "careless": {careless, test.careless}} {
			if _, err := VerifyDevice(list(pair.leaf), issuers, testDomain, testNow.Add(test.at)); !errors.Is(err, pair.want) {
				t.Errorf("%s leaf at %s: got %v, want %v", name, test.at, err, pair.want)
			}
		}
	}
	t.Run("an issuer that began after the leaf ended never issued it", func(t *testing.T) {
		t.Parallel()
		c := *oldCA.Certificate // the same name and key, certified again later
		c.NotBefore, c.NotAfter = testNow.Add(70*day), testNow.Add(100*day)
		again := parse(forge(&c, root.Certificate, oldCA.Signer.Public(), root.Signer))
		if _, err := VerifyDevice(list(oldLeaf), list(again), testDomain, testNow.Add(80*day)); !errors.Is(err, ErrUnknownIssuer) {
			t.Fatal(err)
		}
	})
	t.Run("an issuer with a key that is not taken counts for nothing", func(t *testing.T) {
		t.Parallel()
		key := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
		c := *oldCA.Certificate
		c.SubjectKeyId = []byte("p521")
		odd := parse(forge(&c, root.Certificate, key.Public(), root.Signer))
		leaf := *oldLeaf
		leaf.SignatureAlgorithm = 0
		forged := parse(forge(&leaf, odd, p256Key().Public(), key))
		if _, err := VerifyDevice(list(forged), list(odd), testDomain, testNow); !errors.Is(err, ErrUnknownIssuer) {
			t.Fatal(err)
		}
	})
	t.Run("a certificate that is no CA is no issuer, whoever listed it", func(t *testing.T) {
		t.Parallel()
		key := p256Key()
		leaf := parse(must(IssueDevice(newCA, func() DeviceTemplate {
			w := week(key.Public())
			w.NotBefore, w.NotAfter = Validity(testNow.Add(30*day), day)
			return w
		}())))
		forged := parse(forge(leaf, leaf, p256Key().Public(), key))
		if _, err := VerifyDevice(list(forged), list(leaf), testDomain, testNow.Add(30*day)); !errors.Is(err, ErrUnknownIssuer) {
			t.Fatal(err)
		}
	})
}

// fuzzBench is a bench whose leaf is the same in every process, since the fuzzer
// carries its seeds from one to others: Ed25519 keys from fixed seeds, and a
// fixed serial.
func fuzzBench() bench {
	key := func(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }
	root := CA{parse(must(NewRootCA("root", key(1), testNow, 365*24*time.Hour))), key(1)}
	device := CA{parse(must(NewIssuingCA(KindDevice, "devices", testDomain, root, key(2).Public(), testNow, 30*24*time.Hour))), key(2)}
	b := bench{authorities{root: root, device: device}, parse(must(IssueDevice(device, week(key(3).Public()))))}
	b.leaf = b.forgeFor(key(3).Public(), func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(5), 100) })
	return b
}

func FuzzVerifyDevice(f *testing.F) {
	b := fuzzBench()
	f.Add(b.leaf.Raw)
	f.Add(b.device.Certificate.Raw)
	f.Add(b.root.Certificate.Raw)
	for _, san := range oddSANs() {
		f.Add(b.forgeDER(p256Key().Public(), withSAN(san)))
	}
	issuers := list(b.device.Certificate)
	if _, err := VerifyDevice(list(b.leaf), issuers, testDomain, testNow); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		if _, err := VerifyDevice(list(c), issuers, testDomain, testNow); err == nil && !bytes.Equal(der, b.leaf.Raw) {
			t.Fatal("accepted what our CA did not issue")
		}
		// The same bytes as an issuer must do no harm either.
		if _, err := VerifyDevice(list(b.leaf), list(c, b.device.Certificate), testDomain, testNow); err != nil {
			t.Fatal(err)
		}
	})
}
