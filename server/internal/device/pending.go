package device

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// PendingCommand is the bit of the pending flag that says that a command is to be
// delivered. The flag has one bit a kind, and comes back from the statement that
// accepts a heartbeat, so that asking costs nothing. A bit may be set when nothing
// waits any more, and is never unset when something does.
const PendingCommand = 1

// RaisePending sets the bit for those of the devices whose row nobody holds at the
// moment, and returns them. The others must be tried again, also if their bit seems
// to be set: whoever holds the row may be about to unset it. It never waits for a
// row, so that it is in no deadlock with heartbeats, which hold many.
func RaisePending(ctx context.Context, tx db.Tx, ids []string, bit int) (raised []string, err error) {
	if tx.On == db.SQLite { // alone: there is nobody to wait for
		err = tx.NewRaw("UPDATE device_counters SET pending = pending | ? WHERE device_id IN (?) RETURNING device_id", bit, bun.List(ids)).Scan(ctx, &raised)
		return raised, err
	}
	err = tx.NewRaw(`WITH free AS MATERIALIZED (SELECT device_id FROM device_counters WHERE device_id IN (?) FOR UPDATE SKIP LOCKED)
UPDATE device_counters AS c SET pending = c.pending | ? FROM free WHERE c.device_id = free.device_id RETURNING c.device_id`, bun.List(ids), bit).Scan(ctx, &raised)
	return raised, err
}

// HoldPending holds a device's row until the transaction ends. What the statements
// after it read is what stands when the row is theirs: whatever is made to wait
// before a bit is set is seen by whoever could unset it.
func HoldPending(ctx context.Context, tx db.Tx, id string) (pending int, err error) {
	sel := tx.NewSelect().Model((*Counter)(nil)).Column("pending").Where("device_id = ?", id)
	if tx.On == db.PostgreSQL {
		sel = sel.For("UPDATE")
	}
	err = sel.Scan(ctx, &pending)
	return pending, err
}

// ClearPending unsets the bit, after HoldPending and after looking.
func ClearPending(ctx context.Context, tx db.Tx, id string, bit int) error {
	return db.One(tx.NewUpdate().Model((*Counter)(nil)).Set("pending = pending & ~?", bit).Where("device_id = ?", id).Exec(ctx))
}
