package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

const (
	testFleet  = "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"
	otherFleet = "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3e"
)

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// must is for what only a broken test can make fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newSigner(p Purpose) Signer {
	s, _, err := GenerateEd25519(p)
	return must(s, err)
}

func newSigners(p Purpose, n int) (signers []Signer) {
	for range n {
		signers = append(signers, newSigner(p))
	}
	return signers
}

func keysOf(signers ...Signer) (keys []Key) {
	for _, s := range signers {
		keys = append(keys, s.Key())
	}
	return keys
}

func ecdsaSigner(p Purpose, curve elliptic.Curve) Signer {
	return must(NewSigner(p, must(ecdsa.GenerateKey(curve, rand.Reader))))
}

func mustSeal(p Purpose, payload string, signers ...Signer) *Envelope {
	return must(Seal(context.Background(), p, []byte(payload), signers...))
}

// testCAs are one issuing CA of each kind, made once.
var testCAs = sync.OnceValues(func() (server, device []byte) {
	rootKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	root := must(certs.ParseCA(must(certs.NewRootCA("root", rootKey, testNow, 365*24*time.Hour))))
	issue := func(kind certs.Kind, pub crypto.PublicKey) []byte {
		return must(certs.NewIssuingCA(kind, string(kind), "fleet.example.org", certs.CA{Certificate: root, Signer: rootKey}, pub, testNow, 24*time.Hour))
	}
	return issue(certs.KindServer, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public()),
		issue(certs.KindDevice, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public())
})

// fleet is everything that signs for one fleet.
type fleet struct {
	root, policy, command []Signer
}

func newFleet(roots, policies int) fleet {
	return fleet{newSigners(PurposeFleetRoot, roots), newSigners(PurposePolicyBundle, policies), newSigners(PurposeCommand, 1)}
}

// document is the fleet's root in a version, with all keys needed.
func (f fleet) document(version int64) FleetRoot {
	server, device := testCAs()
	return FleetRoot{
		Type: typeFleetRoot, FleetID: testFleet, Version: version, IssuedAt: testNow,
		Root:        KeySet{keysOf(f.root...), len(f.root)},
		Policy:      KeySet{keysOf(f.policy...), len(f.policy)},
		TrustDomain: "fleet.example.org",
		ServerCAs:   [][]byte{server}, DeviceCAs: [][]byte{device},
	}
}

func (f fleet) pinned() *PinnedRoot {
	return must(VerifyFirstRoot(must(SignFleetRoot(context.Background(), f.document(1), f.root...)), ""))
}

func (f fleet) bundle(root *PinnedRoot, version int64) PolicyBundle {
	return PolicyBundle{
		Type: typePolicyBundle, FleetID: testFleet, RootDigest: root.Digest, Version: version,
		IssuedAt: testNow, ExpiresAt: testNow.Add(MaxBundleLife),
		CommandKeys: keysOf(f.command...),
		Kinds: []KindRule{
			{Kind: "ping"},
			{Kind: "run-script", Approvals: 2, Limits: map[string]int64{"max_seconds": 60}},
		},
	}
}
