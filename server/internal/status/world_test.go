package status

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func p256() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func parsed(der []byte) *x509.Certificate { return must(x509.ParseCertificate(der)) }

// issuerWith is an issuing authority of devices with this key.
func issuerWith(key crypto.Signer) certs.CA {
	root := p256()
	rootCert := parsed(must(certs.NewRootCA("root", root, noon, 24*365*time.Hour)))
	der := must(certs.NewIssuingCA(certs.KindDevice, "devices", "fleet.test", certs.CA{Certificate: rootCert, Signer: root}, key.Public(), noon, 24*300*time.Hour))
	return certs.CA{Certificate: parsed(der), Signer: key}
}

func newIssuer() certs.CA { return issuerWith(p256()) }

func ed() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
}

func responderOf(t *testing.T, issuer certs.CA) certs.CA {
	t.Helper()
	key := p256()
	template := certs.ResponderTemplate{PublicKey: key.Public()}
	template.NotBefore, template.NotAfter = certs.Validity(noon.Add(-time.Hour), 24*time.Hour)
	return certs.CA{Certificate: parsed(must(certs.IssueResponder(issuer, template))), Signer: key}
}
