package approval

import (
	"context"
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Number is how many people a path needs.
type Number struct {
	bun.BaseModel `bun:"table:approval_quorums,alias:q"`

	Path       Path      `bun:"path,pk"`
	People     int       `bun:"people"`
	Since      db.Micros `bun:"since"`
	ApprovalID string    `bun:"approval_id"` // of the request that lowered it
}

// InForce reads the number of a path; false while none was recorded.
func InForce(ctx context.Context, q bun.IDB, path Path) (Number, bool, error) {
	var n Number
	err := q.NewSelect().Model(&n).Where("path = ?", path).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return n, false, nil
	}
	return n, err == nil, err
}

// SetNumber records the number that is in force from now on. A higher one also
// holds for what is open; a lower one for new requests only.
func SetNumber(ctx context.Context, tx db.Tx, path Path, people int, approvalID string) error {
	n := &Number{Path: path, People: people, Since: tx.At(), ApprovalID: approvalID}
	_, err := tx.NewInsert().Model(n).On("CONFLICT (path) DO UPDATE").
		Set("people = EXCLUDED.people").Set("since = EXCLUDED.since").Set("approval_id = EXCLUDED.approval_id").Exec(ctx)
	if err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model((*Request)(nil)).Set("required = ?", people).
		Where("path = ? AND state = ? AND required < ?", path, Open, people).Exec(ctx)
	return err
}
