package revocation

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

type markRow struct {
	bun.BaseModel `bun:"table:outside_lists,alias:m"`
	Mark
}

type fallenRow struct {
	bun.BaseModel `bun:"table:outside_fallen,alias:f"`
	Fallen
	FoundAt db.Micros `bun:"found_at"`
}

// Remembered reads what is remembered.
func Remembered(ctx context.Context, q bun.IDB) (m Memory, err error) {
	var marks []markRow
	if err := q.NewSelect().Model(&marks).OrderExpr("source, authority").Scan(ctx); err != nil {
		return m, err
	}
	var fallen []fallenRow
	err = q.NewSelect().Model(&fallen).OrderExpr("fingerprint").Scan(ctx)
	for _, row := range marks {
		m.Marks = append(m.Marks, row.Mark)
	}
	for _, row := range fallen {
		m.Fallen = append(m.Fallen, row.Fallen)
	}
	return m, err
}

// Remember stores what a checker knows beyond what is remembered at this moment of the
// transaction: no mark goes back, and no authority comes back.
func (c *Checker) Remember(ctx context.Context, tx db.Tx) error {
	m, err := Remembered(ctx, tx)
	if err != nil {
		return err
	}
	news := c.News(m)
	for _, mark := range news.Marks {
		if _, err := tx.NewInsert().Model(&markRow{Mark: mark}).On("CONFLICT (source, authority) DO UPDATE").
			Set("number = EXCLUDED.number").Set("this_update = EXCLUDED.this_update").Exec(ctx); err != nil {
			return err
		}
	}
	for _, f := range news.Fallen {
		if _, err := tx.NewInsert().Model(&fallenRow{Fallen: f, FoundAt: tx.At()}).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
