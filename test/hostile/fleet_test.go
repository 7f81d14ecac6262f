package hostile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

const (
	trustDomain = "fleet.test"
	fleetID     = "0198c1f0-0000-7cc2-8a5d-0a4f6f1c2b3d"
	otherFleet  = "0198c1f0-0001-7cc2-8a5d-0a4f6f1c2b3d"
	epoch       = "0198c1f0-1111-7cc2-8a5d-0a4f6f1c2b3d"
	deviceID    = "edge-1"
	certLife    = 9 * 24 * time.Hour
)

// day is when the fleet was founded. It is close to this machine's time, by which the
// agent judges the server that it meets first.
var day = time.Now().UTC().Truncate(time.Second).Add(-10 * time.Minute)

// owner holds what is out of the server's reach. Attempts use its keys only for
// documents that an honest owner makes, and that the server then misuses.
type owner struct {
	root, policy signing.Signer
}

// loot is what a taken server has.
type loot struct {
	serverCA, deviceCA certs.CA
	command            signing.Signer // named by the bundle in force
	before             signing.Signer // named by the bundle before it, and dropped since
	audit              signing.Signer
}

// world is one fleet, its owner and its server.
type world struct {
	t     *testing.T
	owner owner
	loot
	rootCA certs.CA

	root, older, bundle       json.RawMessage // version 1; versions 2 and 3
	first                     string          // digest of the root, which the device was given out of band
	olderDigest, bundleDigest string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, owner: owner{root: signer(t, signing.PurposeFleetRoot), policy: signer(t, signing.PurposePolicyBundle)}}
	w.rootCA = rootCA(t)
	w.loot = loot{
		serverCA: issuing(t, certs.KindServer, w.rootCA), deviceCA: issuing(t, certs.KindDevice, w.rootCA),
		command: signer(t, signing.PurposeCommand), before: signer(t, signing.PurposeCommand), audit: signer(t, signing.PurposeAuditCheckpoint),
	}
	env := w.signRoot(w.fleetRoot(1), w.owner.root)
	w.root, w.first = marshal(t, env), signing.Digest(env.Payload)
	older := w.signBundle(w.policyBundle(2, func(b *signing.PolicyBundle) {
		b.CommandKeys = []signing.Key{w.before.Key()}
		b.Kinds = append(b.Kinds, signing.KindRule{Kind: "rotate-certificate"})
	}))
	w.older, w.olderDigest = marshal(t, older), signing.Digest(older.Payload)
	bundle := w.signBundle(w.policyBundle(3, nil))
	w.bundle, w.bundleDigest = marshal(t, bundle), signing.Digest(bundle.Payload)
	return w
}

func (w *world) fleetRoot(version int64) signing.FleetRoot {
	return signing.FleetRoot{
		FleetID: fleetID, Version: version, IssuedAt: day.Add(time.Duration(version) * time.Second),
		Root:        signing.KeySet{Keys: []signing.Key{w.owner.root.Key()}, Threshold: 1},
		Policy:      signing.KeySet{Keys: []signing.Key{w.owner.policy.Key()}, Threshold: 1},
		TrustDomain: trustDomain,
		ServerCAs:   [][]byte{w.serverCA.Certificate.Raw}, DeviceCAs: [][]byte{w.deviceCA.Certificate.Raw},
	}
}

// policyBundle lets ping be done with an echo of 16 bytes, collect-facts, and
// restart-agent when two persons have agreed.
func (w *world) policyBundle(version int64, change func(*signing.PolicyBundle)) signing.PolicyBundle {
	b := signing.PolicyBundle{
		FleetID: fleetID, RootDigest: w.first, Version: version, IssuedAt: day.Add(time.Duration(version) * time.Minute),
		CommandKeys: []signing.Key{w.command.Key()},
		Kinds: []signing.KindRule{
			{Kind: "ping", Limits: map[string]int64{"echo": 16}}, {Kind: "collect-facts"}, {Kind: "restart-agent", Approvals: 2},
		},
	}
	if change != nil {
		change(&b)
	}
	b.ExpiresAt = b.IssuedAt.Add(signing.MaxBundleLife)
	return b
}

func (w *world) signRoot(r signing.FleetRoot, by ...signing.Signer) *signing.Envelope {
	w.t.Helper()
	env, err := signing.SignFleetRoot(w.t.Context(), r, by...)
	must(w.t, err)
	return env
}

func (w *world) signBundle(b signing.PolicyBundle) *signing.Envelope {
	w.t.Helper()
	env, err := signing.SignBundle(w.t.Context(), b, w.owner.policy)
	must(w.t, err)
	return env
}

// chain issues a certificate that a taken server may well issue.
func chain(t *testing.T, by certs.CA, id string, pub crypto.PublicKey, from time.Time) [][]byte {
	t.Helper()
	notBefore, notAfter := certs.Validity(from.Add(-time.Minute), certLife)
	der, err := certs.IssueDevice(by, certs.DeviceTemplate{DeviceID: id, TrustDomain: trustDomain, PublicKey: pub, NotBefore: notBefore, NotAfter: notAfter})
	must(t, err)
	return [][]byte{der, by.Certificate.Raw}
}

func (w *world) serverCertificate() tls.Certificate {
	w.t.Helper()
	key := newKey(w.t)
	notBefore, notAfter := certs.Validity(day.Add(-time.Hour), 60*24*time.Hour)
	der, err := certs.IssueServer(w.serverCA, certs.ServerTemplate{
		IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, PublicKey: key.Public(), NotBefore: notBefore, NotAfter: notAfter,
	})
	must(w.t, err)
	return tls.Certificate{Certificate: [][]byte{der, w.serverCA.Certificate.Raw}, PrivateKey: key}
}

func signer(t *testing.T, p signing.Purpose) signing.Signer {
	t.Helper()
	s, _, err := signing.GenerateEd25519(p)
	must(t, err)
	return s
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func rootCA(t *testing.T) certs.CA {
	t.Helper()
	key := newKey(t)
	der, err := certs.NewRootCA("Test root", key, day.Add(-time.Hour), 100*24*time.Hour)
	must(t, err)
	return ca(t, der, key)
}

func issuing(t *testing.T, kind certs.Kind, root certs.CA) certs.CA {
	t.Helper()
	key := newKey(t)
	der, err := certs.NewIssuingCA(kind, "Test "+string(kind), trustDomain, root, key.Public(), day.Add(-time.Hour), 90*24*time.Hour)
	must(t, err)
	return ca(t, der, key)
}

func ca(t *testing.T, der []byte, key crypto.Signer) certs.CA {
	t.Helper()
	c, err := certs.ParseCA(der)
	must(t, err)
	return certs.CA{Certificate: c, Signer: key}
}

func marshal(t *testing.T, env *signing.Envelope) json.RawMessage {
	t.Helper()
	data, err := env.Marshal()
	must(t, err)
	return data
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
