package pki

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// Backdate is how long before now a certificate begins, for devices whose clock
// is a little slow.
const Backdate = 5 * time.Minute

// Issued is a certificate that was signed and checked, but not recorded.
type Issued struct {
	Certificate
	Chain [][]byte // DER, itself first, then its issuer
}

// IssueDevice signs a device certificate that ends life after now; certs has it
// checked before it returns. It must be recorded before it is handed out.
func (s *Service) IssueDevice(deviceID, enrollmentID string, pub crypto.PublicKey, now time.Time, life time.Duration) (*Issued, error) {
	a, err := s.active(certs.KindDevice)
	if err != nil {
		return nil, err
	}
	t := certs.DeviceTemplate{DeviceID: deviceID, TrustDomain: s.trustDomain, PublicKey: pub}
	t.NotBefore, t.NotAfter = validity(now, life)
	der, err := certs.IssueDevice(a.CA, t)
	if err != nil {
		return nil, fmt.Errorf("issue for %s: %w", deviceID, err)
	}
	return issued(a, certs.KindDevice, der, deviceID, enrollmentID, now)
}

// validity is the first and the last second, both included (RFC 5280 section
// 4.1.2.5), of a life that starts now.
func validity(now time.Time, life time.Duration) (notBefore, notAfter time.Time) {
	now = now.UTC().Truncate(time.Second)
	return now.Add(-Backdate), now.Add(life - time.Second).Truncate(time.Second)
}

func issued(a authority, kind certs.Kind, der []byte, deviceID, enrollmentID string, now time.Time) (*Issued, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Issued{Chain: [][]byte{der, a.Certificate.Raw}, Certificate: Certificate{
		KeyDigest:   digestOf(cert.RawSubjectPublicKeyInfo),
		Fingerprint: certs.Fingerprint(der), Serial: fmt.Sprintf("%x", cert.SerialNumber), Kind: kind,
		DeviceID: deviceID, EnrollmentID: enrollmentID, AuthorityID: a.id, DER: der,
		NotBefore: db.At(cert.NotBefore), NotAfter: db.At(cert.NotAfter), IssuedAt: db.At(now),
	}}, nil
}

// KeyDigest names a public key: lower-case hex of the SHA-256 of its PKIX DER; "" for
// one that has no such form.
func KeyDigest(pub crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return ""
	}
	return digestOf(der)
}

func digestOf(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Record puts issued certificates into the inventory.
func Record(ctx context.Context, tx db.Tx, list ...*Issued) error {
	rows := make([]*Certificate, len(list))
	for i, c := range list {
		rows[i] = &c.Certificate
	}
	return insertCertificates(ctx, tx, rows)
}

// Chain is what the holder of a recorded certificate presents.
func (s *Service) Chain(ctx context.Context, c Certificate) ([][]byte, error) {
	rows, err := authorities(ctx, s.d.Read())
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.ID == c.AuthorityID {
			return [][]byte{c.DER, row.Certificate}, nil
		}
	}
	return nil, fmt.Errorf("certificate %s: its authority is not on record", c.Fingerprint)
}
