package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var (
	// ErrFounded says that the fleet has its root already; it changes by its own
	// chain only.
	ErrFounded = errors.New("this fleet has a root already")
	// ErrForeign says that the documents name keys or authorities that this server
	// did not ask for.
	ErrForeign = errors.New("the founding names what this server did not ask for; hold the ceremony on its own request")
	// ErrNotFounded says that no fleet root is installed.
	ErrNotFounded = errors.New("no fleet root is installed; hold the ceremony: sentinel-server keys request, ceremony, install")
)

// Fleet is what devices are given: the chain of fleet roots and the bundle in
// force.
type Fleet struct {
	Root          *signing.PinnedRoot
	FirstDigest   string // of version 1: what devices are told out of band
	Bundle        *signing.PolicyBundle
	BundleDigest  string // of its payload
	RootEnvelopes []json.RawMessage
	BundleBytes   json.RawMessage
}

// Service hands out the fleet's documents.
type Service struct {
	d *db.DB

	loading sync.Mutex // one Load at a time, so that an older one is not the last
	mu      sync.RWMutex
	fleet   *Fleet
}

// New makes the service; Load brings in the documents.
func New(d *db.DB) *Service { return &Service{d: d} }

// Found installs version 1 of root and bundle, each verified as a device would,
// and for the given fleet only.
func (s *Service) Found(ctx context.Context, tx db.Tx, f *ceremony.Founding, asked ceremony.Request) error {
	have, err := roots(ctx, tx)
	if err != nil {
		return err
	}
	if len(have) > 0 {
		return ErrFounded
	}
	root, err := signing.VerifyRootChain([][]byte{f.FleetRoot}, "")
	if err != nil {
		return fmt.Errorf("the fleet root is not valid: %w", err)
	}
	if root.Root.FleetID != asked.FleetID {
		return fmt.Errorf("the fleet root is of fleet %s, this database is of %s", root.Root.FleetID, asked.FleetID)
	}
	if err := namesOnly(root, f, asked); err != nil {
		return err
	}
	env, err := signing.ParseEnvelope(f.PolicyBundle)
	if err != nil {
		return fmt.Errorf("the policy bundle is not valid: %w", err)
	}
	bundle, err := signing.VerifyBundle(env, root, tx.Now, 0)
	if err != nil {
		return fmt.Errorf("the policy bundle is not valid: %w", err)
	}
	if !sameKeys(bundle.CommandKeys, asked.CommandKeys) {
		return fmt.Errorf("%w: the policy bundle lists other command keys", ErrForeign)
	}
	if err := insertDocument(ctx, tx, &documentRow{Kind: kindRoot, Version: 1, Digest: root.Digest, Envelope: f.FleetRoot}); err != nil {
		return err
	}
	return insertDocument(ctx, tx, &documentRow{Kind: kindBundle, Version: bundle.Version, Digest: signing.Digest(env.Payload), Envelope: f.PolicyBundle})
}

// namesOnly demands that the fleet root names exactly the authorities that were
// asked for: one more would be believed by every device.
func namesOnly(root *signing.PinnedRoot, f *ceremony.Founding, asked ceremony.Request) error {
	want := map[certs.Kind][][]byte{}
	for _, a := range asked.Authorities {
		i := slices.IndexFunc(f.Authorities, func(c ceremony.AuthorityCertificate) bool { return c.ID == a.ID })
		if i < 0 {
			return fmt.Errorf("%w: no certificate for the %s authority", ErrForeign, a.Kind)
		}
		want[a.Kind] = append(want[a.Kind], f.Authorities[i].Certificate)
	}
	same := func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
	if len(f.Authorities) != len(asked.Authorities) || !same(root.Root.ServerCAs, want[certs.KindServer]) || !same(root.Root.DeviceCAs, want[certs.KindDevice]) {
		return fmt.Errorf("%w: the fleet root lists other authorities", ErrForeign)
	}
	if root.Root.TrustDomain != asked.TrustDomain {
		return fmt.Errorf("%w: the trust domain is another", ErrForeign)
	}
	return nil
}

func sameKeys(a, b []signing.Key) bool {
	return slices.EqualFunc(a, b, func(x, y signing.Key) bool { return x.ID == y.ID && bytes.Equal(x.Public, y.Public) })
}

// Load reads and verifies the documents, again whenever they changed. Without a
// fleet root it is ErrNotFounded. No clock takes the bundle away that was verified
// when it was installed: one that has expired is loaded, since devices decide what
// they still do under it, and so is one that a clock was ahead for, since what devices
// need most works without it. See Early.
func (s *Service) Load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	return s.load(ctx)
}

func (s *Service) load(ctx context.Context) error {
	fleet, err := load(ctx, s.d.Read(), s.d)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fleet = fleet
	return nil
}

func load(ctx context.Context, q bun.IDB, d *db.DB) (*Fleet, error) {
	rows, err := roots(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, ErrNotFounded
	}
	fleet := &Fleet{FirstDigest: rows[0].Digest}
	var chain [][]byte
	for _, row := range rows {
		chain = append(chain, row.Envelope)
		fleet.RootEnvelopes = append(fleet.RootEnvelopes, row.Envelope)
	}
	if fleet.Root, err = signing.VerifyRootChain(chain, rows[0].Digest); err != nil {
		return nil, fmt.Errorf("the stored fleet root: %w", err)
	}
	row, err := newestBundle(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("the stored policy bundle: %w", err)
	}
	env, err := signing.ParseEnvelope(row.Envelope)
	if err != nil {
		return nil, fmt.Errorf("the stored policy bundle: %w", err)
	}
	fleet.BundleBytes, fleet.BundleDigest = row.Envelope, row.Digest
	fleet.Bundle, err = signing.VerifyBundle(env, fleet.Root, d.Now(), 0)
	if err != nil && !errors.Is(err, signing.ErrExpired) && !errors.Is(err, signing.ErrNotYetValid) {
		return nil, fmt.Errorf("the stored policy bundle: %w", err)
	}
	return fleet, nil
}

// early is what a bundle's time may be ahead of this server's. Devices forgive five minutes
// (signing.ClockSkew), and need the rest for their own clocks.
const early = time.Minute

// Early says whether a bundle is of a time that is still to come, so that devices may not
// have taken it: the clock was ahead when it was published. It is loaded all the same.
func Early(b *signing.PolicyBundle, now time.Time) bool { return now.Before(b.IssuedAt.Add(-early)) }

// Fleet is what Load read last, or ErrNotFounded.
func (s *Service) Fleet() (*Fleet, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fleet == nil {
		return nil, ErrNotFounded
	}
	return s.fleet, nil
}
