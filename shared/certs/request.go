package certs

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Request is a certificate request that was judged. Of what it says only the
// public key is used.
type Request struct {
	DER       []byte
	Digest    string // SHA-256 of DER, lower-case hex: what an approval binds to
	PublicKey crypto.PublicKey
	SPKI      []byte // PKIX DER of PublicKey
	KeyCode   string // see KeyCode
}

// NewRequest makes a request for the device's certificate, signed by its key. It
// holds the name and the key, no attributes.
func NewRequest(deviceID string, key crypto.Signer) ([]byte, error) {
	if err := protocol.CheckDeviceID(deviceID); err != nil {
		return nil, err
	}
	if err := CheckPublicKey(key.Public()); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: deviceID},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// ParseRequest judges a PKCS#10 request (RFC 2986) in DER. It must name the
// device and nothing else, hold a key that CheckPublicKey takes, ask for no
// extension or attribute, and be signed by that key. The first thing wrong is
// returned as one of ErrCSRMalformed, ErrWeakKey, ErrWrongName, ErrExtraNames and
// ErrCSRSignature, or protocol.ErrDeviceID.
func ParseRequest(der []byte, deviceID string) (*Request, error) {
	r, csr, err := readRequest(der, deviceID)
	if err != nil {
		return nil, err
	}
	if err := checkOwnSignature(csr); err != nil {
		return nil, err
	}
	return r, nil
}

// ParseProvenRequest is ParseRequest without ErrCSRSignature, for who has another
// proof that the key's holder asked: a signature by it over a text that holds der.
func ParseProvenRequest(der []byte, deviceID string) (*Request, error) {
	r, _, err := readRequest(der, deviceID)
	return r, err
}

func readRequest(der []byte, deviceID string) (*Request, *x509.CertificateRequest, error) {
	if err := protocol.CheckDeviceID(deviceID); err != nil {
		return nil, nil, err
	}
	if len(der) == 0 || len(der) > protocol.MaxCSR {
		return nil, nil, fmt.Errorf("%w: empty, or longer than %d bytes", ErrCSRMalformed, protocol.MaxCSR)
	}
	// The library passes over what follows the last element.
	if parts, err := children(der); err != nil || len(parts) != 3 {
		return nil, nil, ErrCSRMalformed
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, nil, ErrCSRMalformed // its text may quote the request
	}
	if err := CheckPublicKey(csr.PublicKey); err != nil {
		return nil, nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(csr.PublicKey)
	if err != nil || !bytes.Equal(spki, csr.RawSubjectPublicKeyInfo) {
		return nil, nil, ErrCSRMalformed
	}
	if !namesOnly(csr.RawSubject, deviceID) {
		if len(csr.Subject.Names) > 1 {
			return nil, nil, ErrExtraNames
		}
		return nil, nil, ErrWrongName
	}
	if err := checkBody(csr); err != nil {
		return nil, nil, err
	}
	code, err := KeyCode(csr.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(der)
	return &Request{
		DER:       bytes.Clone(der),
		Digest:    hex.EncodeToString(sum[:]),
		PublicKey: csr.PublicKey,
		SPKI:      spki,
		KeyCode:   code,
	}, csr, nil
}

// checkBody compares the signed part with the only one possible for its name and
// key: version 0, name, key, an empty set of attributes (RFC 2986 section 4.1).
func checkBody(csr *x509.CertificateRequest) error {
	version, none := []byte{0x02, 0x01, 0x00}, tlv(0xa0)
	want := tlv(0x30, version, csr.RawSubject, csr.RawSubjectPublicKeyInfo, none)
	if bytes.Equal(csr.RawTBSCertificateRequest, want) {
		return nil
	}
	body, err := children(csr.RawTBSCertificateRequest)
	if err != nil || len(body) != 4 || !bytes.Equal(body[0].FullBytes, version) {
		return ErrCSRMalformed
	}
	return ErrExtraNames
}

// checkOwnSignature proves possession of the key. The list keeps SHA-1 out, which
// x509 would still take for requests.
func checkOwnSignature(csr *x509.CertificateRequest) error {
	switch csr.SignatureAlgorithm {
	case x509.PureEd25519, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
	default:
		return ErrCSRSignature
	}
	if err := csr.CheckSignature(); err != nil {
		return ErrCSRSignature
	}
	return nil
}
