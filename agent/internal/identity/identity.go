package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

const (
	chainFile = "certificate.pem"
	chainType = "CERTIFICATE" // RFC 7468 section 5
	maxChain  = certs.MaxPresented * 2 * certs.MaxCertificate
)

// ErrBadCertificate means that the certificate on disk is missing, damaged or not of the
// device's key.
var ErrBadCertificate = errors.New("the device's certificate cannot be used")

// Identity is the key with the certificate that goes with it.
type Identity struct {
	Key  crypto.Signer
	Leaf *x509.Certificate

	presented tls.Certificate
}

// StoreChain stores the certificate chain of an enrollment in DER, the device's
// own first.
func StoreChain(dir string, chain [][]byte) error { return StoreChainIn(dir, journal.SlotA, chain) }

// StoreChainIn stores the chain in a slot, as StoreChain does.
func StoreChainIn(dir string, slot journal.Slot, chain [][]byte) error {
	var b bytes.Buffer
	for _, der := range chain {
		if err := pem.Encode(&b, &pem.Block{Type: chainType, Bytes: der}); err != nil {
			return fmt.Errorf("store the device's certificate: %w", err)
		}
	}
	// Private only because everything here is.
	if err := files.Replace(filepath.Join(dir, in(slot, chainFile)), b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("store the device's certificate: %w", err)
	}
	return nil
}

// Load reads the key and certificate in use and makes sure that they belong
// together. It does not judge the certificate's dates: an expired one still tells
// the server who asks.
func Load(dir string) (*Identity, error) {
	slot, err := inUse(dir)
	if err != nil {
		return nil, err
	}
	return LoadIn(dir, slot)
}

// LoadIn reads what is in a slot, as Load does.
func LoadIn(dir string, slot journal.Slot) (*Identity, error) {
	key, err := LoadKeyIn(dir, slot)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, in(slot, chainFile))
	data, err := files.ReadPrivate(path, maxChain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadCertificate, err)
	}
	chain, err := ParseChain(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBadCertificate, path, err)
	}
	if !Matches(chain[0], key) {
		return nil, fmt.Errorf("%w: it is of another key", ErrBadCertificate)
	}
	id := &Identity{Key: key, Leaf: chain[0]}
	id.presented = tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		id.presented.Certificate = append(id.presented.Certificate, c.Raw)
	}
	return id, nil
}

// LoadCertificate reads the certificate in use alone, for showing: that of the first
// slot when the journal cannot be read.
func LoadCertificate(dir string) (*x509.Certificate, error) {
	slot, err := inUse(dir)
	if err != nil {
		slot = journal.SlotA
	}
	data, err := files.ReadPrivate(filepath.Join(dir, in(slot, chainFile)), maxChain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadCertificate, err)
	}
	chain, err := ParseChain(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadCertificate, err)
	}
	return chain[0], nil
}

// ParseChain reads 1 to certs.MaxPresented certificates in PEM and nothing else.
func ParseChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for len(data) > 0 {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != chainType || len(chain) == certs.MaxPresented {
			return nil, fmt.Errorf("it is not 1 to %d certificates in PEM", certs.MaxPresented)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("one of its certificates cannot be read")
		}
		chain, data = append(chain, c), rest
	}
	if chain == nil {
		return nil, errors.New("it is empty")
	}
	return chain, nil
}

// Matches says whether the certificate is of the key.
func Matches(c *x509.Certificate, key crypto.Signer) bool {
	pub, ok := c.PublicKey.(*ecdsa.PublicKey)
	return ok && pub.Equal(key.Public())
}

// Present is the tls.Config.GetClientCertificate of the device. The server's wish
// for certain issuers is not looked at: there is one certificate, and the server
// answers what it thinks of it.
func (id *Identity) Present(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return &id.presented, nil
}
