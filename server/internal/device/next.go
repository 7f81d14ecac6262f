package device

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Standing is what decides whether a device may be given another certificate.
type Standing struct {
	DeviceID     string    `bun:"device_id"`
	EnrollmentID string    `bun:"enrollment_id"`
	Fingerprint  string    `bun:"fingerprint"`
	Next         string    `bun:"next_fingerprint"` // "" when none waits for its first use
	NextUntil    db.Micros `bun:"next_until"`
	Gate         Gate      `bun:"gate"`
	Epoch        string    `bun:"epoch"` // see Heard
	Sensitive    bool      `bun:"sensitive"`
}

// Standings reads the standings of devices, by device_id, and keeps them as they
// are until the transaction ends.
func Standings(ctx context.Context, tx db.Tx, ids ...string) (map[string]*Standing, error) {
	var rows []Standing
	sel := tx.NewSelect().TableExpr("device_counters AS c").
		ColumnExpr("c.device_id, c.enrollment_id, c.fingerprint, c.next_fingerprint, c.next_until, c.gate, c.epoch").
		// Not joined: PostgreSQL would read all of a table that it has no statistics of.
		ColumnExpr("(SELECT d.sensitive FROM devices AS d WHERE d.device_id = c.device_id) AS sensitive").
		Where("c.device_id IN (?)", bun.List(ids)).OrderExpr("c.device_id")
	if tx.On == db.PostgreSQL {
		// State and hold are changed with the counter's row first, so that it stands
		// for them. SQLite has one writer.
		sel = sel.For("NO KEY UPDATE OF c")
	}
	if err := sel.Scan(ctx, &rows); err != nil {
		return nil, err
	}
	byID := make(map[string]*Standing, len(rows))
	for i := range rows {
		byID[rows[i].DeviceID] = &rows[i]
	}
	return byID, nil
}

// May says whether a device (nil: there is none) may be given another certificate
// for what was signed with the key of the one named. It follows the conditions of
// Judge, but for the next certificate: nobody renews with what was never used.
func May(s *Standing, enrollmentID, fingerprint string) error {
	switch {
	case s == nil:
		return ErrUnknown
	case s.Gate == GateSuspended:
		return ErrSuspended
	case s.Gate == GateHeld:
		return ErrHeld
	case s.Gate != GateOpen:
		return ErrRevoked
	case s.EnrollmentID != enrollmentID:
		return ErrEnrollment
	case s.Fingerprint != fingerprint:
		return ErrCertificate
	}
	return nil
}

// Next is a certificate that waits for its first use.
type Next struct {
	DeviceID    string
	Fingerprint string
	Until       db.Micros
}

var setNext = db.NewListed("UPDATE device_counters AS c SET next_fingerprint = l.fingerprint, next_until = l.until FROM %s WHERE c.device_id = l.device_id",
	db.Text("device_id"), db.Text("fingerprint"), db.Int("until"))

// SetNext gives devices, each once, their next certificates. Whoever calls it holds
// their standings.
func SetNext(ctx context.Context, tx db.Tx, list []Next) error {
	ids, fingerprints, until := make(db.Texts, len(list)), make(db.Texts, len(list)), make(db.Ints, len(list))
	for i, n := range list {
		ids[i], fingerprints[i], until[i] = n.DeviceID, n.Fingerprint, n.Until.Int()
	}
	return setNext.All(ctx, tx, db.Lists{ids, fingerprints, until})
}

// ForgetNext ends that a next certificate waits, when it is void.
func ForgetNext(ctx context.Context, tx db.Tx, deviceID, fingerprint string) error {
	_, err := forgetting(tx).Where("device_id = ? AND next_fingerprint = ?", deviceID, fingerprint).Exec(ctx)
	return err
}

// ForgetUsed ends that the next certificates of devices wait: Raise just made them the
// current ones.
func ForgetUsed(ctx context.Context, tx db.Tx, ids []string) error {
	_, err := forgetting(tx).Where("device_id IN (?) AND next_fingerprint = fingerprint", bun.List(ids)).Exec(ctx)
	return err
}

func forgetting(tx db.Tx) *bun.UpdateQuery {
	return tx.NewUpdate().Model((*Counter)(nil)).Set("next_fingerprint = ''").Set("next_until = 0")
}

// ForgetAllNext ends every next certificate, after a restore, and says which they
// were.
func ForgetAllNext(ctx context.Context, tx db.Tx) (fingerprints []string, err error) {
	if err := tx.NewSelect().Model((*Counter)(nil)).Column("next_fingerprint").Where("next_fingerprint <> ''").Scan(ctx, &fingerprints); err != nil {
		return nil, err
	}
	_, err = forgetting(tx).Where("next_fingerprint <> ''").Exec(ctx)
	return fingerprints, err
}

var setKeyCodes = db.NewListed("UPDATE devices AS d SET key_code = l.code FROM %s WHERE d.device_id = l.device_id", db.Text("device_id"), db.Text("code"))

// SetKeyCodes stores the codes of the keys that devices, each once, go by now.
func SetKeyCodes(ctx context.Context, tx db.Tx, ids, codes []string) error {
	return setKeyCodes.All(ctx, tx, db.Lists{db.Texts(ids), db.Texts(codes)})
}
