package deviceapi_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const trustDomain = "sentinel.internal"

// credential is what somebody presents instead of a device's own certificate.
type credential struct {
	chain [][]byte
	key   crypto.Signer
	want  protocol.Code
}

// wrongCredentials all name the device, and none is one of its own.
func wrongCredentials(t *testing.T, ca certs.CA, d *servertest.Device) map[string]credential {
	t.Helper()
	other, otherKey := otherCA(t)
	now := time.Now()
	leaf := func(ca certs.CA, key crypto.Signer, from time.Time, life time.Duration) [][]byte {
		t.Helper()
		notBefore, notAfter := certs.Validity(from, life)
		der, err := certs.IssueDevice(ca, certs.DeviceTemplate{
			DeviceID: d.ID, TrustDomain: trustDomain, PublicKey: key.Public(), NotBefore: notBefore, NotAfter: notAfter,
		})
		if err != nil {
			t.Fatal(err)
		}
		return [][]byte{der, ca.Certificate.Raw}
	}
	crafted := func(ca *x509.Certificate, signer crypto.Signer, usage ...x509.ExtKeyUsage) [][]byte {
		t.Helper()
		uri, err := url.Parse(certs.DeviceURI(trustDomain, d.ID))
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: d.ID}, URIs: []*url.URL{uri},
			NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage, BasicConstraintsValid: true,
		}
		if ca == nil {
			ca = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, ca, d.Key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		return [][]byte{der}
	}
	stolen, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]credential{
		"no certificate":                              {nil, nil, protocol.CodeCertificateMissing},
		"a self-signed one":                           {crafted(nil, d.Key, x509.ExtKeyUsageClientAuth), d.Key, protocol.CodeCertificateUnknown},
		"one of another CA of the same name":          {leaf(other, d.Key, now, time.Hour), d.Key, protocol.CodeCertificateUnknown},
		"another CA's with our CA's beside it":        {[][]byte{leaf(other, d.Key, now, time.Hour)[0], ca.Certificate.Raw}, d.Key, protocol.CodeCertificateUnknown},
		"the other CA itself":                         {[][]byte{other.Certificate.Raw}, otherKey, protocol.CodeCertificateUnknown},
		"an expired one that is not on record":        {leaf(ca, d.Key, now.Add(-30*time.Minute), 10*time.Minute), d.Key, protocol.CodeCertificateUnknown},
		"one that is not valid yet":                   {leaf(ca, d.Key, now.Add(time.Hour), time.Hour), d.Key, protocol.CodeCertificateNotYet},
		"one for servers only":                        {crafted(ca.Certificate, ca.Signer, x509.ExtKeyUsageServerAuth), d.Key, protocol.CodeCertificateUnknown},
		"one for clients and servers":                 {crafted(ca.Certificate, ca.Signer, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth), d.Key, protocol.CodeCertificateUnknown},
		"one without a usage":                         {crafted(ca.Certificate, ca.Signer), d.Key, protocol.CodeCertificateUnknown},
		"our CA's own certificate":                    {[][]byte{ca.Certificate.Raw}, ca.Signer, protocol.CodeCertificateUnknown},
		"a good one that is not on record":            {leaf(ca, d.Key, now, time.Hour), d.Key, protocol.CodeCertificateUnknown},
		"a good one for another key, not on record":   {leaf(ca, stolen, now, time.Hour), stolen, protocol.CodeCertificateUnknown},
		"an expired one of another CA, told nothing":  {leaf(other, d.Key, now.Add(-30*time.Minute), 10*time.Minute), d.Key, protocol.CodeCertificateUnknown},
		"more certificates than are looked at":        {[][]byte{d.Chain[0], d.Chain[1], d.Chain[1], d.Chain[1], d.Chain[1]}, d.Key, protocol.CodeCertificateUnknown},
		"the issuer first and the device's own after": {[][]byte{ca.Certificate.Raw, d.Chain[0]}, ca.Signer, protocol.CodeCertificateUnknown},
	}
}

// otherCA is another fleet's, with the very names of ours.
func otherCA(t *testing.T) (certs.CA, crypto.Signer) {
	t.Helper()
	keys := make([]*ecdsa.PrivateKey, 2)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	parse := func(der []byte, err error) *x509.Certificate {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		c, err := certs.ParseCA(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	root := parse(certs.NewRootCA("Sentinel fleet", keys[0], time.Now(), 48*time.Hour))
	der, err := certs.NewIssuingCA(certs.KindDevice, "Sentinel fleet devices", trustDomain, certs.CA{Certificate: root, Signer: keys[0]},
		keys[1].Public(), time.Now(), 24*time.Hour)
	return certs.CA{Certificate: parse(der, err), Signer: keys[1]}, keys[1]
}

// PKI-01
func TestADeviceRouteAnswersNobodyWithoutTheDevicesOwnCertificate(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		w := newWorld(t, database, servertest.Options{})
		d := w.device("edge-1")
		d.MustBeat()
		before, guarded := w.state(), 0
		for _, r := range routes() {
			if r.Policy.Kind() != httpkit.KindDevice {
				continue
			}
			guarded++
			path := strings.ReplaceAll(r.Pattern, "{id}", d.EnrollmentID)
			for name, c := range wrongCredentials(t, w.DeviceCA(), d) {
				d.Counter++
				body := encode(t, d.Heartbeat())
				switch r.Pattern {
				case protocol.PathAttestationChallenge:
					body = encode(t, claimOf(d))
				case protocol.PathAttestationEvidence:
					body = encode(t, evidenceOf(d))
				}
				if key, ok := c.key.(*ecdsa.PrivateKey); ok && r.Pattern == protocol.PathRenew {
					caller := *d // all is right about its request, but for the certificate
					caller.Chain, caller.Key = c.chain, key
					body = caller.Wish(false).Body
				}
				a := w.send(w.caller(c.chain, c.key), call{method: r.Method, path: path, body: body})
				if a.problem.Code != c.want || a.status < 400 {
					t.Errorf("%s %s with %s: %d %s, want %s", r.Method, r.Pattern, name, a.status, a.problem.Code, c.want)
				}
			}
		}
		w.unchanged(before, "a certificate that is not the device's")
		if guarded == 0 {
			t.Fatal("no route asks for a device")
		}
		d.MustBeat() // the device itself goes on
	})
}

// PKI-09
func TestWhoCallsIsWhoseKeyWasProvedWhateverElseIsInTheChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:", servertest.Options{})
	victim, attacker := w.device("victim"), w.device("attacker")
	victim.MustBeat()
	attacker.MustBeat()
	const row = "device_id = 'victim' AND counter = 1 AND refused = 0"
	own, foreign := attacker.Chain[0], victim.Chain[0]
	for name, chain := range map[string][][]byte{
		"the victim's second": {own, foreign}, "the victim's last": {own, own, foreign}, "the victim's twice": {own, foreign, foreign},
		"the issuer between": {own, victim.Chain[1], foreign},
	} {
		h := victim.Heartbeat()
		a := w.send(w.caller(chain, attacker.Key), call{path: protocol.PathHeartbeat, body: encode(t, h)})
		if a.problem.Code != protocol.CodeIdentityMismatch {
			t.Errorf("%s: as the victim: %d %s", name, a.status, a.problem.Code)
		}
		a = w.send(w.caller(chain, attacker.Key), call{path: protocol.PathHeartbeat, body: encode(t, attacker.Heartbeat())})
		if a.status != 200 {
			t.Errorf("%s: as itself: %d %s", name, a.status, a.problem.Code)
		}
		if w.Count("device_counters", row) != 1 {
			t.Fatalf("%s: the victim's counter moved", name)
		}
	}
	for name, chain := range map[string][][]byte{"the victim's first": {foreign, own}, "the victim's alone": {foreign}} {
		if a, err := w.try(w.caller(chain, attacker.Key), call{path: protocol.PathHeartbeat, body: encode(t, victim.Heartbeat())}); err == nil {
			t.Errorf("%s: a key that is not the certificate's got the answer %d %s", name, a.status, a.problem.Code)
		}
	}
	if w.Count("device_counters", row) != 1 {
		t.Fatal("the victim's counter moved")
	}
}

// PKI-01: what the connection proved is not believed for longer than it is true.
func TestACertificateThatExpiresOnAnOpenConnectionIsRefusedThere(t *testing.T) {
	t.Parallel()
	clock := newClock()
	w := newWorld(t, "sqlite:", servertest.Options{Now: clock.now, Settings: map[string]string{"SENTINEL_DEVICE_CERT_LIFETIME": "30s"}})
	d := w.device("edge-1")
	dials := countDials(d)
	d.MustBeat()
	clock.advance(28 * time.Second)
	d.MustBeat()
	clock.advance(2 * time.Second)
	if p, err := d.Beat(); err != nil || p == nil || p.Code != protocol.CodeCertificateExpired {
		t.Fatalf("a second after its end: %v %v", p, err)
	}
	if n := dials.Load(); n != 1 {
		t.Fatalf("%d connections, want the one", n)
	}
}
