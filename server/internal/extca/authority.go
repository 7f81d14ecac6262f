package extca

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	encoding "encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

const (
	// MaxAuthorities is how many certificates of authorities are taken, issuing ones and
	// those above together.
	MaxAuthorities = 16
	// maxFile is room for that many.
	maxFile = MaxAuthorities * 2 * maxCA
	// maxCA is the longest certificate of an authority, in octets.
	maxCA = 8 << 10
	// maxLeaf is the longest certificate of a device. Those of other authorities say more
	// than ours.
	maxLeaf = 8 << 10
	// The sizes of RSA keys of authorities, in bits. Above, verifying costs much; devices
	// have none at all (certs.CheckPublicKey).
	leastRSA, mostRSA = 2048, 4096
)

// Settings are what an operator says of the authority.
type Settings struct {
	Issuers    []string // files with the authorities that issue to devices, in PEM
	Above      []string // files with what lies above them, roots included; none: the issuers are believed themselves
	Usages     []string // words of usageNames, or object identifiers; each must be in the certificate
	Name       NameKind
	Pattern    string // "" is Placeholder alone
	CommonName bool   // the common name must be the device_id too
}

// Authority judges certificates. It is safe for concurrent use.
type Authority struct {
	issuers []*x509.Certificate
	above   []*x509.Certificate
	usages  []encoding.ObjectIdentifier
	name    NameKind
	pattern pattern
	common  bool
}

// usageNames are the usages that have a word (RFC 5280 section 4.2.1.12).
var usageNames = map[string]encoding.ObjectIdentifier{
	"client-auth": {1, 3, 6, 1, 5, 5, 7, 3, 2},
	"server-auth": {1, 3, 6, 1, 5, 5, 7, 3, 1},
}

var (
	oidAnyUsage = encoding.ObjectIdentifier{2, 5, 29, 37, 0}
	oidUsages   = encoding.ObjectIdentifier{2, 5, 29, 37}
)

// New reads the files that the settings name. Its errors are for the operator.
func New(s Settings) (*Authority, error) {
	a := &Authority{name: s.Name, common: s.CommonName}
	var err error
	if a.pattern, err = parsePattern(s.Name, s.Pattern); err != nil {
		return nil, err
	}
	if a.usages, err = ParseUsages(s.Usages); err != nil {
		return nil, err
	}
	if a.issuers, err = readCAs(s.Issuers); err != nil {
		return nil, err
	}
	if len(a.issuers) == 0 {
		return nil, errors.New("no authority that issues to devices is named")
	}
	if a.above, err = readCAs(s.Above); err != nil {
		return nil, err
	}
	if len(a.issuers)+len(a.above) > MaxAuthorities {
		return nil, fmt.Errorf("more than %d certificates of authorities are named", MaxAuthorities)
	}
	if len(a.above) > 0 && !slices.ContainsFunc(a.above, selfIssued) {
		return nil, errors.New("none of the certificates above the issuing authorities is a root: its own issuer")
	}
	return a, nil
}

// CheckName says whether a pattern fits its kind of names.
func CheckName(kind NameKind, text string) error {
	_, err := parsePattern(kind, text)
	return err
}

// ParseUsages reads usages: words, or object identifiers in digits and dots.
func ParseUsages(list []string) (usages []encoding.ObjectIdentifier, err error) {
	for _, text := range list {
		oid, ok := usageNames[text]
		if !ok {
			if oid, ok = parseOID(text); !ok || oid.Equal(oidAnyUsage) {
				return nil, fmt.Errorf("%q is no usage: write client-auth, or an object identifier such as 1.3.6.1.4.1.311.20.2.2", text)
			}
		}
		usages = append(usages, oid)
	}
	if len(usages) == 0 || len(usages) > 8 {
		return nil, errors.New("1 to 8 usages are asked for")
	}
	return usages, nil
}

func parseOID(text string) (oid encoding.ObjectIdentifier, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) < 3 || len(parts) > 20 {
		return nil, false
	}
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != p {
			return nil, false
		}
		oid = append(oid, int(n))
	}
	return oid, oid[0] <= 2 && (oid[0] == 2 || oid[1] < 40)
}

func readCAs(paths []string) (list []*x509.Certificate, err error) {
	for _, path := range paths {
		data, err := readFile(path)
		if err != nil {
			return nil, err
		}
		found, err := ParseCAs(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, c := range found {
			if !slices.ContainsFunc(list, c.Equal) {
				list = append(list, c)
			}
		}
	}
	return list, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is longer than %d octets", path, maxFile)
	}
	return data, err
}

// ParseCAs reads certificates of authorities in PEM and nothing else.
func ParseCAs(data []byte) (list []*x509.Certificate, err error) {
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE" || len(list) == MaxAuthorities {
			return nil, fmt.Errorf("it is not 1 to %d certificates in PEM", MaxAuthorities)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || len(block.Bytes) > maxCA {
			return nil, fmt.Errorf("certificate %d cannot be read", len(list)+1)
		}
		if err := fitCA(c); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(list)+1, err)
		}
		list, data = append(list, c), rest
	}
	if list == nil {
		return nil, errors.New("it is empty")
	}
	return list, nil
}

// fitCA says why a certificate is not that of an authority whose word is taken.
func fitCA(c *x509.Certificate) error {
	switch {
	case c.Version != 3 || !c.BasicConstraintsValid || !c.IsCA:
		return fmt.Errorf("%w: its basic constraints do not say that it is one", certs.ErrNotCA)
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("%w: its key usage does not let it sign certificates", certs.ErrNotCA)
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("%w: it has a critical extension that is not understood", certs.ErrNotCA)
	}
	return fitKey(c)
}

func fitKey(c *x509.Certificate) error {
	if key, ok := c.PublicKey.(*rsa.PublicKey); ok {
		if bits := key.N.BitLen(); bits < leastRSA || bits > mostRSA {
			return fmt.Errorf("%w: its RSA key has %d bits, and %d to %d are taken", certs.ErrWeakKey, bits, leastRSA, mostRSA)
		}
		return nil
	}
	return certs.CheckPublicKey(c.PublicKey)
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// Certificates are those of the issuing authorities, and of what lies above.
func (a *Authority) Certificates() (issuers, above []*x509.Certificate) { return a.issuers, a.above }

// Issued reports whether a caller's certificate names one of the issuing authorities.
// It reads one field, to tell who is to judge.
func (a *Authority) Issued(presented []*x509.Certificate) bool {
	return len(presented) > 0 && presented[0] != nil && slices.ContainsFunc(a.issuers, func(c *x509.Certificate) bool {
		return bytes.Equal(c.RawSubject, presented[0].RawIssuer)
	})
}

// Verify judges what a caller presented in the handshake that it proved the key of
// presented[0] in, as certs.VerifyDevice does: identity, dates last. The identity comes
// with its chain.
func (a *Authority) Verify(presented []*x509.Certificate, now time.Time) (certs.Identity, error) {
	if len(presented) == 0 || presented[0] == nil {
		return certs.Identity{}, certs.ErrNoCertificate
	}
	leaf := presented[0]
	switch {
	case len(leaf.Raw) > maxLeaf:
		return certs.Identity{}, notDevice("too long")
	case leaf.NotAfter.Before(leaf.NotBefore):
		return certs.Identity{}, notDevice("validity ends before it begins")
	case certs.CheckPublicKey(leaf.PublicKey) != nil: // before anything costs time
		return certs.Identity{}, notDevice("key type")
	}
	chain, err := a.chain(leaf, now)
	if err != nil {
		return certs.Identity{}, err
	}
	if err := a.fitLeaf(leaf); err != nil {
		return certs.Identity{}, err
	}
	deviceID, err := a.deviceOf(leaf)
	if err != nil {
		return certs.Identity{}, err
	}
	id := certs.Identity{
		DeviceID: deviceID, Fingerprint: certs.Fingerprint(leaf.Raw), Serial: leaf.SerialNumber.Text(16), SPKI: bytes.Clone(leaf.RawSubjectPublicKeyInfo),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		Outside: &certs.Outside{Certificate: leaf, Issuer: chain[1], Chain: chain},
	}
	switch {
	case now.After(leaf.NotAfter):
		return id, certs.ErrExpired
	case now.Before(leaf.NotBefore):
		return id, certs.ErrNotYetValid
	}
	return id, nil
}

// chain is a path from the leaf, over a listed issuer, to an anchor, at a moment when
// the leaf is valid, so that its dates can be judged last. What is out of date itself at
// now counts for nothing.
func (a *Authority) chain(leaf *x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	inDate := func(c *x509.Certificate) bool { return !now.Before(c.NotBefore) && !now.After(c.NotAfter) }
	for _, c := range a.issuers {
		switch {
		case !inDate(c):
		case len(a.above) == 0:
			roots.AddCert(c)
		default:
			between.AddCert(c)
		}
	}
	for _, c := range a.above {
		switch {
		case !inDate(c):
		case selfIssued(c):
			roots.AddCert(c)
		default:
			between.AddCert(c)
		}
	}
	at := now
	if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // judged below: other usages than those that x509 knows may be asked for
	})
	if err != nil {
		var unknown x509.UnknownAuthorityError
		var invalid x509.CertificateInvalidError
		if errors.As(err, &unknown) || errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			return nil, certs.ErrUnknownIssuer
		}
		return nil, notDevice("constraints or a critical extension")
	}
	for _, chain := range chains {
		if len(chain) >= 2 && slices.ContainsFunc(a.issuers, chain[1].Equal) && a.permitted(chain) {
			return chain, nil
		}
	}
	return nil, notDevice("usage, or a key above it")
}

// permitted reports whether everything above a leaf permits what is asked of it.
func (a *Authority) permitted(chain []*x509.Certificate) bool {
	for _, c := range chain[1:] {
		if fitCA(c) != nil {
			return false
		}
		usages, restricted := usagesOf(c)
		if !restricted || containsOID(usages, oidAnyUsage) {
			continue
		}
		for _, u := range a.usages {
			if !containsOID(usages, u) {
				return false
			}
		}
	}
	return true
}

// fitLeaf judges what a device's certificate says beside its name.
func (a *Authority) fitLeaf(leaf *x509.Certificate) error {
	switch {
	case leaf.Version != 3 || leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0:
		return notDevice("it is, or could be, a CA")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0: // not every authority lists it
		return notDevice("key usage")
	}
	usages, restricted := usagesOf(leaf)
	if !restricted || containsOID(usages, oidAnyUsage) {
		return notDevice("extended key usage")
	}
	for _, u := range a.usages {
		if !containsOID(usages, u) {
			return notDevice("extended key usage")
		}
	}
	return nil
}

// deviceOf reads the one name that is the device's.
func (a *Authority) deviceOf(leaf *x509.Certificate) (string, error) {
	list := names(leaf, a.name)
	if len(list) != 1 {
		return "", notDevice("names")
	}
	id, ok := a.pattern.deviceID(list[0])
	if !ok {
		return "", notDevice("name")
	}
	if common := commonNames(leaf); a.common && (len(common) != 1 || common[0] != id) {
		return "", notDevice("common name")
	}
	return id, nil
}

// usagesOf reads the extended key usages as they stand; false when there are none.
func usagesOf(c *x509.Certificate) (list []encoding.ObjectIdentifier, restricted bool) {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidUsages) {
			if _, err := encoding.Unmarshal(e.Value, &list); err != nil {
				list = nil // x509 has read it before; what cannot be read here permits nothing
			}
			return list, true
		}
	}
	return nil, false
}

func containsOID(list []encoding.ObjectIdentifier, oid encoding.ObjectIdentifier) bool {
	return slices.ContainsFunc(list, oid.Equal)
}

func notDevice(what string) error { return fmt.Errorf("%w: %s", certs.ErrNotDevice, what) }
