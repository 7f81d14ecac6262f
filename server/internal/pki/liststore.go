package pki

import (
	"context"
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// RootList is the authority_id of the root's revocation list.
const RootList = "root"

// listRow is the newest revocation list of an authority.
type listRow struct {
	bun.BaseModel `bun:"table:revocation_lists"`

	AuthorityID string    `bun:"authority_id,pk"`
	Issuer      []byte    `bun:"issuer"`
	Number      int64     `bun:"number"`
	List        []byte    `bun:"list"`
	Entries     int64     `bun:"entries"`
	ThisUpdate  db.Micros `bun:"this_update"`
	NextUpdate  db.Micros `bun:"next_update"`
}

// listHeads are the newest lists without their bytes.
func listHeads(ctx context.Context, q bun.IDB) (map[string]listRow, error) {
	var rows []listRow
	err := q.NewSelect().Model(&rows).ExcludeColumn("list", "issuer").Scan(ctx)
	heads := make(map[string]listRow, len(rows))
	for _, r := range rows {
		heads[r.AuthorityID] = r
	}
	return heads, err
}

func listOf(ctx context.Context, q bun.IDB, authorityID string) (*listRow, error) {
	r := new(listRow)
	err := q.NewSelect().Model(r).Where("authority_id = ?", authorityID).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	}
	return r, err
}

// replaceList stores a list in place of the one with number before, 0 for none. When
// another one stands there it is db.ErrConflict.
func replaceList(ctx context.Context, tx db.Tx, before int64, row *listRow) error {
	if before == 0 {
		return db.One(tx.NewInsert().Model(row).On("CONFLICT (authority_id) DO NOTHING").Exec(ctx))
	}
	return db.One(tx.NewUpdate().Model(row).WherePK().Where("number = ?", before).Exec(ctx))
}

// revokedRow is what a list says of a certificate.
type revokedRow struct {
	Serial        string    `bun:"serial"`
	RevokedAt     db.Micros `bun:"revoked_at"`
	RevokedReason string    `bun:"revoked_reason"`
}

// revokedOf are an authority's revoked certificates that end after a time.
func revokedOf(ctx context.Context, q bun.IDB, authorityID string, after db.Micros) (rows []revokedRow, err error) {
	err = q.NewSelect().Model((*Certificate)(nil)).Column("serial", "revoked_at", "revoked_reason").
		Where("authority_id = ? AND revoked_at <> 0 AND not_after > ?", authorityID, after).Scan(ctx, &rows)
	return rows, err
}

// standingRow is what is on record of a serial number, and of the database.
type standingRow struct {
	Behind        db.Micros `bun:"behind_since"`
	Fingerprint   string    `bun:"fingerprint"`
	RevokedAt     db.Micros `bun:"revoked_at"`
	RevokedReason string    `bun:"revoked_reason"`
}

func standingOf(ctx context.Context, q bun.IDB, authorityID, serial string) (r standingRow, err error) {
	err = q.NewSelect().TableExpr("instance AS i").
		ColumnExpr("i.behind_since, COALESCE(c.fingerprint, '') AS fingerprint, COALESCE(c.revoked_at, 0) AS revoked_at, COALESCE(c.revoked_reason, '') AS revoked_reason").
		Join("LEFT JOIN certificates AS c ON c.serial = ? AND c.authority_id = ?", serial, authorityID).
		Where("i.id = 1").Scan(ctx, &r)
	return r, err
}
