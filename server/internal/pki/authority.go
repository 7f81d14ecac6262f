package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysource"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

var (
	// ErrNoAuthority says that nothing can be issued: no ceremony was held yet.
	ErrNoAuthority = errors.New("no issuing authority is active; hold the ceremony: sentinel-server keys request, ceremony, install")
	// ErrNotRequested says that a signed authority is not one that was asked for.
	ErrNotRequested = errors.New("the certificate does not belong to a requested authority")
)

const sealPurpose = "authority"

// Service issues certificates. It is safe for concurrent use.
type Service struct {
	d           *db.DB
	ring        *seal.Ring
	trustDomain string
	keys        map[certs.Kind]*keysource.Set // where keys are that are not in the database; set before anything runs

	loading sync.Mutex

	mu     sync.RWMutex
	issuer map[certs.Kind]authority // active
	known  map[certs.Kind][]*x509.Certificate
	tell   []authority      // all that are believed: they tell which of their certificates are revoked
	lost   map[string]error // those of them whose key cannot be opened, by id
	round  int              // rises when known changes
	states string           // of all authorities, when they were loaded

	watchers []func() // of revocations; set before anything runs
}

type authority struct {
	id string
	certs.CA
}

// New makes the service; Load brings in the authorities.
func New(d *db.DB, ring *seal.Ring, trustDomain string) *Service {
	return &Service{d: d, ring: ring, trustDomain: trustDomain}
}

// TrustDomain is the part of device names that says which fleet they are of.
func (s *Service) TrustDomain() string { return s.trustDomain }

// UseKeys has authorities of a kind take their keys from key sources, where there are
// any for it; otherwise they are made here. It is called before anything runs.
func (s *Service) UseKeys(keys map[certs.Kind]*keysource.Set) { s.keys = keys }

// external marks an authority whose key is not in the database. It is no name of a
// secret key, which is in hex.
const external = "external"

// ErrAuthorityKey says that a key from a source cannot be an authority's.
var ErrAuthorityKey = errors.New("an authority's key is ECDSA with P-256 or P-384; make such a key and name its source")

// issuingKey is a key for an authority that is to be asked for.
type issuingKey struct {
	public  []byte // PKIX DER
	private []byte // PKCS#8; nil where a source keeps it
}

// freshKeys has a key for each kind, outside the transaction that may store it: from
// its source, or made here.
func (s *Service) freshKeys(ctx context.Context, kinds ...certs.Kind) (map[certs.Kind]issuingKey, error) {
	fresh := map[certs.Kind]issuingKey{}
	for _, kind := range kinds {
		var k issuingKey
		var err error
		if s.keys[kind].Empty() {
			k, err = newIssuingKey()
		} else {
			k, err = sourceKey(ctx, s.keys[kind])
		}
		if err != nil {
			return nil, fmt.Errorf("the %s authority's key: %w", kind, err)
		}
		for _, other := range fresh {
			if bytes.Equal(other.public, k.public) {
				return nil, fmt.Errorf("the %s authority: %w", kind, ErrSameKey)
			}
		}
		fresh[kind] = k
	}
	return fresh, nil
}

func newIssuingKey() (k issuingKey, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return k, err
	}
	if k.private, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return k, err
	}
	k.public, err = x509.MarshalPKIXPublicKey(key.Public())
	return k, err
}

func sourceKey(ctx context.Context, keys *keysource.Set) (k issuingKey, err error) {
	pub, err := keys.Newest(ctx)
	if err != nil {
		return k, err
	}
	if _, ok := pub.(*ecdsa.PublicKey); !ok {
		return k, ErrAuthorityKey
	}
	k.public, err = x509.MarshalPKIXPublicKey(pub)
	return k, err
}

// fits reports whether a requested authority has the key that one would be given now.
func (k issuingKey) fits(row authorityRow) bool {
	if k.private != nil {
		return row.KEKID != external
	}
	return row.KEKID == external && bytes.Equal(row.PublicKey, k.public)
}

// ErrSameKey says that the source's key is an authority's already.
var ErrSameKey = errors.New("this key is an authority's already; name the next key's source, and this one's in the setting that ends with _PREVIOUS")

// request is the authority of a kind that is asked for: the one that was, if its key is
// still the right one, or a new one.
func (s *Service) request(ctx context.Context, tx db.Tx, by authz.By, rows []authorityRow, kind certs.Kind, key issuingKey) (*authorityRow, error) {
	for _, row := range rows {
		if own := row.State == Requested && row.Kind == kind; !own && row.State != Dropped && bytes.Equal(row.PublicKey, key.public) {
			return nil, fmt.Errorf("the %s authority: %w", kind, ErrSameKey)
		}
	}
	i := slices.IndexFunc(rows, func(r authorityRow) bool { return r.Kind == kind && r.State == Requested })
	switch {
	case i < 0:
		return s.ask(ctx, tx, by, kind, key)
	case key.fits(rows[i]):
		return &rows[i], nil
	}
	row := rows[i] // nobody signed it yet, and the settings have changed
	if err := s.give(&row, key); err != nil {
		return nil, err
	}
	if err := rekeyRequested(ctx, tx, &row); err != nil {
		return nil, err
	}
	return &row, audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.AuthorityCreate, ObjectKind: "authority", ObjectID: row.ID,
		Details: map[string]string{"kind": string(kind), "key": "another source"}})
}

// Prepare makes the issuing keys if there are none and returns what the ceremony
// must sign. With active authorities there is nothing to sign.
func (s *Service) Prepare(ctx context.Context, by authz.By) ([]ceremony.AuthorityRequest, error) {
	fresh, err := s.freshKeys(ctx, certs.KindDevice, certs.KindServer)
	if err != nil {
		return nil, err
	}
	var requests []ceremony.AuthorityRequest
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		requests = nil
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		rows, err := authorities(ctx, tx)
		if err != nil {
			return err
		}
		for _, kind := range []certs.Kind{certs.KindDevice, certs.KindServer} {
			// The first one of a kind that is not retired says where it stands.
			i := slices.IndexFunc(rows, func(r authorityRow) bool { return r.Kind == kind && r.State != Retired })
			if i >= 0 && rows[i].State != Requested {
				continue
			}
			row, err := s.request(ctx, tx, by, rows, kind, fresh[kind])
			if err != nil {
				return err
			}
			requests = append(requests, ceremony.AuthorityRequest{ID: row.ID, Kind: kind, PublicKey: row.PublicKey})
		}
		return nil
	})
	return requests, err
}

// ask makes a requested authority.
func (s *Service) ask(ctx context.Context, tx db.Tx, by authz.By, kind certs.Kind, key issuingKey) (*authorityRow, error) {
	row := &authorityRow{ID: tx.NewID(), Kind: kind, State: Requested, Certificate: []byte{}, CreatedAt: tx.At()}
	if err := s.give(row, key); err != nil {
		return nil, err
	}
	if err := insertAuthority(ctx, tx, row); err != nil {
		return nil, err
	}
	return row, audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.AuthorityCreate, ObjectKind: "authority", ObjectID: row.ID,
		Details: map[string]string{"kind": string(kind)}})
}

// give gives an authority its key: sealed, unless a source keeps it.
func (s *Service) give(row *authorityRow, key issuingKey) (err error) {
	row.PublicKey, row.KEKID, row.SealedKey = key.public, external, []byte{}
	if key.private != nil {
		row.KEKID, row.SealedKey, err = s.ring.Seal(sealPurpose, row.ID, key.private)
	}
	return err
}

// Install makes requested authorities active with the certificates signed for
// them, each checked against the root and against the key that was asked for.
func (s *Service) Install(ctx context.Context, tx db.Tx, root []byte, signed []ceremony.AuthorityCertificate) error {
	return s.install(ctx, tx, root, signed, Active)
}

// InstallRootList stores the root's revocation list that came with what a ceremony
// signed; none changes nothing, and an older one than the one in place is refused.
func InstallRootList(ctx context.Context, tx db.Tx, root, list []byte) error {
	if len(list) == 0 { // of an earlier ceremony
		return nil
	}
	rootCert, err := x509.ParseCertificate(root)
	if err != nil {
		return fmt.Errorf("the root certificate cannot be read: %w", err)
	}
	return putRootList(ctx, tx, rootCert, list)
}

func (s *Service) install(ctx context.Context, tx db.Tx, root []byte, signed []ceremony.AuthorityCertificate, to State) error {
	rows, err := authorities(ctx, tx)
	if err != nil {
		return err
	}
	rootCert, err := x509.ParseCertificate(root)
	if err != nil {
		return fmt.Errorf("the root certificate cannot be read: %w", err)
	}
	for _, a := range signed {
		i := slices.IndexFunc(rows, func(r authorityRow) bool { return r.ID == a.ID && r.State == Requested })
		if i < 0 {
			return fmt.Errorf("%w: %s", ErrNotRequested, a.ID)
		}
		if err := s.checkIssued(rootCert, rows[i], a.Certificate, tx.Now); err != nil {
			return err
		}
		if err := certify(ctx, tx, a.ID, a.Certificate, to); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) checkIssued(root *x509.Certificate, row authorityRow, der []byte, now time.Time) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("the %s authority's certificate cannot be read: %w", row.Kind, err)
	}
	if string(cert.RawSubjectPublicKeyInfo) != string(row.PublicKey) {
		return fmt.Errorf("%w: another public key than asked for", ErrNotRequested)
	}
	usage := x509.ExtKeyUsageClientAuth
	if row.Kind == certs.KindServer {
		usage = x509.ExtKeyUsageServerAuth
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		return fmt.Errorf("the %s authority's certificate does not verify under the root: %w", row.Kind, err)
	}
	if !cert.IsCA || !cert.BasicConstraintsValid || !cert.MaxPathLenZero || len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != usage {
		return fmt.Errorf("the %s authority's certificate gives other powers than asked for", row.Kind)
	}
	return nil
}

// Load opens the authorities for use, and again whenever they changed.
func (s *Service) Load(ctx context.Context) error {
	s.loading.Lock() // one at a time, so that an older one is not the last
	defer s.loading.Unlock()
	rows, err := authorities(ctx, s.d.Read())
	if err != nil {
		return err
	}
	issuer, known := map[certs.Kind]authority{}, map[certs.Kind][]*x509.Certificate{}
	var tell []authority
	lost := map[string]error{}
	for _, row := range rows {
		if row.State == Requested || row.State == Dropped || row.State == Outside {
			continue
		}
		cert, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			return fmt.Errorf("authority %s: %w", row.ID, err)
		}
		known[row.Kind] = append(known[row.Kind], cert)
		key, err := s.open(ctx, row, cert)
		switch {
		case err == nil:
		case row.State == Active:
			return fmt.Errorf("authority %s: %w", row.ID, err)
		default: // it issues nothing, so that everything else goes on
			lost[row.ID] = err
			continue
		}
		a := authority{row.ID, certs.CA{Certificate: cert, Signer: key}}
		tell = append(tell, a)
		if row.State == Active {
			issuer[row.Kind] = a
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issuer, s.known, s.tell, s.lost, s.states = issuer, known, tell, lost, statesOf(rows)
	s.round++
	return nil
}

func (s *Service) open(ctx context.Context, row authorityRow, cert *x509.Certificate) (crypto.Signer, error) {
	if row.KEKID == external {
		key, err := s.keys[row.Kind].Signer(ctx, cert.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("the key of the %s authority %s: %w; name its source in SENTINEL_SIGNER_%s_CA, or in that setting with _PREVIOUS",
				row.Kind, certs.Fingerprint(cert.Raw)[:16], err, strings.ToUpper(string(row.Kind)))
		}
		return key, nil
	}
	der, err := s.ring.Open(row.KEKID, sealPurpose, row.ID, row.SealedKey)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("not a signing key")
	}
	return signer, nil
}

// Issuers are the authorities of a kind that are believed, and a number that
// rises when they change.
func (s *Service) Issuers(kind certs.Kind) ([]*x509.Certificate, int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[kind], s.round
}

func (s *Service) active(kind certs.Kind) (authority, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, ok := s.issuer[kind]
	if !ok {
		return a, ErrNoAuthority
	}
	return a, nil
}

// signers are the authorities that are believed, with their keys, and those whose
// key cannot be opened, by id.
func (s *Service) signers() ([]authority, map[string]error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tell, s.lost
}

// Changed says that certificates were revoked, after it was committed: what others
// are told of them is made anew at once.
func (s *Service) Changed() {
	for _, f := range s.watchers {
		f()
	}
}

// IsRetired reports whether a device certificate is of a believed authority that
// issues no more. It reads one field, and serves to tell the holder, never to judge.
func (s *Service) IsRetired(leaf *x509.Certificate) bool {
	a, err := s.active(certs.KindDevice)
	return err == nil && !bytes.Equal(leaf.AuthorityKeyId, a.Certificate.SubjectKeyId)
}

// Active is the certificate of the authority that issues now.
func (s *Service) Active(kind certs.Kind) (*x509.Certificate, error) {
	a, err := s.active(kind)
	return a.Certificate, err
}

// SigningCA is the authority that issues now, with its key. It is for tests that
// need certificates that this package would not issue.
func (s *Service) SigningCA(kind certs.Kind) (certs.CA, error) {
	a, err := s.active(kind)
	return a.CA, err
}
