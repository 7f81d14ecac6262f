package vectors_test

import (
	"crypto/x509"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

type signatureGroup struct {
	PublicKeyDER bytesOf `json:"publicKeyDer"`
	Tests        []struct {
		vector
		Msg bytesOf `json:"msg"`
		Sig bytesOf `json:"sig"`
	} `json:"tests"`
}

// PKI-06: signatures of envelopes. Any purpose does, since the vectors are below
// the envelope.
func TestSignatures(t *testing.T) {
	t.Parallel()
	for name, algorithm := range map[string]signing.Algorithm{
		"ed25519_test.json":                signing.Ed25519,
		"ecdsa_secp256r1_sha256_test.json": signing.ECDSAP256,
		"ecdsa_secp384r1_sha384_test.json": signing.ECDSAP384,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := load[signatureGroup](t, name)
			var n tally
			for _, g := range f.TestGroups {
				// A key that is not taken refuses everything under it.
				var key signing.Key
				pub, err := x509.ParsePKIXPublicKey(g.PublicKeyDER)
				if err == nil {
					key, err = signing.NewKey(signing.PurposeResult, pub)
				}
				if err == nil && key.Algorithm != algorithm {
					t.Fatalf("a key of %s", key.Algorithm)
				}
				for _, v := range g.Tests {
					n.check(t, v.vector, err == nil && key.Verify(v.Msg, v.Sig) == nil)
				}
			}
			n.finish(t, f.NumberOfTests)
		})
	}
}
