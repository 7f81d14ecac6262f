// Package agenttest makes what the agent's tests need of a fleet: its
// authorities, its signed documents, and listeners that speak real TLS. Nothing
// here stands in for the code under test; the whole server is tested elsewhere.
package agenttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// What every fleet made here shares.
const (
	TrustDomain = "fleet.test"
	FleetID     = "0198c1f0-0000-7cc2-8a5d-0a4f6f1c2b3d"
	Epoch       = "0198c1f0-1111-7cc2-8a5d-0a4f6f1c2b3d"
	NextEpoch   = "0198c1f0-2222-7cc2-8a5d-0a4f6f1c2b3d"
)

// Fleet is the authorities of a fleet. Its documents are made at Now.
type Fleet struct {
	Now       time.Time
	ServerCA  certs.CA
	DeviceCA  certs.CA
	RootKey   signing.Signer
	PolicyKey signing.Signer
	Command   signing.Key
	Commander signing.Signer // of Command
	Policy    Mark           // of the bundle that commands are made under
}

// Mark names a document.
type Mark struct {
	Version int64
	Digest  string
}

// NewFleet makes keys and authorities. They are valid around now.
func NewFleet(t testing.TB, now time.Time) *Fleet {
	t.Helper()
	root := rootCA(t, now)
	f := &Fleet{Now: now, ServerCA: issuing(t, certs.KindServer, root, now), DeviceCA: issuing(t, certs.KindDevice, root, now)}
	f.RootKey, f.PolicyKey = Signer(t, signing.PurposeFleetRoot), Signer(t, signing.PurposePolicyBundle)
	f.Commander = Signer(t, signing.PurposeCommand)
	f.Command = f.Commander.Key()
	return f
}

// Key makes a P-256 key.
func Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// Signer makes a signing key.
func Signer(t testing.TB, p signing.Purpose) signing.Signer {
	t.Helper()
	s, _, err := signing.GenerateEd25519(p)
	must(t, err)
	return s
}

func rootCA(t testing.TB, now time.Time) certs.CA {
	t.Helper()
	key := Key(t)
	der, err := certs.NewRootCA("Test root", key, now, 100*24*time.Hour)
	must(t, err)
	c, err := certs.ParseCA(der)
	must(t, err)
	return certs.CA{Certificate: c, Signer: key}
}

func issuing(t testing.TB, kind certs.Kind, root certs.CA, now time.Time) certs.CA {
	t.Helper()
	key := Key(t)
	der, err := certs.NewIssuingCA(kind, "Test "+string(kind), TrustDomain, root, key.Public(), now, 90*24*time.Hour)
	must(t, err)
	c, err := certs.ParseCA(der)
	must(t, err)
	return certs.CA{Certificate: c, Signer: key}
}

// ServerCertificate is issued by the fleet's server CA for DNS names and IP
// addresses, and shows its issuer.
func (f *Fleet) ServerCertificate(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	key := Key(t)
	notBefore, notAfter := certs.Validity(f.Now.Add(-time.Minute), 24*time.Hour)
	template := certs.ServerTemplate{PublicKey: key.Public(), NotBefore: notBefore, NotAfter: notAfter}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPs = append(template.IPs, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := certs.IssueServer(f.ServerCA, template)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der, f.ServerCA.Certificate.Raw}, PrivateKey: key}
}

// IssueDevice makes the certificate chain of a device, valid from a minute
// before from for life.
func (f *Fleet) IssueDevice(t testing.TB, deviceID string, pub crypto.PublicKey, from time.Time, life time.Duration) [][]byte {
	t.Helper()
	notBefore, notAfter := certs.Validity(from.Add(-time.Minute), life)
	der, err := certs.IssueDevice(f.DeviceCA, certs.DeviceTemplate{
		DeviceID: deviceID, TrustDomain: TrustDomain, PublicKey: pub, NotBefore: notBefore, NotAfter: notAfter,
	})
	must(t, err)
	return [][]byte{der, f.DeviceCA.Certificate.Raw}
}

// Root is version 1 of the fleet root, and the digest that pins it.
func (f *Fleet) Root(t testing.TB) (envelope []byte, digest string) {
	t.Helper()
	env, err := signing.SignFleetRoot(t.Context(), f.root(), f.RootKey)
	must(t, err)
	return marshal(t, env), signing.Digest(env.Payload)
}

func (f *Fleet) root() signing.FleetRoot {
	return signing.FleetRoot{
		FleetID: FleetID, Version: 1, IssuedAt: f.Now,
		Root:        signing.KeySet{Keys: []signing.Key{f.RootKey.Key()}, Threshold: 1},
		Policy:      signing.KeySet{Keys: []signing.Key{f.PolicyKey.Key()}, Threshold: 1},
		TrustDomain: TrustDomain,
		ServerCAs:   [][]byte{f.ServerCA.Certificate.Raw},
		DeviceCAs:   [][]byte{f.DeviceCA.Certificate.Raw},
	}
}

// NextRoot is a later version, changed from the first, and signed by the fleet's
// root key and what else is given.
func (f *Fleet) NextRoot(t testing.TB, version int64, change func(*signing.FleetRoot), also ...signing.Signer) (envelope []byte, digest string) {
	t.Helper()
	r := f.root()
	r.Version, r.IssuedAt = version, f.Now.Add(time.Duration(version)*time.Second)
	if change != nil {
		change(&r)
	}
	env, err := signing.SignFleetRoot(t.Context(), r, append([]signing.Signer{f.RootKey}, also...)...)
	must(t, err)
	return marshal(t, env), signing.Digest(env.Payload)
}

// Bundle is a policy bundle under the fleet root with this digest.
func (f *Fleet) Bundle(t testing.TB, rootDigest string, version int64, issued time.Time, life time.Duration) []byte {
	t.Helper()
	envelope, _ := f.BundleWith(t, rootDigest, version, func(b *signing.PolicyBundle) {
		b.IssuedAt, b.ExpiresAt = issued, issued.Add(life)
		b.Kinds = []signing.KindRule{{Kind: "ping"}}
	})
	return envelope
}

// BundleWith is a policy bundle of 30 days that allows every kind there is, changed
// as a test wants it.
func (f *Fleet) BundleWith(t testing.TB, rootDigest string, version int64, change func(*signing.PolicyBundle)) (envelope []byte, digest string) {
	t.Helper()
	b := signing.PolicyBundle{
		FleetID: FleetID, RootDigest: rootDigest, Version: version, IssuedAt: f.Now, ExpiresAt: f.Now.Add(signing.MaxBundleLife),
		CommandKeys: []signing.Key{f.Command},
	}
	for _, kind := range signing.AlwaysAllowed {
		b.Kinds = append(b.Kinds, signing.KindRule{Kind: kind})
	}
	if change != nil {
		change(&b)
	}
	env, err := signing.SignBundle(t.Context(), b, f.PolicyKey)
	must(t, err)
	return marshal(t, env), signing.Digest(env.Payload)
}

// Deliver is a delivery of the statement, signed by the fleet's command key.
func (f *Fleet) Deliver(t testing.TB, c signing.CommandStatement) protocol.CommandDelivery {
	t.Helper()
	payload, err := c.Payload()
	must(t, err)
	env, err := signing.SignCommand(t.Context(), payload, f.Commander)
	must(t, err)
	return protocol.CommandDelivery{ActionID: c.ActionID, Statement: marshal(t, env)}
}

func marshal(t testing.TB, env *signing.Envelope) json.RawMessage {
	t.Helper()
	data, err := env.Marshal()
	must(t, err)
	return data
}

// CAs is the pool that knows the fleet's server.
func (f *Fleet) CAs() []*x509.Certificate { return []*x509.Certificate{f.ServerCA.Certificate} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
