package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var (
	// ErrFounded says that the fleet has its root already; it changes by its own
	// chain only.
	ErrFounded = errors.New("this fleet has a root already")
	// ErrNotFounded says that no fleet root is installed.
	ErrNotFounded = errors.New("no fleet root is installed; hold the ceremony: sentinel-server keys request, ceremony, install")
)

// Fleet is what devices are given: the chain of fleet roots and the bundle in
// force.
type Fleet struct {
	Root          *signing.PinnedRoot
	FirstDigest   string // of version 1: what devices are told out of band
	Bundle        *signing.PolicyBundle
	RootEnvelopes []json.RawMessage
	BundleBytes   json.RawMessage
}

// Service hands out the fleet's documents.
type Service struct {
	d *db.DB

	mu    sync.RWMutex
	fleet *Fleet
}

// New makes the service; Load brings in the documents.
func New(d *db.DB) *Service { return &Service{d: d} }

// Found installs version 1 of root and bundle, each verified as a device would,
// and for the given fleet only.
func (s *Service) Found(ctx context.Context, tx db.Tx, f *ceremony.Founding, fleetID string) error {
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
	if root.Root.FleetID != fleetID {
		return fmt.Errorf("the fleet root is of fleet %s, this database is of %s", root.Root.FleetID, fleetID)
	}
	env, err := signing.ParseEnvelope(f.PolicyBundle)
	if err != nil {
		return fmt.Errorf("the policy bundle is not valid: %w", err)
	}
	bundle, err := signing.VerifyBundle(env, root, tx.Now, 0)
	if err != nil {
		return fmt.Errorf("the policy bundle is not valid: %w", err)
	}
	if err := insertDocument(ctx, tx, &documentRow{Kind: kindRoot, Version: 1, Digest: root.Digest, Envelope: f.FleetRoot}); err != nil {
		return err
	}
	return insertDocument(ctx, tx, &documentRow{Kind: kindBundle, Version: bundle.Version, Digest: signing.Digest(env.Payload), Envelope: f.PolicyBundle})
}

// Load reads and verifies the documents, again whenever they changed. Without a
// fleet root it is ErrNotFounded. An expired bundle is loaded: devices decide
// what they still do under it.
func (s *Service) Load(ctx context.Context) error {
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
	fleet.BundleBytes = row.Envelope
	if fleet.Bundle, err = signing.VerifyBundle(env, fleet.Root, d.Now(), 0); err != nil && !errors.Is(err, signing.ErrExpired) {
		return nil, fmt.Errorf("the stored policy bundle: %w", err)
	}
	return fleet, nil
}

// Fleet is what Load read last, or ErrNotFounded.
func (s *Service) Fleet() (*Fleet, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fleet == nil {
		return nil, ErrNotFounded
	}
	return s.fleet, nil
}
