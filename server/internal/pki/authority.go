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
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
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

// freshKeys makes a key for each kind, outside the transaction that may store it.
func freshKeys(kinds ...certs.Kind) (map[certs.Kind]*ecdsa.PrivateKey, error) {
	fresh := map[certs.Kind]*ecdsa.PrivateKey{}
	for _, kind := range kinds {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		fresh[kind] = key
	}
	return fresh, nil
}

// Prepare makes the issuing keys if there are none and returns what the ceremony
// must sign. With active authorities there is nothing to sign.
func (s *Service) Prepare(ctx context.Context, by authz.By) ([]ceremony.AuthorityRequest, error) {
	fresh, err := freshKeys(certs.KindDevice, certs.KindServer)
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
			i := slices.IndexFunc(rows, func(r authorityRow) bool { return r.Kind == kind && r.State != Retired })
			if i < 0 {
				row, err := s.ask(ctx, tx, by, kind, fresh[kind])
				if err != nil {
					return err
				}
				rows, i = append(rows, *row), len(rows)
			}
			if rows[i].State == Requested {
				requests = append(requests, ceremony.AuthorityRequest{ID: rows[i].ID, Kind: kind, PublicKey: rows[i].PublicKey})
			}
		}
		return nil
	})
	return requests, err
}

// ask makes a requested authority.
func (s *Service) ask(ctx context.Context, tx db.Tx, by authz.By, kind certs.Kind, key *ecdsa.PrivateKey) (*authorityRow, error) {
	row, err := s.newRow(tx, kind, key)
	if err != nil {
		return nil, err
	}
	if err := insertAuthority(ctx, tx, row); err != nil {
		return nil, err
	}
	return row, audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.AuthorityCreate, ObjectKind: "authority", ObjectID: row.ID,
		Details: map[string]string{"kind": string(kind)}})
}

func (s *Service) newRow(tx db.Tx, kind certs.Kind, key *ecdsa.PrivateKey) (*authorityRow, error) {
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	row := &authorityRow{ID: tx.NewID(), Kind: kind, State: Requested, Certificate: []byte{}, PublicKey: pub, CreatedAt: tx.At()}
	row.KEKID, row.SealedKey, err = s.ring.Seal(sealPurpose, row.ID, private)
	return row, err
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
		key, err := s.open(row)
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

func (s *Service) open(row authorityRow) (crypto.Signer, error) {
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
