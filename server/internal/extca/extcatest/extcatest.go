// Package extcatest is another authority than ours, for tests: it issues what it is told
// to, right or wrong.
package extcatest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is an authority.
type CA struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	Chain       []*x509.Certificate // itself first, up to the root

	serial int64
}

// Key makes a key that devices have.
func Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// NewRoot makes a root that is valid for ten years around now.
func NewRoot(t testing.TB, name string, now time.Time, change func(*x509.Certificate)) *CA {
	t.Helper()
	return make1(t, name, now, nil, change, Key(t))
}

// Sub makes an authority below.
func (c *CA) Sub(t testing.TB, name string, now time.Time, change func(*x509.Certificate)) *CA {
	t.Helper()
	return make1(t, name, now, c, change, Key(t))
}

// SubWith is Sub with a key of any kind.
func (c *CA) SubWith(t testing.TB, name string, now time.Time, key crypto.Signer) *CA {
	t.Helper()
	return make1(t, name, now, c, nil, key)
}

func make1(t testing.TB, name string, now time.Time, above *CA, change func(*x509.Certificate), key crypto.Signer) *CA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{Organization: []string{"Other"}, CommonName: name},
		NotBefore: now.AddDate(-5, 0, 0).Truncate(time.Second), NotAfter: now.AddDate(5, 0, 0).Truncate(time.Second),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if change != nil {
		change(template)
	}
	c := &CA{Key: key}
	parent, signer := template, key
	if above != nil {
		parent, signer = above.Certificate, above.Key
	}
	c.Certificate = sign(t, template, parent, key.Public(), signer)
	c.Chain = []*x509.Certificate{c.Certificate}
	if above != nil {
		c.Chain = append(c.Chain, above.Chain...)
	}
	return c
}

func sign(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Issue makes a device's certificate, as change makes it: valid for a day from an hour
// before now, for client use, its common name the device_id.
func (c *CA) Issue(t testing.TB, id string, pub crypto.PublicKey, now time.Time, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + c.serial), Subject: pkix.Name{Organization: []string{"Other"}, CommonName: id},
		NotBefore: now.Add(-time.Hour).Truncate(time.Second), NotAfter: now.Add(24 * time.Hour).Truncate(time.Second),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	return sign(t, template, c.Certificate, pub, c.Key)
}

// CRL signs a revocation list that revokes these certificates.
func (c *CA) CRL(t testing.TB, number int64, from, to time.Time, revoked ...*x509.Certificate) []byte {
	t.Helper()
	return c.CRLWith(t, func(l *x509.RevocationList) {
		l.Number, l.ThisUpdate, l.NextUpdate = big.NewInt(number), from, to
		for _, r := range revoked {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.SerialNumber, RevocationTime: from, ReasonCode: 1})
		}
	})
}

// CRLWith signs a revocation list as change makes it.
func (c *CA) CRLWith(t testing.TB, change func(*x509.RevocationList)) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1)}
	change(l)
	der, err := x509.CreateRevocationList(rand.Reader, l, c.Certificate, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// PEM is certificates in a file's form.
func PEM(list ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range list {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}

// File writes a file and says where it is.
func File(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// KeyPEM is a key in a file's form.
func KeyPEM(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
