package policy

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

type kind string

const (
	kindRoot   kind = "fleet-root"
	kindBundle kind = "policy-bundle"
)

type documentRow struct {
	bun.BaseModel `bun:"table:fleet_documents"`

	Kind        kind      `bun:"kind,pk"`
	Version     int64     `bun:"version,pk"`
	Digest      string    `bun:"digest"`
	Envelope    []byte    `bun:"envelope"`
	InstalledAt db.Micros `bun:"installed_at"`
}

func insertDocument(ctx context.Context, tx db.Tx, row *documentRow) error {
	row.InstalledAt = tx.At()
	_, err := tx.NewInsert().Model(row).Exec(ctx)
	return err
}

// roots lists the fleet roots, version 1 first.
func roots(ctx context.Context, q bun.IDB) (rows []documentRow, err error) {
	err = q.NewSelect().Model(&rows).Where("kind = ?", kindRoot).OrderExpr("version").Scan(ctx)
	return rows, err
}

// newestBundle reads the bundle in force, or db.ErrNotFound.
func newestBundle(ctx context.Context, q bun.IDB) (row documentRow, err error) {
	err = q.NewSelect().Model(&row).Where("kind = ?", kindBundle).OrderExpr("version DESC").Limit(1).Scan(ctx)
	return row, err
}

// newestVersions are the highest versions of fleet root and bundle, 0 for none.
func newestVersions(ctx context.Context, q bun.IDB) (root, bundle int64, err error) {
	var rows []struct {
		Kind    kind  `bun:"kind"`
		Version int64 `bun:"version"`
	}
	err = q.NewSelect().Model((*documentRow)(nil)).ColumnExpr("kind, MAX(version) AS version").GroupExpr("kind").Scan(ctx, &rows)
	for _, r := range rows {
		switch r.Kind {
		case kindRoot:
			root = r.Version
		case kindBundle:
			bundle = r.Version
		}
	}
	return root, bundle, err
}
