package revocation

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// MaxList is the longest revocation list that is taken, in octets: room for half a
// million entries.
const MaxList = 32 << 20

// skew is how far ahead of this server's clock another's may be.
const skew = 5 * time.Minute

// onHold is the reason that may be taken back (RFC 5280 section 5.3.1, certificateHold).
const onHold = 6

// ErrList says that a revocation list cannot be relied on.
var ErrList = errors.New("the revocation list cannot be relied on")

var (
	oidListNumber    = encoding.ObjectIdentifier{2, 5, 29, 20}
	oidReason        = encoding.ObjectIdentifier{2, 5, 29, 21}
	oidDelta         = encoding.ObjectIdentifier{2, 5, 29, 27}
	oidScope         = encoding.ObjectIdentifier{2, 5, 29, 28} // issuingDistributionPoint
	oidEntryIssuer   = encoding.ObjectIdentifier{2, 5, 29, 29}
	oidAuthorityKey  = encoding.ObjectIdentifier{2, 5, 29, 35}
	errNotUnderstood = errors.New("says something critical that is not understood")
)

// List is a revocation list that was verified.
type List struct {
	Issuer                 *x509.Certificate
	Number                 *big.Int // nil: it has none
	ThisUpdate, NextUpdate time.Time
	Raw                    []byte // DER

	scope   scope
	revoked map[string]int // reasons, by serial number
}

// scope is what a list is about (RFC 5280 section 5.2.5).
type scope struct {
	usersOnly, authoritiesOnly bool
	points                     []string // distribution points by URI; none: every certificate
}

// ReadList verifies a list, in DER or PEM, of one of these issuers at a time.
func ReadList(data []byte, issuers []*x509.Certificate, now time.Time) (*List, error) {
	if len(data) > MaxList {
		return nil, fmt.Errorf("%w: it is longer than %d octets", ErrList, MaxList)
	}
	if block, rest := pem.Decode(data); block != nil {
		if block.Type != "X509 CRL" || len(bytes.TrimSpace(rest)) > 0 {
			return nil, fmt.Errorf("%w: it is not one list in PEM", ErrList)
		}
		data = block.Bytes
	}
	crl, err := x509.ParseRevocationList(data)
	if err != nil || len(crl.Raw) != len(data) {
		return nil, fmt.Errorf("%w: it cannot be read", ErrList)
	}
	l := &List{Number: crl.Number, ThisUpdate: crl.ThisUpdate, NextUpdate: crl.NextUpdate, Raw: crl.Raw}
	if l.Issuer = signerOf(crl, issuers, now); l.Issuer == nil {
		return nil, fmt.Errorf("%w: none of the authorities that are believed signed it", ErrList)
	}
	switch {
	case !inDate(l.Issuer, now):
		return nil, fmt.Errorf("%w: its authority is out of date", ErrList)
	case l.NextUpdate.IsZero() || !l.NextUpdate.After(l.ThisUpdate):
		return nil, fmt.Errorf("%w: it does not say until when it holds", ErrList)
	case l.ThisUpdate.After(now.Add(skew)):
		return nil, fmt.Errorf("%w: it begins in the future", ErrList)
	}
	if l.scope, err = readExtensions(crl.Extensions); err != nil {
		return nil, fmt.Errorf("%w: it %w", ErrList, err)
	}
	l.revoked = make(map[string]int, len(crl.RevokedCertificateEntries))
	for i := range crl.RevokedCertificateEntries {
		e := &crl.RevokedCertificateEntries[i]
		for _, x := range e.Extensions {
			// RFC 5280 section 5.3: with one that is critical and not understood, the whole list.
			if x.Id.Equal(oidEntryIssuer) || x.Critical && !x.Id.Equal(oidReason) {
				return nil, fmt.Errorf("%w: an entry %w", ErrList, errNotUnderstood)
			}
		}
		if e.ReasonCode == 8 { // removeFromCRL, which only deltas have
			return nil, fmt.Errorf("%w: an entry takes another one back", ErrList)
		}
		serial := string(e.SerialNumber.Bytes())
		if was, twice := l.revoked[serial]; !twice || was == onHold { // said twice, what cannot be taken back counts
			l.revoked[serial] = e.ReasonCode
		}
	}
	return l, nil
}

// signerOf is the one of these authorities whose name and key a list has, and which may
// sign lists; of several certificates of it, one that is in date.
func signerOf(crl *x509.RevocationList, issuers []*x509.Certificate, now time.Time) (signer *x509.Certificate) {
	for _, c := range issuers {
		// CheckSignatureFrom takes an authority without any key usage; we do not.
		if !bytes.Equal(c.RawSubject, crl.RawIssuer) || c.KeyUsage&x509.KeyUsageCRLSign == 0 || crl.CheckSignatureFrom(c) != nil {
			continue
		}
		if inDate(c, now) {
			return c
		}
		signer = c
	}
	return signer
}

func inDate(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// authorityID is a digest of what makes an authority the same one: its name and key. It
// may be certified anew, and have several certificates for a while.
func authorityID(c *x509.Certificate) string {
	return digest(string(c.RawSubject) + string(c.RawSubjectPublicKeyInfo))
}

func sameAuthority(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// readExtensions reads what a list says of itself.
func readExtensions(list []pkix.Extension) (s scope, err error) {
	for _, e := range list {
		switch {
		case e.Id.Equal(oidScope):
			if s, err = readScope(e.Value); err != nil {
				return s, err
			}
		case e.Id.Equal(oidDelta): // critical always (section 5.2.4)
			return s, errors.New("is a delta, which says nothing by itself")
		case e.Critical && !e.Id.Equal(oidListNumber) && !e.Id.Equal(oidAuthorityKey):
			return s, errNotUnderstood
		}
	}
	return s, nil
}

// contextTag is [n] EXPLICIT.
func contextTag(n uint8) asn1.Tag { return asn1.Tag(n).Constructed().ContextSpecific() }

// readScope reads an issuingDistributionPoint. What narrows a list in a way that is not
// followed here makes it useless.
func readScope(der []byte) (s scope, err error) {
	var body, name cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&body, asn1.SEQUENCE) || !in.Empty() {
		return s, errors.New("has a scope that cannot be read")
	}
	if body.PeekASN1Tag(contextTag(0)) {
		if !body.ReadASN1(&name, contextTag(0)) {
			return s, errors.New("has a scope that cannot be read")
		}
		if s.points, err = readPoints(name); err != nil {
			return s, err
		}
	}
	flags := [6]bool{}
	for tag := uint8(1); tag <= 5; tag++ {
		t := asn1.Tag(tag).ContextSpecific()
		if tag == 3 { // onlySomeReasons, a BIT STRING
			var ignored cryptobyte.String
			if flags[3] = body.PeekASN1Tag(t); flags[3] && !body.ReadASN1(&ignored, t) {
				return s, errors.New("has a scope that cannot be read")
			}
			continue
		}
		var value cryptobyte.String
		if body.PeekASN1Tag(t) {
			if !body.ReadASN1(&value, t) || len(value) != 1 || value[0] != 0xff && value[0] != 0 {
				return s, errors.New("has a scope that cannot be read")
			}
			flags[tag] = value[0] == 0xff
		}
	}
	switch {
	case !body.Empty():
		return s, errors.New("has a scope that cannot be read")
	case flags[3]:
		return s, errors.New("is about some reasons only")
	case flags[4]:
		return s, errors.New("is an indirect one")
	case flags[5]:
		return s, errors.New("is about attribute certificates")
	case flags[1] && flags[2]:
		return s, errors.New("is about nothing")
	}
	s.usersOnly, s.authoritiesOnly = flags[1], flags[2]
	return s, nil
}

// readPoints reads a DistributionPointName: full names that are URIs.
func readPoints(name cryptobyte.String) (points []string, err error) {
	var full, one cryptobyte.String
	if !name.ReadASN1(&full, contextTag(0)) || !name.Empty() {
		return nil, errors.New("has a scope by a name that is not followed")
	}
	for !full.Empty() {
		var tag asn1.Tag
		if !full.ReadAnyASN1(&one, &tag) {
			return nil, errors.New("has a scope that cannot be read")
		}
		if tag == asn1.Tag(6).ContextSpecific() {
			points = append(points, string(one))
		}
	}
	if points == nil {
		return nil, errors.New("has a scope by a name that is not followed")
	}
	return points, nil
}

// covers reports whether the list is about a certificate.
func (l *List) covers(c *x509.Certificate) bool {
	switch {
	case l.scope.usersOnly && c.IsCA, l.scope.authoritiesOnly && !c.IsCA:
		return false
	case len(l.scope.points) == 0:
		return true
	}
	return slices.ContainsFunc(c.CRLDistributionPoints, func(p string) bool { return slices.Contains(l.scope.points, p) })
}

// reason is why a certificate is revoked by the list.
func (l *List) reason(c *x509.Certificate) (reason int, revoked bool) {
	reason, revoked = l.revoked[string(c.SerialNumber.Bytes())]
	return reason, revoked
}

// Entries is how many certificates are revoked by the list.
func (l *List) Entries() int { return len(l.revoked) }

// mark is how far the lists of one authority had come at a source.
type mark struct {
	number     *big.Int
	thisUpdate time.Time
}

// follows reports whether the list may come after those of its authority that were at
// the same source before.
func (l *List) follows(before mark) bool {
	if before.number != nil && (l.Number == nil || l.Number.Cmp(before.number) < 0) {
		return false
	}
	return !l.ThisUpdate.Before(before.thisUpdate)
}
