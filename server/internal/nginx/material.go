package nginx

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// The files of a Material, below the directory that the server writes to.
const (
	PairFile        = "machine.pem"    // chain and key
	AuthoritiesFile = "device-ca.pem"  // the root, then the authorities of devices
	OutsideFile     = "outside-ca.pem" // other authorities of devices, and what lies above them; it may be empty
	ListsFile       = "revocation.pem" // a list of each; empty where one of them has none
	StampFile       = "stamp"          // the digest of the others, written last
)

// maxRead bounds each file: a list of a million entries is 40 MB.
const maxRead = 128 << 20

var (
	// ErrNone says that the server wrote nothing yet.
	ErrNone = errors.New("the server has written nothing for a proxy there; set SENTINEL_TRUST_PROXY_CERT_HEADERS=true and start it")
	// ErrTorn says that the files do not belong together: they are just being written, or
	// somebody changed them.
	ErrTorn = errors.New("the files that the server wrote for a proxy do not belong together")
	// ErrMaterial says that NGINX could not work with them.
	ErrMaterial = errors.New("what the server wrote for a proxy is not in order")
)

// Material is what NGINX goes by.
type Material struct {
	Pair        tls.Certificate // of the machines' name: its own, then its issuer
	Authorities []*x509.Certificate
	Outside     []*x509.Certificate
	// Lists are all or nothing: NGINX lets nobody in who is of an authority without one, or
	// looks at none. None is in order only where there are other authorities, whose lists
	// cannot be had; the server looks at every request.
	Lists []*x509.RevocationList
}

var materialFiles = []string{PairFile, AuthoritiesFile, OutsideFile, ListsFile}

func (m *Material) files() (map[string][]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(m.Pair.PrivateKey)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	var pair, authorities, outside, lists bytes.Buffer
	for _, der := range m.Pair.Certificate {
		write(&pair, "CERTIFICATE", der)
	}
	write(&pair, "PRIVATE KEY", key)
	for _, c := range m.Authorities {
		write(&authorities, "CERTIFICATE", c.Raw)
	}
	for _, c := range m.Outside {
		if anchored(c, m.Outside) {
			write(&outside, "CERTIFICATE", c.Raw)
		} else {
			write(&outside, trusted, append(bytes.Clone(c.Raw), believed...))
		}
	}
	for _, l := range m.Lists {
		write(&lists, "X509 CRL", l.Raw)
	}
	return map[string][]byte{PairFile: pair.Bytes(), AuthoritiesFile: authorities.Bytes(), OutsideFile: outside.Bytes(), ListsFile: lists.Bytes()}, nil
}

// trusted is OpenSSL's form of a certificate that is believed itself, though it is not
// its own issuer: the certificate, and behind it what it is believed for.
const trusted = "TRUSTED CERTIFICATE"

// believed is OpenSSL's X509_CERT_AUX with the one purpose of client certificates
// (RFC 5280 section 4.2.1.12): SEQUENCE { SEQUENCE OF { 1.3.6.1.5.5.7.3.2 } }.
var believed = []byte{0x30, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02}

// anchored reports whether OpenSSL finds a certificate's issuer among others.
func anchored(c *x509.Certificate, among []*x509.Certificate) bool {
	return slices.ContainsFunc(among, func(i *x509.Certificate) bool {
		return bytes.Equal(i.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(i) == nil
	})
}

func write(b *bytes.Buffer, kind string, der []byte) {
	_ = pem.Encode(b, &pem.Block{Type: kind, Bytes: der}) // a buffer takes everything
}

func stamp(files map[string][]byte) []byte {
	all := sha256.New()
	for _, name := range materialFiles {
		sum := sha256.Sum256(files[name])
		all.Write(sum[:])
	}
	return []byte(hex.EncodeToString(all.Sum(nil)) + "\n")
}

// Write leaves the material in a directory of its own, for its owner alone, unless it
// is there already.
func (m *Material) Write(dir string) (changed bool, err error) {
	list, err := m.files()
	if err != nil {
		return false, err
	}
	if before, err := os.ReadFile(filepath.Join(dir, StampFile)); err == nil && bytes.Equal(before, stamp(list)) {
		return false, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	for _, name := range materialFiles {
		if err := files.Replace(filepath.Join(dir, name), list[name], 0o600); err != nil {
			return false, err
		}
	}
	return true, files.Replace(filepath.Join(dir, StampFile), stamp(list), 0o600)
}

// Read reads what Write left.
func Read(dir string) (*Material, error) {
	list := map[string][]byte{}
	for _, name := range append(slices.Clone(materialFiles), StampFile) {
		data, err := readFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w (%s)", ErrNone, dir)
		}
		if err != nil {
			return nil, err
		}
		list[name] = data
	}
	if !bytes.Equal(list[StampFile], stamp(list)) {
		return nil, ErrTorn
	}
	return parse(list)
}

// readFile reads a regular file, and no link to another: who writes here may be less
// than who reads.
func readFile(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) {
		return nil, fmt.Errorf("%s was changed while it was read", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRead+1))
	if err == nil && len(data) > maxRead {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxRead)
	}
	return data, err
}

func parse(list map[string][]byte) (*Material, error) {
	m := &Material{}
	var err error
	if m.Pair, err = tls.X509KeyPair(list[PairFile], list[PairFile]); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMaterial, PairFile, err)
	}
	if m.Pair.Leaf, err = x509.ParseCertificate(m.Pair.Certificate[0]); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMaterial, PairFile, err)
	}
	err = each(list[AuthoritiesFile], "CERTIFICATE", func(der []byte) error {
		c, err := x509.ParseCertificate(der)
		m.Authorities = append(m.Authorities, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMaterial, AuthoritiesFile, err)
	}
	err = each(list[OutsideFile], "", func(der []byte) error {
		c, err := x509.ParseCertificate(bytes.TrimSuffix(der, believed))
		m.Outside = append(m.Outside, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMaterial, OutsideFile, err)
	}
	err = each(list[ListsFile], "X509 CRL", func(der []byte) error {
		l, err := x509.ParseRevocationList(der)
		m.Lists = append(m.Lists, l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMaterial, ListsFile, err)
	}
	return m, nil
}

// each takes a file of PEM blocks of one kind apart; "" are certificates of both kinds.
func each(text []byte, kind string, take func(der []byte) error) error {
	for len(text) > 0 {
		block, rest := pem.Decode(text)
		switch {
		case block == nil || len(block.Headers) > 0,
			kind != "" && block.Type != kind, kind == "" && block.Type != "CERTIFICATE" && block.Type != trusted:
			return fmt.Errorf("it holds something that is no %s", cmp.Or(kind, "CERTIFICATE"))
		}
		if err := take(block.Bytes); err != nil {
			return err
		}
		text = rest
	}
	return nil
}

// Check says whether NGINX can work with it, at a time.
func (m *Material) Check(now time.Time) error {
	leaf := m.Pair.Leaf
	switch {
	case len(m.Pair.Certificate) != 2:
		return fmt.Errorf("%w: the machines' certificate comes without its issuer", ErrMaterial)
	case now.Before(leaf.NotBefore) || now.After(leaf.NotAfter):
		return fmt.Errorf("%w: the machines' certificate is out of date: it ends at %s", ErrMaterial, stampTime(leaf.NotAfter))
	case len(m.Authorities) == 0:
		return fmt.Errorf("%w: there is no authority of devices", ErrMaterial)
	}
	root := m.Authorities[0]
	for _, c := range m.Outside {
		if !c.IsCA {
			return fmt.Errorf("%w: another authority is none", ErrMaterial)
		}
	}
	for _, c := range m.Authorities {
		if !c.IsCA || c.CheckSignatureFrom(root) != nil {
			return fmt.Errorf("%w: an authority is not the root's", ErrMaterial)
		}
		if now.Before(c.NotBefore) || now.After(c.NotAfter) || len(m.Lists) == 0 && len(m.Outside) > 0 {
			continue // whom it issued to is refused anyway; or NGINX looks at no list
		}
		list := m.listOf(c)
		switch {
		case list == nil:
			return fmt.Errorf("%w: an authority has no revocation list; see: sentinel-server ca status", ErrMaterial)
		case !now.Before(list.NextUpdate):
			return fmt.Errorf("%w: a revocation list ended at %s", ErrMaterial, stampTime(list.NextUpdate))
		}
	}
	return nil
}

// listOf is the list that an authority signed, nil for none.
func (m *Material) listOf(ca *x509.Certificate) *x509.RevocationList {
	for _, l := range m.Lists {
		if bytes.Equal(l.RawIssuer, ca.RawSubject) && l.CheckSignatureFrom(ca) == nil {
			return l
		}
	}
	return nil
}

// Ends is when the first list ends; zero without any.
func (m *Material) Ends() (at time.Time) {
	for _, l := range m.Lists {
		if at.IsZero() || l.NextUpdate.Before(at) {
			at = l.NextUpdate
		}
	}
	return at
}

// longWarning is the earliest that somebody is told of a list's end: the root's lasts
// for years, and is made by people.
const longWarning = 90 * 24 * time.Hour

// EndingError says that a list that NGINX goes by ends soon, and was not made anew.
type EndingError struct{ At time.Time }

func (e *EndingError) Error() string {
	return "a revocation list that NGINX goes by ends at " + stampTime(e.At) + ", and there is none after it: NGINX would let no device in any more. Look at: sentinel-server status, and the server's log"
}

// Alarm is an *EndingError when less than a quarter of a list's time is left, or less
// than ninety days of a long one's. Other authorities make theirs when it suits them,
// and many shortly before the end: a twentieth.
func (m *Material) Alarm(now time.Time) error {
	for _, l := range m.Lists {
		life := l.NextUpdate.Sub(l.ThisUpdate)
		warning := min(life/4, longWarning)
		if !slices.ContainsFunc(m.Authorities, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, l.RawIssuer) }) {
			warning = min(life/20, longWarning)
		}
		if left := l.NextUpdate.Sub(now); left < warning {
			return &EndingError{l.NextUpdate}
		}
	}
	return nil
}

// ErrOlder says that lists would give way to older ones.
var ErrOlder = errors.New("a revocation list that NGINX goes by is newer than the one that the server wrote: the server's files are from a backup, or of another server")

// Follow says why fresh is to take the place of m now, "" while it need not.
func (m *Material) Follow(fresh *Material, now time.Time) (why string, err error) {
	half := false
	revoked := false
	for _, after := range fresh.Lists {
		i := slices.IndexFunc(m.Lists, func(l *x509.RevocationList) bool { return sameScope(l, after) })
		if i < 0 {
			continue // another authority's, which is a reason by itself
		}
		before := m.Lists[i]
		if before.Number != nil && after.Number != nil && after.Number.Cmp(before.Number) < 0 {
			return "", ErrOlder
		}
		revoked = revoked || !sameEntries(before, after)
		life := before.NextUpdate.Sub(before.ThisUpdate)
		half = half || after.NextUpdate.After(before.NextUpdate) && !now.Before(before.ThisUpdate.Add(life/2))
	}
	switch {
	case !bytes.Equal(m.Pair.Certificate[0], fresh.Pair.Certificate[0]):
		return "another certificate of the machines' name", nil
	case !slices.EqualFunc(m.Authorities, fresh.Authorities, (*x509.Certificate).Equal) || !slices.EqualFunc(m.Outside, fresh.Outside, (*x509.Certificate).Equal) ||
		len(m.Lists) != len(fresh.Lists):
		return "other authorities", nil
	case revoked:
		return "what is revoked", nil
	case half:
		return "lists that last longer", nil
	}
	return "", nil
}

// oidScope is the issuing distribution point of a list (RFC 5280 section 5.2.5).
var oidScope = asn1.ObjectIdentifier{2, 5, 29, 28}

// sameScope reports whether one list takes the other's place: it is of the same
// authority, and about the same certificates.
func sameScope(a, b *x509.RevocationList) bool {
	scope := func(l *x509.RevocationList) []byte {
		for _, e := range l.Extensions {
			if e.Id.Equal(oidScope) {
				return e.Value
			}
		}
		return nil
	}
	return bytes.Equal(a.RawIssuer, b.RawIssuer) && bytes.Equal(a.AuthorityKeyId, b.AuthorityKeyId) && bytes.Equal(scope(a), scope(b))
}

func sameEntries(a, b *x509.RevocationList) bool {
	if len(a.RevokedCertificateEntries) != len(b.RevokedCertificateEntries) {
		return false
	}
	known := make(map[string]bool, len(a.RevokedCertificateEntries))
	for _, e := range a.RevokedCertificateEntries {
		known[string(e.SerialNumber.Bytes())] = true
	}
	return !slices.ContainsFunc(b.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return !known[string(e.SerialNumber.Bytes())] })
}

func stampTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
