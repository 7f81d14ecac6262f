package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Follow installs the fleet root that follows the newest one, verified as a device
// would. What it names is for the caller to judge, in the same transaction.
func (s *Service) Follow(ctx context.Context, tx db.Tx, envelope []byte) (*signing.PinnedRoot, error) {
	pinned, err := pinned(ctx, tx)
	if err != nil {
		return nil, err
	}
	env, err := signing.ParseEnvelope(envelope)
	if err != nil {
		return nil, fmt.Errorf("the fleet root is not valid: %w", err)
	}
	next, err := pinned.Advance(env)
	if err != nil {
		return nil, fmt.Errorf("the fleet root does not follow version %d: %w", pinned.Root.Version, err)
	}
	if next.Root.TrustDomain != pinned.Root.TrustDomain {
		return nil, fmt.Errorf("%w: the trust domain is another", ErrForeign)
	}
	return next, insertDocument(ctx, tx, &documentRow{Kind: kindRoot, Version: next.Root.Version, Digest: next.Digest, Envelope: envelope})
}

// NamedSince is the first version of the fleet root that names a certificate as an
// authority of a kind, and does so without a break until the newest; 0 when the
// newest does not.
func NamedSince(ctx context.Context, q bun.IDB, kind certs.Kind, certificate []byte) (int64, error) {
	rows, err := roots(ctx, q)
	if err != nil {
		return 0, err
	}
	since := int64(0)
	for _, row := range rows {
		env, err := signing.ParseEnvelope(row.Envelope)
		if err != nil {
			return 0, err
		}
		var root signing.FleetRoot
		if err := json.Unmarshal(env.Payload, &root); err != nil { // verified when it was installed
			return 0, err
		}
		list := root.DeviceCAs
		if kind == certs.KindServer {
			list = root.ServerCAs
		}
		switch named := slices.ContainsFunc(list, func(der []byte) bool { return bytes.Equal(der, certificate) }); {
		case !named:
			since = 0
		case since == 0:
			since = row.Version
		}
	}
	return since, nil
}

// Chain is every fleet root, version 1 first.
func Chain(ctx context.Context, q bun.IDB) (chain [][]byte, err error) {
	rows, err := roots(ctx, q)
	for _, row := range rows {
		chain = append(chain, row.Envelope)
	}
	return chain, err
}

func pinned(ctx context.Context, q bun.IDB) (*signing.PinnedRoot, error) {
	chain, err := Chain(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return nil, ErrNotFounded
	}
	return signing.VerifyRootChain(chain, "")
}
