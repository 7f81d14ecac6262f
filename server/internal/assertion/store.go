package assertion

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Key is a published public key.
type Key struct {
	bun.BaseModel `bun:"table:assertion_keys"`

	ID          string          `bun:"id,pk"` // signing.Key's
	Purpose     signing.Purpose `bun:"purpose"`
	Public      []byte          `bun:"public_key"` // PKIX DER
	PublishedAt db.Micros       `bun:"published_at"`
	RetiredAt   db.Micros       `bun:"retired_at"` // 0: it is not
}

func keysOf(ctx context.Context, q bun.IDB, p signing.Purpose) (list []Key, err error) {
	err = q.NewSelect().Model(&list).Where("purpose = ?", p).OrderExpr("published_at, id").Scan(ctx)
	return list, err
}

// withKey finds a public key, whatever it was published for.
func withKey(ctx context.Context, q bun.IDB, public []byte) (k Key, err error) {
	err = q.NewSelect().Model(&k).Where("public_key = ?", public).Scan(ctx)
	return k, err
}

// authorityHas says whether an authority of certificates has a public key. It reads a
// table that is not of this domain: no key may serve two purposes.
func authorityHas(ctx context.Context, q bun.IDB, public []byte) (bool, error) {
	n, err := q.NewSelect().Table("authorities").Where("public_key = ?", public).Count(ctx)
	return n > 0, err
}

func insertKey(ctx context.Context, tx db.Tx, k *Key) error {
	_, err := tx.NewInsert().Model(k).Exec(ctx)
	return err
}

func retireKey(ctx context.Context, tx db.Tx, id string) error {
	return db.One(tx.NewUpdate().Model((*Key)(nil)).Set("retired_at = ?", tx.At()).Where("id = ? AND retired_at = 0", id).Exec(ctx))
}
