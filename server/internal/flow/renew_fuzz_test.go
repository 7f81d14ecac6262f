package flow

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// ENR-11: whatever the body of a renewal is, it is taken only for the device that
// the connection proved, by the key of its certificate.
func FuzzRenewalBody(f *testing.F) {
	keys := make([]*ecdsa.PrivateKey, 3)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			f.Fatal(err)
		}
	}
	csr, err := certs.NewRequest("edge-1", keys[1])
	if err != nil {
		f.Fatal(err)
	}
	fingerprint := certs.Fingerprint([]byte("a certificate"))
	env, err := signing.SignRenewal(f.Context(), signing.Renewal{RequestID: "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d", DeviceID: "edge-1",
		EnrollmentID: "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3e", Current: fingerprint, CSR: csr}, keys[0], keys[1])
	if err != nil {
		f.Fatal(err)
	}
	good, err := env.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"payloadType":"","payload":"","signatures":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, req, err := readRenewal(body, "edge-1", func(r *signing.Renewal) (crypto.PublicKey, error) {
			if r.Recovery || r.Current != fingerprint {
				return nil, ErrRenewal
			}
			return keys[0].Public(), nil
		})
		if err == nil && (r.DeviceID != "edge-1" || r.Current != fingerprint || !keys[1].PublicKey.Equal(req.PublicKey)) {
			t.Fatalf("taken: %+v", r)
		}
		if _, _, err := readRenewal(body, "edge-1", func(*signing.Renewal) (crypto.PublicKey, error) { return keys[2].Public(), nil }); err == nil {
			t.Fatal("taken by a key that did not sign")
		}
	})
}
