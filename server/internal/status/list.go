package status

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// ErrLint says that what was signed is not what was asked for. It does not leave.
var ErrLint = errors.New("what was signed is not what was asked for")

// Revoked is a certificate that is revoked.
type Revoked struct {
	Serial *big.Int
	At     time.Time // in whole seconds
	Reason Reason
}

// List is all that a CRL says, beside its issuer.
type List struct {
	Number                 int64
	ThisUpdate, NextUpdate time.Time // in whole seconds
	Entries                []Revoked
}

// SignList writes and signs a CRL and returns its DER. It has passed LintList.
// Entries are put in the order of their serial numbers, in place.
func SignList(ca certs.CA, l List) ([]byte, error) {
	slices.SortFunc(l.Entries, func(a, b Revoked) int { return a.Serial.Cmp(b.Serial) })
	t := &x509.RevocationList{Number: big.NewInt(l.Number), ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate}
	for _, e := range l.Entries {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: e.Serial, RevocationTime: e.At, ReasonCode: int(e.Reason)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, t, ca.Certificate, ca.Signer)
	if err != nil {
		return nil, fmt.Errorf("sign the revocation list: %w", err)
	}
	return der, LintList(der, ca.Certificate, l)
}

// ReadList reads a CRL that somebody else signed: whole, of this issuer, by its key.
func ReadList(der []byte, issuer *x509.Certificate) (*List, error) {
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("the revocation list cannot be read: %w", err)
	}
	if !bytes.Equal(crl.RawIssuer, issuer.RawSubject) || crl.Number == nil || !crl.Number.IsInt64() {
		return nil, errors.New("the revocation list is not of this issuer, or has no number")
	}
	l := &List{Number: crl.Number.Int64(), ThisUpdate: crl.ThisUpdate, NextUpdate: crl.NextUpdate}
	for _, e := range crl.RevokedCertificateEntries {
		l.Entries = append(l.Entries, Revoked{e.SerialNumber, e.RevocationTime, Reason(e.ReasonCode)})
	}
	return l, LintList(der, issuer, *l)
}
