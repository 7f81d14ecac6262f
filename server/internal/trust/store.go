package trust

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

type verdictRow struct {
	bun.BaseModel `bun:"table:trust_verdicts"`

	DeviceID    string    `bun:"device_id,pk"`
	Verdict     Verdict   `bun:"verdict"`
	Reasons     string    `bun:"reasons"` // JSON
	EvaluatedAt db.Micros `bun:"evaluated_at"`
	HoldsUntil  db.Micros `bun:"holds_until"`
}

// Stored is a decision as it was made.
type Stored struct {
	Decision
	EvaluatedAt db.Micros `json:"evaluated_at"`
}

// ErrUnknown says that nothing was decided about the device.
var ErrUnknown = errors.New("there is no verdict on this device")

// Decided is a decision about a device.
type Decided struct {
	DeviceID string
	Decision
}

// Lock has whoever else decides about these devices wait until the transaction ends.
// SQLite has one writer.
func Lock(ctx context.Context, tx db.Tx, ids []string) error {
	if tx.On == db.SQLite {
		return nil
	}
	_, err := tx.NewSelect().Model((*verdictRow)(nil)).ColumnExpr("1").Where("device_id IN (?)", bun.List(ids)).OrderExpr("device_id").For("UPDATE").Exec(ctx)
	return err
}

// Put stores decisions about devices, each once, in the transaction that changed a fact.
func Put(ctx context.Context, tx db.Tx, list ...Decided) error {
	rows := make([]verdictRow, len(list))
	for i, d := range list {
		reasons, err := json.Marshal(d.Reasons)
		if err != nil {
			return err
		}
		rows[i] = verdictRow{DeviceID: d.DeviceID, Verdict: d.Verdict, Reasons: string(reasons), EvaluatedAt: tx.At(), HoldsUntil: db.At(d.HoldsUntil)}
	}
	_, err := tx.NewInsert().Model(&rows).On("CONFLICT (device_id) DO UPDATE").
		Set("verdict = EXCLUDED.verdict").Set("reasons = EXCLUDED.reasons").
		Set("evaluated_at = EXCLUDED.evaluated_at").Set("holds_until = EXCLUDED.holds_until").Exec(ctx)
	return err
}

// Get reads the stored decision, or ErrUnknown.
func Get(ctx context.Context, q bun.IDB, deviceID string) (Stored, error) {
	var row verdictRow
	err := q.NewSelect().Model(&row).Where("device_id = ?", deviceID).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return Stored{}, ErrUnknown
	}
	if err != nil {
		return Stored{}, err
	}
	s := Stored{Decision: Decision{Verdict: row.Verdict, HoldsUntil: row.HoldsUntil.Time()}, EvaluatedAt: row.EvaluatedAt}
	return s, json.Unmarshal([]byte(row.Reasons), &s.Reasons)
}

// DecidedBefore lists devices that were last decided about at a time or before it.
func DecidedBefore(ctx context.Context, q bun.IDB, at db.Micros, limit int) (ids []string, err error) {
	err = q.NewSelect().Table("trust_verdicts").Column("device_id").
		Where("evaluated_at <= ?", at).OrderExpr("evaluated_at").Limit(int64(limit)).Scan(ctx, &ids)
	return ids, err
}

// Lapsed lists devices whose verdict has run out, and those that were judged at a time
// that has not come yet: by a clock that was wrong and is not any more. What that one
// took for expired may be in date.
func Lapsed(ctx context.Context, q bun.IDB, now db.Micros, limit int) (ids []string, err error) {
	err = q.NewSelect().Table("trust_verdicts").Column("device_id").
		Where("holds_until > 0 AND holds_until <= ?", now).OrderExpr("holds_until").Limit(int64(limit)).Scan(ctx, &ids)
	if err != nil || len(ids) >= limit {
		return ids, err
	}
	var early []string
	err = q.NewSelect().Table("trust_verdicts").Column("device_id").
		Where("evaluated_at > ?", now).OrderExpr("evaluated_at").Limit(int64(limit-len(ids))).Scan(ctx, &early)
	return append(ids, early...), err
}
