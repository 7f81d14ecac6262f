package device

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

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
// ForgetUsed in the same transaction.
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

// The beats come as one parameter a column on PostgreSQL. SQLite, which knows no
// table names after RETURNING, takes them as rows of parameters: taking a JSON
// array apart costs more there than all the rest. What is left over of a statement's
// rows is NULL, which is no device.
var (
	raisePostgreSQL = fmt.Sprintf(raise, `unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[])
  AS b (device_id, enrollment_id, fingerprint, counter, epoch, boot_id, nonce_for, receipt, at)`, protocol.MaxCounterJump, "c.device_id, c.pending, c.said, c.next_fingerprint = c.fingerprint")
	raiseSQLite = func() map[int]string {
		list := map[int]string{}
		for _, n := range raiseSizes {
			rows := strings.Repeat(", (?, ?, ?, ?, ?, ?, ?, ?, ?)", n)[2:]
			list[n] = fmt.Sprintf(raise, `(SELECT column1 AS device_id, column2 AS enrollment_id, column3 AS fingerprint, column4 AS counter, column5 AS epoch,
  column6 AS boot_id, column7 AS nonce_for, column8 AS receipt, column9 AS at FROM (VALUES `+rows+`)) AS b`, protocol.MaxCounterJump, "device_id, pending, said, next_fingerprint = fingerprint")
		}
		return list
	}()
)

// raiseSizes are how many beats a statement of SQLite takes, so that few statements
// serve for all. The largest stays below SQLite's limit of 32,766 parameters.
var raiseSizes = []int{1, 8, 32, 128, 512}

// mostRaised is how many beats a statement takes at most.
const mostRaised = 512

// raiseSize is the smallest that is enough for n beats, mostRaised at most.
func raiseSize(n int) int {
	for _, size := range raiseSizes {
		if size >= n {
			return size
		}
	}
	return mostRaised
}

// Prepare makes ready for heartbeats; see db.DB.Keep.
func Prepare(ctx context.Context, d *db.DB) error {
	for _, query := range raiseSQLite {
		if err := d.Keep(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// Raise accepts the beats that pass, at most one a device, and returns them by
// device_id. It rests on nothing read before.
func Raise(ctx context.Context, tx db.Tx, beats []Beat) (map[string]Raised, error) {
	accepted := make(map[string]Raised, len(beats))
	for len(beats) > 0 {
		n := min(len(beats), mostRaised)
		if err := raiseSome(ctx, tx, beats[:n], accepted); err != nil {
			return nil, err
		}
		beats = beats[n:]
	}
	return accepted, nil
}

func raiseSome(ctx context.Context, tx db.Tx, beats []Beat, accepted map[string]Raised) error {
	rows, err := raiseRows(ctx, tx, beats)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		var r Raised
		if err := rows.Scan(&id, &r.Pending, &r.Said, &r.First); err != nil {
			return err
		}
		accepted[id] = r
	}
	return rows.Err()
}

func raiseRows(ctx context.Context, tx db.Tx, beats []Beat) (*sql.Rows, error) {
	if tx.On == db.SQLite {
		size := raiseSize(len(beats))
		list := make([]any, 0, 9*size)
		for _, b := range beats {
			list = append(list, b.DeviceID, b.EnrollmentID, b.Fingerprint, b.Counter, b.Epoch, b.BootID, b.NonceFor, b.Receipt, b.At.Int())
		}
		list = list[:cap(list)]
		return tx.Rows(ctx, raiseSQLite[size], list...)
	}
	n := len(beats)
	device, enrollment, fingerprint, epoch, boot := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	counter, nonceFor, receipt, at := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i, b := range beats {
		device[i], enrollment[i], fingerprint[i], epoch[i], boot[i] = b.DeviceID, b.EnrollmentID, b.Fingerprint, b.Epoch, b.BootID
		counter[i], nonceFor[i], receipt[i], at[i] = b.Counter, b.NonceFor, b.Receipt, b.At.Int()
	}
	return tx.Rows(ctx, raisePostgreSQL, device, enrollment, fingerprint, counter, epoch, boot, nonceFor, receipt, at)
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
