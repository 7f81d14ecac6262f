package attestation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// Limits of the folder of makers: the world has some dozens of them.
const (
	maxRootFiles = 500
	maxRootFile  = 256 << 10
)

// maxEndorserBits bounds the RSA keys between a TPM's certificate and a root: makers use
// 2048 to 4096 bits. A hundred signatures, all that crypto/x509 tries, take under 20 ms then.
const maxEndorserBits = 4096

var (
	subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	// tcg-kp-EKCertificate (TCG EK Credential Profile, section 3.2.16).
	endorsementUse = asn1.ObjectIdentifier{2, 23, 133, 8, 1}
)

// Makers are the makers of TPMs that are believed.
type Makers struct {
	roots, between *x509.CertPool
	count          int
}

// NewMakers believes these certificates: those that a maker signed itself are roots,
// the others only lead to one.
func NewMakers(certificates ...*x509.Certificate) *Makers {
	m := &Makers{roots: x509.NewCertPool(), between: x509.NewCertPool()}
	for _, c := range certificates {
		if c.CheckSignatureFrom(c) == nil {
			m.roots.AddCert(c)
			m.count++
		} else {
			m.between.AddCert(c)
		}
	}
	return m
}

// LoadMakers reads the makers' certificates, in PEM, from the files of a folder. A
// file that is something else is an error: it was meant to count.
func LoadMakers(dir string) (*Makers, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("the makers of TPMs: %w", err)
	}
	if len(entries) > maxRootFiles {
		return nil, fmt.Errorf("the makers of TPMs: %s has more than %d files", dir, maxRootFiles)
	}
	var all []*x509.Certificate
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		list, err := readCertificates(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("the makers of TPMs: %s: %w", e.Name(), err)
		}
		all = append(all, list...)
	}
	m := NewMakers(all...)
	if m.count == 0 {
		return nil, fmt.Errorf("the makers of TPMs: %s holds no root certificate; put the makers' there, in PEM", dir)
	}
	return m, nil
}

func readCertificates(path string) (list []*x509.Certificate, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxRootFile+1))
	if err != nil || len(data) > maxRootFile {
		return nil, fmt.Errorf("it cannot be read, or is larger than %d bytes", maxRootFile)
	}
	for len(data) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, errors.New("it is not certificates in PEM")
		}
		list = append(list, c)
	}
	if list == nil {
		return nil, errors.New("it is not certificates in PEM")
	}
	return list, nil
}

// Endorsement is the key that a maker vouches for: one TPM has it, and no other.
type Endorsement struct {
	Digest string // SHA-256 of the public key's PKIX DER, lower-case hex
	Issuer string // who vouches, for people
	area   *tpm2.TPMTPublic
}

// Judge makes sure that a maker vouches for the key of a TPM: its certificate is for
// that use, in date, and leads to a root by the certificates between. It is
// ErrEndorsement otherwise. A nil Makers believes nobody: ErrOff.
func (m *Makers) Judge(certificate []byte, between [][]byte, now time.Time) (*Endorsement, error) {
	if m == nil {
		return nil, ErrOff
	}
	leaf, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be read", ErrEndorsement)
	}
	// The name of the TPM's make stands in a subject alternative name of a form that
	// crypto/x509 does not read; it is often critical, since the subject is empty.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(leaf.UnhandledCriticalExtensions, subjectAltName.Equal)
	if leaf.IsCA || !slices.ContainsFunc(leaf.UnknownExtKeyUsage, endorsementUse.Equal) {
		return nil, fmt.Errorf("%w: it is not for an endorsement key", ErrEndorsement)
	}
	pool := m.between.Clone()
	for _, der := range between {
		if c, err := x509.ParseCertificate(der); err == nil && quick(c.PublicKey) { // what cannot be read leads nowhere
			pool.AddCert(c)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: m.roots, Intermediates: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEndorsement, err)
	}
	area, err := endorsementArea(leaf.PublicKey)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return &Endorsement{Digest: hex.EncodeToString(sum[:]), Issuer: leaf.Issuer.String(), area: area}, nil
}

// quick reports whether signatures of a key are verified in little time. A device names
// its maker's certificates itself, and each may be tried many times over; those that the
// operator put there may have any key.
func quick(public any) bool {
	key, ok := public.(*rsa.PublicKey)
	return !ok || key.N.BitLen() <= maxEndorserBits && key.E <= 65537
}

// endorsementArea is the public area that a TPM makes of its seed for this key, by the
// default templates (TCG EK Credential Profile, sections B.3.3 and B.3.4). It is built
// from the certificate alone: nothing that a device says of its endorsement key counts.
func endorsementArea(public any) (*tpm2.TPMTPublic, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() == 2048 && key.E == 65537 {
			area := tpm2.RSAEKTemplate
			area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: key.N.FillBytes(make([]byte, 256))})
			return &area, nil
		}
	case *ecdsa.PublicKey:
		if point, err := key.Bytes(); err == nil && key.Curve == elliptic.P256() {
			area := tpm2.ECCEKTemplate
			area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
			})
			return &area, nil
		}
	}
	return nil, fmt.Errorf("%w: its key is neither RSA of 2048 bits nor ECDSA on P-256", ErrEndorsement)
}

// Riddle seals a secret so that only the endorsement key's TPM opens it, and only if
// that holds the key with this name too.
func (e *Endorsement) Riddle(random io.Reader, name, secret []byte) (credential, seed []byte, err error) {
	key, err := tpm2.ImportEncapsulationKey(e.area)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrEndorsement, err)
	}
	return tpm2.CreateCredential(random, key, name, secret)
}
