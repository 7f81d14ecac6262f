package assertion

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysource"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var (
	// ErrPurpose says that keys of a purpose are not published here.
	ErrPurpose = errors.New("keys of this purpose are not published")
	// ErrKnown says that a key was published before.
	ErrKnown = errors.New("this key was published already")
	// ErrOtherPurpose says that a key serves another purpose: each has keys of its own.
	ErrOtherPurpose = errors.New("this key serves another purpose already; make one of its own: sentinel-server keys generate")
	// ErrPending says that the change before this one is not finished.
	ErrPending = errors.New("a published key waits for its turn already; wait for it, or retire it")
	// ErrUnknown says that no key has the id.
	ErrUnknown = errors.New("there is no such key; see: sentinel-server keys list")
	// ErrInUse says that somebody would miss a key.
	ErrInUse = errors.New("assertions of this key are or may still be valid")
	// ErrNone says that no key was published.
	ErrNone = errors.New("no key is published; see: sentinel-server keys rotate --help")
	// ErrTooLong says that an assertion would outlive its key's place in the set.
	ErrTooLong = fmt.Errorf("an assertion is valid for at most %s", MaxLife)
)

// Purposes are those of assertions for other systems.
func Purposes() []signing.Purpose {
	return []signing.Purpose{signing.PurposeTrustAssertion, signing.PurposeWorkloadAssertion}
}

// refreshEvery is how old what others are shown may be.
const refreshEvery = time.Second

// Service publishes keys and signs with those whose turn it is. It is safe for
// concurrent use.
type Service struct {
	d    *db.DB
	keys map[signing.Purpose]*keysource.Set

	mu   sync.Mutex
	sets map[signing.Purpose]*shown
}

// shown is a purpose's keys as they were read last.
type shown struct {
	keys   []Key
	readAt time.Time
}

// New makes the service. keys are where private keys are.
func New(d *db.DB, keys map[signing.Purpose]*keysource.Set) *Service {
	return &Service{d: d, keys: keys, sets: map[signing.Purpose]*shown{}}
}

// Keys says where the keys of a purpose stand, the oldest first.
func (s *Service) Keys(ctx context.Context, p signing.Purpose) ([]Standing, error) {
	if !slices.Contains(Purposes(), p) {
		return nil, ErrPurpose
	}
	list, err := keysOf(ctx, s.d.Read(), p)
	return Stand(list, s.d.Now()), err
}

// Publish publishes the key of the newest source of a purpose. It was seen to sign
// before. elsewhere are public keys (PKIX DER) that serve other purposes outside the
// database.
func (s *Service) Publish(ctx context.Context, by authz.By, p signing.Purpose, elsewhere ...[]byte) (Standing, error) {
	if !slices.Contains(Purposes(), p) {
		return Standing{}, ErrPurpose
	}
	pub, err := s.keys[p].Newest(ctx)
	if err != nil {
		return Standing{}, err
	}
	signer, err := s.keys[p].Signer(ctx, pub)
	if err != nil {
		return Standing{}, err
	}
	record, err := prove(ctx, p, signer)
	if err != nil {
		return Standing{}, err
	}
	if slices.ContainsFunc(elsewhere, func(der []byte) bool { return string(der) == string(record.Public) }) {
		return Standing{}, ErrOtherPurpose
	}
	var published Standing
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		switch known, err := withKey(ctx, tx, record.Public); {
		case err == nil && known.Purpose == p:
			return ErrKnown
		case err == nil:
			return ErrOtherPurpose
		case !errors.Is(err, db.ErrNotFound):
			return err
		}
		if has, err := authorityHas(ctx, tx, record.Public); err != nil || has {
			return errors.Join(err, ErrOtherPurpose)
		}
		before, err := keysOf(ctx, tx, p)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(Stand(before, tx.Now), func(k Standing) bool { return k.State == Published }) {
			return ErrPending
		}
		k := Key{ID: record.ID, Purpose: p, Public: record.Public, PublishedAt: tx.At()}
		if err := insertKey(ctx, tx, &k); err != nil {
			return err
		}
		list := Stand(append(before, k), tx.Now)
		published = list[slices.IndexFunc(list, func(s Standing) bool { return s.ID == k.ID })]
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.KeyPublish, ObjectKind: "key", ObjectID: k.ID, Details: map[string]string{"purpose": string(p)}})
	})
	return published, err
}

// prove has a key sign a text that means nothing, and verifies it as others would.
func prove(ctx context.Context, p signing.Purpose, key crypto.Signer) (signing.Key, error) {
	signer, err := signing.NewSigner(p, key)
	if err != nil {
		return signing.Key{}, err
	}
	pae := signing.PAE("application/vnd.sentinel-secure-x.test", []byte("this signs nothing"))
	sig, err := signer.Sign(ctx, pae)
	if err != nil {
		return signing.Key{}, err
	}
	return signer.Key(), signer.Key().Verify(pae, sig)
}

// Retire takes a key out of the set at once. One that somebody would miss is ErrInUse,
// unless force is given: then what it signed is valid no more, which is what a key that
// was stolen needs.
func (s *Service) Retire(ctx context.Context, by authz.By, p signing.Purpose, id, reason string, force bool) error {
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		list, err := keysOf(ctx, tx, p)
		if err != nil {
			return err
		}
		standing := Stand(list, tx.Now)
		i := slices.IndexFunc(standing, func(k Standing) bool { return k.ID == id && k.State != Retired })
		switch {
		case i < 0:
			return ErrUnknown
		case !force && !standing[i].settled():
			return ErrInUse
		}
		if err := retireKey(ctx, tx, id); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.KeyRetire, ObjectKind: "key", ObjectID: id, Reason: reason,
			Details: map[string]string{"purpose": string(p), "was": string(standing[i].State)}})
	})
}

// Signer signs an assertion of a purpose that is valid until a time, with the key whose
// turn it is. ErrNone says that none is published, ErrTooLong that it may not be valid
// for that long, keysource.ErrNoKey that this node's settings do not name that key.
func (s *Service) Signer(ctx context.Context, p signing.Purpose, until time.Time) (signing.Signer, error) {
	if until.Sub(s.d.Now()) > MaxLife {
		return nil, ErrTooLong
	}
	list, err := s.read(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, k := range list {
		if k.State != Signs {
			continue
		}
		pub, err := x509.ParsePKIXPublicKey(k.Public)
		if err != nil {
			return nil, err
		}
		key, err := s.keys[p].Signer(ctx, pub)
		if err != nil {
			return nil, fmt.Errorf("the key %s for %s: %w", k.ID, p, err)
		}
		return signing.NewSigner(p, key)
	}
	return nil, ErrNone
}

// read is where the keys of a purpose stand, as of at most refreshEvery ago.
func (s *Service) read(ctx context.Context, p signing.Purpose) ([]Standing, error) {
	if !slices.Contains(Purposes(), p) {
		return nil, ErrPurpose
	}
	now := s.d.Now()
	s.mu.Lock()
	defer s.mu.Unlock() // whoever comes meanwhile wants the same
	if have := s.sets[p]; have != nil && !now.Before(have.readAt) && now.Sub(have.readAt) < refreshEvery {
		return Stand(have.keys, now), nil
	}
	keys, err := keysOf(ctx, s.d.Read(), p)
	if err != nil {
		return nil, err
	}
	s.sets[p] = &shown{keys, now}
	return Stand(keys, now), nil
}
