package extca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca/extcatest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// other is an authority below a root, and what our settings say of it.
type other struct {
	t       *testing.T
	root    *extcatest.CA
	issuing *extcatest.CA
	s       extca.Settings
}

func newOther(t *testing.T) *other {
	t.Helper()
	o := &other{t: t, root: extcatest.NewRoot(t, "Other root", now, nil)}
	o.issuing = o.root.Sub(t, "Other devices", now, nil)
	o.s = extca.Settings{
		Issuers: []string{extcatest.File(t, "issuing.pem", extcatest.PEM(o.issuing.Certificate))},
		Above:   []string{extcatest.File(t, "root.pem", extcatest.PEM(o.root.Certificate))},
		Usages:  []string{"client-auth"}, Name: extca.CommonName, CommonName: true,
	}
	return o
}

func (o *other) authority() *extca.Authority {
	o.t.Helper()
	a, err := extca.New(o.s)
	if err != nil {
		o.t.Fatal(err)
	}
	return a
}

func (o *other) verify(leaf *x509.Certificate, at time.Time) (certs.Identity, error) {
	o.t.Helper()
	return o.authority().Verify([]*x509.Certificate{leaf}, at)
}

func uris(t testing.TB, list ...string) (out []*url.URL) {
	t.Helper()
	for _, s := range list {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

func TestACertificateOfTheOtherAuthorityIsADevices(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	leaf := o.issuing.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	id, err := o.verify(leaf, now)
	if err != nil || id.DeviceID != "edge-1" || id.Fingerprint != certs.Fingerprint(leaf.Raw) {
		t.Fatalf("%+v %v", id, err)
	}
	if id.Outside == nil || !id.Outside.Issuer.Equal(o.issuing.Certificate) || len(id.Outside.Chain) != 3 || !id.Outside.Certificate.Equal(leaf) {
		t.Errorf("%+v", id.Outside)
	}
	o.s.Above = nil // the issuing authority is believed itself
	if id, err := o.verify(leaf, now); err != nil || len(id.Outside.Chain) != 2 {
		t.Errorf("%+v %v", id, err)
	}
	if a := o.authority(); !a.Issued([]*x509.Certificate{leaf}) || a.Issued([]*x509.Certificate{o.issuing.Certificate}) || a.Issued(nil) {
		t.Error("it does not tell its own from others")
	}
}

// C1, PKI-05, PKI-14: every way in which the path or the certificate is not right.
func TestWhatIsNotADevicesCertificateIsRefused(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	key := extcatest.Key(t).Public()
	issue := func(change func(*x509.Certificate)) *x509.Certificate {
		return o.issuing.Issue(t, "edge-1", key, now, change)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	stranger := extcatest.NewRoot(t, "Other devices", now, nil) // the same name, another key
	below := o.issuing.Sub(t, "Below", now, nil)
	beside := o.root.Sub(t, "Beside", now, nil)
	for name, c := range map[string]struct {
		leaf *x509.Certificate
		want error
	}{
		"of a stranger by the same name":   {stranger.Issue(t, "edge-1", key, now, nil), certs.ErrUnknownIssuer},
		"of another authority of the root": {beside.Issue(t, "edge-1", key, now, nil), certs.ErrUnknownIssuer},
		"of the root itself":               {o.root.Issue(t, "edge-1", key, now, nil), certs.ErrNotDevice},
		"of an authority below":            {below.Issue(t, "edge-1", key, now, nil), certs.ErrUnknownIssuer},
		"without usages":                   {issue(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), certs.ErrNotDevice},
		"for servers":                      {issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), certs.ErrNotDevice},
		"for any usage":                    {issue(func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageAny) }), certs.ErrNotDevice},
		"a CA's":                           {issue(func(c *x509.Certificate) { c.IsCA = true }), certs.ErrNotDevice},
		"one that may sign certificates":   {issue(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign; c.BasicConstraintsValid = false }), certs.ErrNotDevice},
		"a key for encryption":             {issue(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), certs.ErrNotDevice},
		"a critical extension nobody knows": {issue(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}), certs.ErrNotDevice},
		"an RSA key":                   {o.issuing.Issue(t, "edge-1", weak.Public(), now, nil), certs.ErrNotDevice},
		"a key on P-521":               {o.issuing.Issue(t, "edge-1", p521.Public(), now, nil), certs.ErrNotDevice},
		"no name":                      {issue(func(c *x509.Certificate) { c.Subject.CommonName = "" }), certs.ErrNotDevice},
		"a name in capitals":           {issue(func(c *x509.Certificate) { c.Subject.CommonName = "Edge-1" }), certs.ErrNotDevice},
		"a name with a dot at its end": {issue(func(c *x509.Certificate) { c.Subject.CommonName = "edge-1." }), certs.ErrNotDevice},
		"a name with a zero in it":     {issue(func(c *x509.Certificate) { c.Subject.CommonName = "edge-1\x00.x" }), certs.ErrNotDevice},
		"two common names": {issue(func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "edge-1"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "edge-2"}}
		}), certs.ErrNotDevice},
		"one that ends before it begins": {issue(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(-time.Second) }), certs.ErrNotDevice},
		"a very long one": {issue(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, 9<<10)}}
		}), certs.ErrNotDevice},
		"one that has expired":      {issue(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }), certs.ErrExpired},
		"one that is not valid yet": {issue(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }), certs.ErrNotYetValid},
	} {
		if id, err := o.verify(c.leaf, now); !errors.Is(err, c.want) || (c.want == certs.ErrNotDevice || c.want == certs.ErrUnknownIssuer) && id.DeviceID != "" {
			t.Errorf("%s: %+v %v, want %v", name, id, err, c.want)
		}
	}
	if _, err := o.authority().Verify(nil, now); !errors.Is(err, certs.ErrNoCertificate) {
		t.Error(err)
	}
}

// PKI-05, PKI-11: the path above counts as a whole.
func TestThePathAboveIsVerified(t *testing.T) {
	t.Parallel()
	key := extcatest.Key(t).Public()
	for name, c := range map[string]struct {
		root, issuing func(*x509.Certificate)
		at            time.Time
		ok            bool
	}{
		"as it is":                    {ok: true},
		"a root that lets none below": {root: func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }},
		"a root that lets one below":  {root: func(c *x509.Certificate) { c.MaxPathLen = 1 }, ok: true},
		"a root for servers":          {root: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }},
		"an issuer for servers":       {issuing: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }},
		"an issuer for clients":       {issuing: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, ok: true},
		"an issuer that has expired":  {issuing: func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }},
		"an issuer that is not valid": {issuing: func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }},
		"a root that has expired":     {root: func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }},
		"constraints that forbid it": {root: func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"elsewhere.test"}, true
		}},
		"constraints that permit it": {root: func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"devices.test"}, true
		}, ok: true},
		"constraints above that exclude": {root: func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"devices.test"} }},
	} {
		root := extcatest.NewRoot(t, "Other root", now, c.root)
		issuing := root.Sub(t, "Other devices", now, c.issuing)
		a, err := extca.New(extca.Settings{
			Issuers: []string{extcatest.File(t, "i", extcatest.PEM(issuing.Certificate))}, Above: []string{extcatest.File(t, "r", extcatest.PEM(root.Certificate))},
			Usages: []string{"client-auth"}, Name: extca.DNSName, Pattern: "{device_id}.devices.test",
		})
		if err != nil {
			t.Fatal(name, err)
		}
		leaf := issuing.Issue(t, "edge-1", key, now, func(c *x509.Certificate) { c.DNSNames = []string{"edge-1.devices.test"} })
		if _, err := a.Verify([]*x509.Certificate{leaf}, now); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// PKI-08: exactly one name of one kind, in one spelling.
func TestADeviceHasOneNameInOneSpelling(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	key := extcatest.Key(t).Public()
	for name, c := range map[string]struct {
		kind    extca.NameKind
		pattern string
		common  bool
		change  func(*x509.Certificate)
		want    string
	}{
		"a DNS name":                     {extca.DNSName, "{device_id}.devices.test", false, func(c *x509.Certificate) { c.DNSNames = []string{"edge-7.devices.test"} }, "edge-7"},
		"a DNS name beside a URI":        {extca.DNSName, "{device_id}.devices.test", false, func(c *x509.Certificate) { c.DNSNames = []string{"edge-7.devices.test"}; c.URIs = uris(t, "urn:x") }, "edge-7"},
		"two DNS names":                  {extca.DNSName, "{device_id}.devices.test", false, func(c *x509.Certificate) { c.DNSNames = []string{"edge-7.devices.test", "edge-8.devices.test"} }, ""},
		"the same DNS name twice":        {extca.DNSName, "{device_id}.devices.test", false, func(c *x509.Certificate) { c.DNSNames = []string{"edge-7.devices.test", "edge-7.devices.test"} }, ""},
		"a DNS name of another domain":   {extca.DNSName, "{device_id}.devices.test", false, func(c *x509.Certificate) { c.DNSNames = []string{"edge-7.devices.test.evil"} }, ""},
		"a DNS name in capitals":         {extca.DNSName, "{device_id}.devices.test", false, func(c *x509.Certificate) { c.DNSNames = []string{"edge-7.Devices.test"} }, ""},
		"no DNS name":                    {extca.DNSName, "{device_id}.devices.test", false, nil, ""},
		"a URI":                          {extca.URIName, "spiffe://other.test/device/{device_id}", false, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://other.test/device/edge-7") }, "edge-7"},
		"two URIs":                       {extca.URIName, "spiffe://other.test/device/{device_id}", false, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://other.test/device/edge-7", "urn:x") }, ""},
		"a URI with an escape":           {extca.URIName, "spiffe://other.test/device/{device_id}", false, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://other.test/device/edge%2d7") }, ""},
		"a URI with one level more":      {extca.URIName, "spiffe://other.test/device/{device_id}", false, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://other.test/device/a/edge-7") }, ""},
		"a URI of another scheme":        {extca.URIName, "spiffe://other.test/device/{device_id}", false, func(c *x509.Certificate) { c.URIs = uris(t, "https://other.test/device/edge-7") }, ""},
		"a URI and the same common name": {extca.URIName, "spiffe://other.test/device/{device_id}", true, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://other.test/device/edge-1") }, "edge-1"},
		"a URI and another common name":  {extca.URIName, "spiffe://other.test/device/{device_id}", true, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://other.test/device/edge-7") }, ""},
		"a URI and no common name": {extca.URIName, "spiffe://other.test/device/{device_id}", true, func(c *x509.Certificate) {
			c.URIs = uris(t, "spiffe://other.test/device/edge-1")
			c.Subject.CommonName = ""
		}, ""},
		"a common name beside other names": {extca.CommonName, "", true, func(c *x509.Certificate) { c.DNSNames = []string{"edge-7"} }, "edge-1"},
	} {
		o.s.Name, o.s.Pattern, o.s.CommonName = c.kind, c.pattern, c.common
		id, err := o.verify(o.issuing.Issue(t, "edge-1", key, now, c.change), now)
		if id.DeviceID != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", name, id.DeviceID, err, c.want)
		}
	}
}

// PKI-08: the extension's own bytes decide, whatever libraries make of them.
func TestANameIsReadAsItStands(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	o.s.Name, o.s.Pattern, o.s.CommonName = extca.URIName, "spiffe://other.test/device/{device_id}", false
	key := extcatest.Key(t).Public()
	name := func(tag byte, text string) []byte { return append([]byte{tag, byte(len(text))}, text...) }
	right := name(0x86, "spiffe://other.test/device/edge-7")
	for what, c := range map[string]struct {
		names [][]byte
		ok    bool
	}{
		"one":                             {[][]byte{right}, true},
		"one beside a DNS name":           {[][]byte{right, name(0x82, "edge-8")}, true},
		"one beside another in pieces":    {[][]byte{right, name(0xa6, string(name(0x16, "spiffe://other.test/device/edge-8")))}, false},
		"one in pieces":                   {[][]byte{name(0xa6, string(right))}, false},
		"one and an empty one":            {[][]byte{right, name(0x86, "")}, false},
		"one with a zero behind":          {[][]byte{name(0x86, "spiffe://other.test/device/edge-7\x00")}, false},
		"one with a zero and another":     {[][]byte{name(0x86, "spiffe://other.test/device/edge-7\x00edge-8")}, false},
		"one with a slash behind":         {[][]byte{name(0x86, "spiffe://other.test/device/edge-7/")}, false},
		"one with a query":                {[][]byte{name(0x86, "spiffe://other.test/device/edge-7?x")}, false},
		"one with a fragment":             {[][]byte{name(0x86, "spiffe://other.test/device/edge-7#x")}, false},
		"one with a port":                 {[][]byte{name(0x86, "spiffe://other.test:1/device/edge-7")}, false},
		"one with a user":                 {[][]byte{name(0x86, "spiffe://edge-7@other.test/device/edge-7")}, false},
		"one with the host in capitals":   {[][]byte{name(0x86, "spiffe://OTHER.test/device/edge-7")}, false},
		"one with the scheme in capitals": {[][]byte{name(0x86, "SPIFFE://other.test/device/edge-7")}, false},
		"one with dots in between":        {[][]byte{name(0x86, "spiffe://other.test/device/../device/edge-7")}, false},
		"one with letters beyond ASCII":   {[][]byte{name(0x86, "spiffe://other.test/device/\xc3\xa9dge-7")}, false},
	} {
		var list []byte
		for _, n := range c.names {
			list = append(list, n...)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "edge-7"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: append([]byte{0x30, byte(len(list))}, list...)}},
		}
		der, err := x509.CreateCertificate(rand.Reader, template, o.issuing.Certificate, key, o.issuing.Key)
		if err != nil {
			t.Fatal(what, err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil && !c.ok {
			continue // nobody ever sees it
		}
		if err != nil {
			t.Fatal(what, err)
		}
		if id, err := o.verify(leaf, now); (err == nil) != c.ok || c.ok && id.DeviceID != "edge-7" {
			t.Errorf("%s: %q %v", what, id.DeviceID, err)
		}
	}
}

// PKI-09: what is presented beside the certificate changes nothing.
func TestWhatElseIsPresentedIsNotUsed(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	victim := o.issuing.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	stranger := extcatest.NewRoot(t, "Stranger", now, nil)
	own := stranger.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	if _, err := o.authority().Verify([]*x509.Certificate{own, victim, o.issuing.Certificate, stranger.Certificate}, now); err == nil {
		t.Error("a stranger's certificate is believed")
	}
	sub := o.issuing.Sub(t, "Below", now, nil)
	if _, err := o.authority().Verify([]*x509.Certificate{sub.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil), sub.Certificate}, now); err == nil {
		t.Error("an authority that the caller brings is believed")
	}
}

func TestUsagesOfAnyKindCanBeAskedFor(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	o.s.Usages = []string{"client-auth", "1.3.6.1.4.1.99999.1"}
	key := extcatest.Key(t).Public()
	if _, err := o.verify(o.issuing.Issue(t, "edge-1", key, now, nil), now); err == nil {
		t.Error("one usage is enough")
	}
	both := func(c *x509.Certificate) {
		c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 99999, 1}}
	}
	if _, err := o.verify(o.issuing.Issue(t, "edge-1", key, now, both), now); err != nil {
		t.Error(err)
	}
	// An authority above that is for clients only forbids the other one.
	o.issuing = o.root.Sub(t, "Other devices", now, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	o.s.Issuers = []string{extcatest.File(t, "issuing.pem", extcatest.PEM(o.issuing.Certificate))}
	if _, err := o.verify(o.issuing.Issue(t, "edge-1", key, now, both), now); err == nil {
		t.Error("the authority's own restriction is not followed")
	}
}

func TestSettingsThatBelieveTooMuchAreRefused(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	leaf := o.issuing.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	small := signedRSA(t, o, 1024)
	large := signedRSA(t, o, 8192)
	for name, change := range map[string]func(*extca.Settings){
		"no issuer":              func(s *extca.Settings) { s.Issuers = nil },
		"a missing file":         func(s *extca.Settings) { s.Issuers = []string{"/nowhere/ca.pem"} },
		"a device's certificate": func(s *extca.Settings) { s.Issuers = []string{extcatest.File(t, "x", extcatest.PEM(leaf))} },
		"an empty file":          func(s *extca.Settings) { s.Issuers = []string{extcatest.File(t, "x", nil)} },
		"something else":         func(s *extca.Settings) { s.Issuers = []string{extcatest.File(t, "x", []byte("hello"))} },
		"a small RSA key":        func(s *extca.Settings) { s.Issuers = []string{extcatest.File(t, "x", extcatest.PEM(small))} },
		"a large RSA key":        func(s *extca.Settings) { s.Issuers = []string{extcatest.File(t, "x", extcatest.PEM(large))} },
		"no root above":          func(s *extca.Settings) { s.Above = s.Issuers },
		"no usage":               func(s *extca.Settings) { s.Usages = nil },
		"any usage":              func(s *extca.Settings) { s.Usages = []string{"2.5.29.37.0"} },
		"a word for a usage":     func(s *extca.Settings) { s.Usages = []string{"email"} },
		"a pattern without id":   func(s *extca.Settings) { s.Name, s.Pattern = extca.DNSName, "devices.test" },
		"a pattern within label": func(s *extca.Settings) { s.Name, s.Pattern = extca.DNSName, "x{device_id}.devices.test" },
		"a URI without scheme":   func(s *extca.Settings) { s.Name, s.Pattern = extca.URIName, "{device_id}" },
		"a common name around":   func(s *extca.Settings) { s.Pattern = "{device_id}.test" },
	} {
		s := o.s
		change(&s)
		if _, err := extca.New(s); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func signedRSA(t *testing.T, o *other, bits int) *x509.Certificate {
	t.Helper()
	key := rsaKey(t, bits)
	return o.root.SubWith(t, "RSA", now, key).Certificate
}

// PKI-10, PKI-14: whatever a caller presents, one request fails, and fast.
func FuzzVerify(f *testing.F) {
	root := extcatest.NewRoot(f, "Other root", now, nil)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, pub := range []crypto.PublicKey{extcatest.Key(f).Public(), edKey.Public()} {
		f.Add(root.Issue(f, "edge-1", pub, now, func(c *x509.Certificate) {
			c.URIs = uris(f, "spiffe://other.test/device/edge-1")
			c.DNSNames = []string{"edge-1"}
		}).Raw)
	}
	f.Add(root.Certificate.Raw)
	path := extcatest.File(f, "root.pem", extcatest.PEM(root.Certificate))
	var judges []*extca.Authority
	for kind, pattern := range map[extca.NameKind]string{extca.CommonName: "", extca.DNSName: "", extca.URIName: "spiffe://other.test/device/{device_id}"} {
		a, err := extca.New(extca.Settings{Issuers: []string{path}, Usages: []string{"client-auth"}, Name: kind, Pattern: pattern})
		if err != nil {
			f.Fatal(err)
		}
		judges = append(judges, a)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		for _, a := range judges {
			if id, err := a.Verify([]*x509.Certificate{c}, now); err == nil && (id.DeviceID != "edge-1" || c.CheckSignatureFrom(root.Certificate) != nil) {
				t.Errorf("%x is a device's: %+v", der, id)
			}
		}
	})
}

func FuzzParseCAs(f *testing.F) {
	root := extcatest.NewRoot(f, "Other root", now, nil)
	f.Add(extcatest.PEM(root.Certificate))
	f.Add(extcatest.PEM(root.Certificate, root.Certificate))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := extca.ParseCAs(data)
		if err == nil && len(list) == 0 {
			t.Error("nothing, and no error")
		}
		for _, c := range list {
			if !c.IsCA {
				t.Error("not an authority")
			}
		}
	})
}
