package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"sync"
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

// IssueDevice signs a device certificate that ends life after now, and has it
// checked. It must be recorded before it is handed out.
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
	if err := certs.LintDevice(der, a.Certificate, t); err != nil {
		return nil, fmt.Errorf("the certificate made for %s is not as asked and stays here: %w", deviceID, err)
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
	key := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return &Issued{Chain: [][]byte{der, a.Certificate.Raw}, Certificate: Certificate{
		KeyDigest:   hex.EncodeToString(key[:]),
		Fingerprint: certs.Fingerprint(der), Serial: fmt.Sprintf("%x", cert.SerialNumber), Kind: kind,
		DeviceID: deviceID, EnrollmentID: enrollmentID, AuthorityID: a.id, DER: der,
		NotBefore: db.At(cert.NotBefore), NotAfter: db.At(cert.NotAfter), IssuedAt: db.At(now),
	}}, nil
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

// ServerCertificate keeps the machine listener's own certificate: made at the
// first call, renewed when two thirds of its life are over. Its key lives in this
// process only.
type ServerCertificate struct {
	s     *Service
	names []string
	life  time.Duration

	mu      sync.Mutex
	current *tls.Certificate
	issuer  string // id of the authority that issued it
	renewAt time.Time
}

// ServerCertificate serves the given DNS names and addresses with certificates
// of the given life.
func (s *Service) ServerCertificate(names []string, life time.Duration) *ServerCertificate {
	return &ServerCertificate{s: s, names: names, life: life}
}

// Get is the certificate to present, for tls.Config.GetCertificate.
func (c *ServerCertificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := c.s.d.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	a, err := c.s.active(certs.KindServer)
	if err != nil {
		return nil, err
	}
	if c.current != nil && c.issuer == a.id && now.Before(c.renewAt) {
		return c.current, nil
	}
	fresh, err := c.issue(a, now)
	if err != nil {
		return nil, err
	}
	c.current, c.issuer, c.renewAt = fresh, a.id, now.Add(c.life*2/3)
	return fresh, nil
}

func (c *ServerCertificate) issue(a authority, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := certs.ServerTemplate{PublicKey: key.Public()}
	t.NotBefore, t.NotAfter = validity(now, c.life)
	for _, name := range c.names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPs = append(t.IPs, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	der, err := certs.IssueServer(a.CA, t)
	if err != nil {
		return nil, fmt.Errorf("issue the server's certificate: %w", err)
	}
	if err := certs.LintServer(der, a.Certificate, t); err != nil {
		return nil, fmt.Errorf("the server's certificate is not as asked: %w", err)
	}
	rec, err := issued(a, certs.KindServer, der, "", "", now)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return Record(ctx, tx, rec) }); err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: rec.Chain, PrivateKey: key, Leaf: leaf}, nil
}
