package device

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Raised is what the statement says of a beat that it accepted.
type Raised struct {
	Pending int    // something waits for the device
	Said    string // the digest stored before
	First   bool   // the certificate was the next one until now, and is the current one
}

// The one statement of a heartbeat: it checks the gate, the certificate, the
// epoch, the receipt and the counter against the rows as they are, raises the
// counters of all beats that pass, and says which those are. The conditions are
// those of Judge, in the same order. A beat with the next certificate makes it the
// current one; next_fingerprint stays for RETURNING to tell, and is cleared by
// ForgetNext in the same transaction.
const raise = `
UPDATE device_counters AS c
SET counter = b.counter, epoch = b.epoch, boot_first = CASE WHEN c.boot_id = b.boot_id THEN c.boot_first ELSE b.counter END, boot_id = b.boot_id, seen_at = b.at, refused = 0, fingerprint = b.fingerprint
FROM %s
CROSS JOIN instance AS i
WHERE c.device_id = b.device_id
  AND c.gate = 0
  AND c.enrollment_id = b.enrollment_id
  AND (c.fingerprint = b.fingerprint OR c.next_fingerprint = b.fingerprint AND b.at < c.next_until)
  AND i.behind_since = 0
  AND b.epoch = i.epoch
  AND b.receipt <= c.counter
  AND (c.epoch = i.epoch OR b.nonce_for = c.counter)
  AND b.counter > c.counter
  AND b.counter - c.counter <= %d
RETURNING %s`

// The beats come as one parameter a column on PostgreSQL, as one JSON array on
// SQLite, which knows no table names after RETURNING.
var (
	raisePostgreSQL = fmt.Sprintf(raise, `unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[])
  AS b (device_id, enrollment_id, fingerprint, counter, epoch, boot_id, nonce_for, receipt, at)`, protocol.MaxCounterJump, "c.device_id, c.pending, c.said, c.next_fingerprint = c.fingerprint")
	raiseSQLite = fmt.Sprintf(raise, `(SELECT value->>0 AS device_id, value->>1 AS enrollment_id, value->>2 AS fingerprint, value->>3 AS counter,
  value->>4 AS epoch, value->>5 AS boot_id, value->>6 AS nonce_for, value->>7 AS receipt, value->>8 AS at FROM json_each(?1)) AS b`, protocol.MaxCounterJump, "device_id, pending, said, next_fingerprint = fingerprint")
)

// Raise accepts the beats that pass, at most one a device, and returns them by
// device_id. It rests on nothing read before.
func Raise(ctx context.Context, tx db.Tx, beats []Beat) (map[string]Raised, error) {
	rows, err := raiseRows(ctx, tx, beats)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	accepted := make(map[string]Raised, len(beats))
	for rows.Next() {
		var id string
		var r Raised
		if err := rows.Scan(&id, &r.Pending, &r.Said, &r.First); err != nil {
			return nil, err
		}
		accepted[id] = r
	}
	return accepted, rows.Err()
}

func raiseRows(ctx context.Context, tx db.Tx, beats []Beat) (*sql.Rows, error) {
	if tx.On == db.SQLite {
		list := make([][9]any, len(beats))
		for i, b := range beats {
			list[i] = [9]any{b.DeviceID, b.EnrollmentID, b.Fingerprint, b.Counter, b.Epoch, b.BootID, b.NonceFor, b.Receipt, b.At.Int()}
		}
		data, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		return tx.Tx.Tx.QueryContext(ctx, raiseSQLite, string(data))
	}
	n := len(beats)
	device, enrollment, fingerprint, epoch, boot := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	counter, nonceFor, receipt, at := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i, b := range beats {
		device[i], enrollment[i], fingerprint[i], epoch[i], boot[i] = b.DeviceID, b.EnrollmentID, b.Fingerprint, b.Epoch, b.BootID
		counter[i], nonceFor[i], receipt[i], at[i] = b.Counter, b.NonceFor, b.Receipt, b.At.Int()
	}
	return tx.Tx.Tx.QueryContext(ctx, raisePostgreSQL, device, enrollment, fingerprint, counter, epoch, boot, nonceFor, receipt, at)
}

// Refusal is why a beat was not accepted.
type Refusal struct {
	Cause   error // as Judge says
	Counter int64 // the one that stands
	InARow  int   // stale counters in a row, including this one
}

// Refuse judges the beats that Raise did not accept, by device_id, and counts
// stale counters in a row.
func Refuse(ctx context.Context, tx db.Tx, in db.Instance, beats []Beat) (map[string]Refusal, error) {
	ids := make([]string, len(beats))
	for i, b := range beats {
		ids[i] = b.DeviceID
	}
	var rows []Counter
	if err := tx.NewSelect().Model(&rows).Where("device_id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	byID := make(map[string]*Counter, len(rows))
	for i := range rows {
		byID[rows[i].DeviceID] = &rows[i]
	}
	refusals := make(map[string]Refusal, len(beats))
	for _, b := range beats {
		row := byID[b.DeviceID]
		r := Refusal{Cause: Judge(row, in, b)}
		if row != nil {
			r.Counter = row.Counter
		}
		if errors.Is(r.Cause, ErrStale) || errors.Is(r.Cause, ErrClone) {
			if err := tx.NewUpdate().Model((*Counter)(nil)).Set("refused = refused + 1").
				Where("device_id = ?", b.DeviceID).Returning("refused").Scan(ctx, &r.InARow); err != nil {
				return nil, err
			}
		}
		refusals[b.DeviceID] = r
	}
	return refusals, nil
}
