package admin

import (
	"context"

	"github.com/uptrace/bun"
)

// Standing reads accounts as they stand in the transaction that rests on them, by
// their ids. One that does not exist is not among them.
func Standing(ctx context.Context, q bun.IDB, ids ...string) (map[string]Account, error) {
	found := make(map[string]Account, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	var rows []accountRow
	if err := q.NewSelect().Model(&rows).Where("id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	for i := range rows {
		found[rows[i].ID] = rows[i].account()
	}
	return found, nil
}
