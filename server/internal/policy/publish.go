package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var (
	// ErrUnknown says that no document has the version.
	ErrUnknown = errors.New("there is no policy bundle of that version")
	// ErrOld says that a bundle's version is not above the newest one: devices never
	// go back.
	ErrOld = errors.New("its version is not above the newest one; build it from the bundle in force: sentinel-server policy build")
)

// InvalidError says why devices would not take a bundle. Its text holds nothing
// that the caller does not have.
type InvalidError struct{ cause error }

func (e *InvalidError) Error() string {
	return "devices would refuse this policy bundle: " + e.cause.Error()
}
func (e *InvalidError) Unwrap() error { return e.cause }

// Document is a policy bundle as it is kept.
type Document struct {
	Version     int64                 `json:"version"`
	Digest      string                `json:"digest" doc:"SHA-256 of the payload."`
	InForce     bool                  `json:"in_force"`
	InstalledAt db.Micros             `json:"installed_at"`
	Bundle      *signing.PolicyBundle `json:"bundle"`
	Envelope    json.RawMessage       `json:"envelope,omitempty" doc:"The very bytes that were signed, and the signatures."`
}

// Publish installs a bundle after verifying it exactly as a device does: against
// the chain of fleet roots, at this time, and above every version before.
func Publish(ctx context.Context, tx db.Tx, envelope []byte) (*Document, error) {
	chain, err := chainOf(ctx, tx)
	if err != nil {
		return nil, err
	}
	newest, err := newestBundle(ctx, tx)
	if err != nil {
		return nil, err
	}
	env, err := signing.ParseEnvelope(envelope)
	if err != nil {
		return nil, &InvalidError{err}
	}
	bundle, err := signing.VerifyBundle(env, chain, tx.Now, newest.Version)
	switch {
	case errors.Is(err, signing.ErrRollback):
		return nil, ErrOld
	case err != nil:
		return nil, &InvalidError{err}
	case bundle.Version <= newest.Version: // the same again is no news
		return nil, ErrOld
	}
	row := &documentRow{Kind: kindBundle, Version: bundle.Version, Digest: signing.Digest(env.Payload), Envelope: envelope}
	if err := insertDocument(ctx, tx, row); err != nil {
		return nil, err
	}
	return &Document{Version: row.Version, Digest: row.Digest, InForce: true, InstalledAt: row.InstalledAt, Bundle: bundle, Envelope: envelope}, nil
}

func chainOf(ctx context.Context, q bun.IDB) (*signing.PinnedRoot, error) {
	rows, err := roots(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, ErrNotFounded
	}
	var chain [][]byte
	for _, row := range rows {
		chain = append(chain, row.Envelope)
	}
	return signing.VerifyRootChain(chain, rows[0].Digest)
}

// Bundles lists the policy bundles, the newest first, without their envelopes, and
// the version that the next page goes on below.
func Bundles(ctx context.Context, q bun.IDB, below int64, limit int) (list []Document, next int64, err error) {
	newest, err := newestBundle(ctx, q)
	if errors.Is(err, db.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var rows []documentRow
	sel := q.NewSelect().Model(&rows).Where("kind = ?", kindBundle).OrderExpr("version DESC").Limit(int64(limit + 1))
	if below > 0 {
		sel = sel.Where("version < ?", below)
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, 0, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = rows[limit-1].Version
	}
	for _, row := range rows {
		doc, err := row.document(newest.Version)
		if err != nil {
			return nil, 0, err
		}
		doc.Envelope = nil
		list = append(list, *doc)
	}
	return list, next, nil
}

// Bundle reads one policy bundle, or ErrUnknown; version 0 is the one in force.
func Bundle(ctx context.Context, q bun.IDB, version int64) (*Document, error) {
	newest, err := newestBundle(ctx, q)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	if err != nil || version == 0 {
		if err != nil {
			return nil, err
		}
		return newest.document(newest.Version)
	}
	var row documentRow
	err = q.NewSelect().Model(&row).Where("kind = ? AND version = ?", kindBundle, version).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	return row.document(newest.Version)
}

// document reads a row for display. It was verified when it was installed.
func (r *documentRow) document(newest int64) (*Document, error) {
	env, err := signing.ParseEnvelope(r.Envelope)
	if err != nil {
		return nil, fmt.Errorf("the stored policy bundle %d: %w", r.Version, err)
	}
	d := &Document{Version: r.Version, Digest: r.Digest, InForce: r.Version == newest, InstalledAt: r.InstalledAt, Bundle: &signing.PolicyBundle{}, Envelope: r.Envelope}
	if err := json.Unmarshal(env.Payload, d.Bundle); err != nil {
		return nil, fmt.Errorf("the stored policy bundle %d: %w", r.Version, err)
	}
	return d, nil
}

// watchEvery is how often another node's documents are looked for; with one round
// they are in force within two seconds.
const watchEvery = time.Second

// Watch takes over what other nodes install, until ctx ends. A round that fails is
// told and tried again.
func (s *Service) Watch(ctx context.Context, failed func(error)) error {
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		if err := s.Refresh(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
	}
}

// Refresh loads the documents again if there are newer ones than were loaded.
func (s *Service) Refresh(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	root, bundle, err := newestVersions(ctx, s.d.Read())
	if err != nil || root == 0 {
		return err
	}
	if fleet, err := s.Fleet(); err == nil && fleet.Root.Root.Version == root && fleet.Bundle.Version == bundle {
		return nil
	}
	return s.load(ctx)
}
