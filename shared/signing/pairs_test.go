package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// oneKey is a key that serves, against all rules, every purpose there is: what keeps
// its signatures apart is then only what they say.
type oneKey struct {
	t       *testing.T
	private *ecdsa.PrivateKey
	next    *ecdsa.PrivateKey // of a renewal
	fleet   fleet
}

func (k oneKey) signer(p Purpose) Signer { return must(NewSigner(p, k.private)) }
func (k oneKey) key(p Purpose) Key       { return must(NewKey(p, k.private.Public())) }

// pinned is a fleet root; its root or policy key is the one key where that is asked.
func (k oneKey) pinned(root, policy bool) *PinnedRoot {
	f := k.fleet
	if root {
		f.root = []Signer{k.signer(PurposeFleetRoot)}
	}
	if policy {
		f.policy = []Signer{k.signer(PurposePolicyBundle)}
	}
	return f.pinned()
}

// document is a real document of a purpose, signed with the one key.
func (k oneKey) document(p Purpose) *Envelope {
	ctx := k.t.Context()
	switch p {
	case PurposeFleetRoot:
		f := k.fleet
		f.root = []Signer{k.signer(p)}
		return must(SignFleetRoot(ctx, f.document(2), f.root...))
	case PurposePolicyBundle:
		return must(SignBundle(ctx, k.fleet.bundle(k.pinned(false, true), 1), k.signer(p)))
	case PurposeCommand:
		return must(SignCommand(ctx, must(statement(target(1)).Payload()), k.signer(p)))
	case PurposeResult:
		return must(SignResult(ctx, CommandResult{DeviceID: "device-1", EnrollmentID: target(1).EnrollmentID, ActionID: testAction,
			StatementDigest: strings.Repeat("d", 64), Status: Succeeded, At: testNow}, k.private))
	case PurposeRenewal:
		csr := must(certs.NewRequest("device-1", k.next))
		return must(SignRenewal(ctx, Renewal{RequestID: testAction, DeviceID: "device-1", EnrollmentID: target(1).EnrollmentID,
			Current: strings.Repeat("e", 64), CSR: csr}, k.private, k.next))
	case PurposeEnrollPoll:
		poll := must(json.Marshal(protocol.EnrollPoll{EnrollmentID: testAction, Nonce: "n", CAFingerprint: strings.Repeat("f", 64)}))
		return mustSeal(p, string(poll), k.signer(p))
	}
	return mustSeal(p, `{"type":"`+string(p)+`"}`, k.signer(p)) // no document of it is made yet
}

// takes asks whoever takes documents of a purpose, who trusts the one key for it.
func (k oneKey) takes(p Purpose, env *Envelope) error {
	var err error
	switch p {
	case PurposeFleetRoot:
		_, err = k.pinned(true, false).Advance(env)
	case PurposePolicyBundle:
		_, err = VerifyBundle(env, k.pinned(false, true), testNow, 0)
	case PurposeCommand:
		_, err = VerifyCommand(env, &PolicyBundle{CommandKeys: []Key{k.key(p)}})
	case PurposeResult:
		_, err = VerifyResult(env, k.private.Public())
	case PurposeRenewal:
		err = VerifyRenewal(env, k.private.Public(), k.next.Public())
	default:
		_, _, err = env.Verify(p, []Key{k.key(p)}, 1)
	}
	return err
}

// ATT-04: the real documents, before those who take real documents, in all ordered
// pairs, though one key signed them all; and dressed as what is expected.
func TestNoRealDocumentIsTakenForAnother(t *testing.T) {
	t.Parallel()
	k := oneKey{t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), newFleet(1, 1)}
	pairs := 0
	for _, p := range Purposes() {
		env := must(ParseEnvelope(must(k.document(p).Marshal())))
		if err := k.takes(p, env); err != nil {
			t.Errorf("%s is refused where it belongs: %v", p, err)
		}
		for _, q := range Purposes() {
			if p == q {
				continue
			}
			pairs++
			if k.takes(q, env) == nil {
				t.Errorf("%s is taken as %s", p, q)
			}
			dressed := &Envelope{PayloadType: q.PayloadType(), Payload: env.Payload}
			for _, s := range env.Signatures {
				for _, record := range []Key{k.key(q), must(NewKey(q, k.next.Public()))} {
					dressed.Signatures = []Signature{{KeyID: record.ID, Sig: s.Sig}}
					if k.takes(q, dressed) == nil {
						t.Errorf("%s, dressed as %s, is taken", p, q)
					}
				}
			}
		}
	}
	if n := len(Purposes()); pairs != n*(n-1) || pairs < 90 {
		t.Errorf("%d pairs", pairs)
	}
}

// What certificate authorities and devices sign with the same key elsewhere is no
// document either, and a document's signature is on none of it.
func TestWhatIsSignedElsewhereIsNoDocument(t *testing.T) {
	t.Parallel()
	k := oneKey{t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), newFleet(1, 1)}
	der := must(certs.NewRootCA("root", k.private, testNow, MaxBundleLife))
	cert := must(x509.ParseCertificate(der))
	request := must(x509.ParseCertificateRequest(must(certs.NewRequest("device-1", k.private)))) // its key signs results, too
	list := must(x509.ParseRevocationList(must(x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), NextUpdate: testNow}, cert, k.private))))
	for what, signed := range map[string]struct{ inner, whole, signature []byte }{
		"certificate":     {cert.RawTBSCertificate, der, cert.Signature},
		"request":         {request.RawTBSCertificateRequest, request.Raw, request.Signature},
		"revocation list": {list.RawTBSRevocationList, list.Raw, list.Signature},
	} {
		for _, p := range Purposes() {
			for _, payload := range [][]byte{signed.inner, signed.whole} {
				env := &Envelope{PayloadType: p.PayloadType(), Payload: payload, Signatures: []Signature{{KeyID: k.key(p).ID, Sig: signed.signature}}}
				if _, _, err := env.Verify(p, []Key{k.key(p)}, 1); err == nil {
					t.Errorf("a %s is taken as %s", what, p)
				}
			}
			if cert.CheckSignature(x509.ECDSAWithSHA256, signed.inner, signed.signature) != nil {
				t.Fatalf("the key's %s is not", what)
			}
			for _, s := range k.document(p).Signatures {
				if cert.CheckSignature(x509.ECDSAWithSHA256, signed.inner, s.Sig) == nil {
					t.Errorf("the signature of %s is on a %s", p, what)
				}
			}
		}
	}
}
