package identity

import (
	"context"
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Request is a stored wish of a device.
type Request struct {
	bun.BaseModel `bun:"table:identity_requests"`

	ID          string    `bun:"id,pk"`
	DeviceID    string    `bun:"device_id"`
	Kind        Kind      `bun:"kind"`
	State       State     `bun:"state"`
	CSR         []byte    `bun:"csr,nullzero:false"` // empty when nobody had to decide; of kind Outside, the certificate
	CSRDigest   string    `bun:"csr_digest"`
	KeyDigest   string    `bun:"key_digest"` // of kind Outside its own id: a key may come with several certificates
	KeyCode     string    `bun:"key_code"`
	SignedBy    string    `bun:"signed_by"`   // fingerprint of the certificate whose key signed
	Lost        string    `bun:"lost"`        // fingerprint of the one that did, in place of that on record: a restore lost it
	ApprovalID  string    `bun:"approval_id"` // "" when nobody had to decide
	Fingerprint string    `bun:"fingerprint"` // of the certificate, once issued
	Source      string    `bun:"source"`
	Reason      string    `bun:"reason"`
	CreatedAt   db.Micros `bun:"created_at"`
	ExpiresAt   db.Micros `bun:"expires_at"`
	DecidedAt   db.Micros `bun:"decided_at"`
	AuthorityID string    `bun:"authority_id"` // of kind Outside: who issued the certificate
}

// isOpen says which requests are, in the very words of the partial indexes: SQLite
// finds those by their words.
const isOpen = "state IN ('pending', 'approved', 'issued')"

// Insert stores new requests and returns the ids of those that it took. One whose
// id or key is taken, or whose device has an open one, is not.
func Insert(ctx context.Context, tx db.Tx, list ...*Request) (taken map[string]bool, err error) {
	taken = make(map[string]bool, len(list))
	if len(list) == 0 {
		return taken, nil
	}
	for _, r := range list {
		if r.CSR == nil {
			r.CSR = []byte{}
		}
	}
	var ids []string
	err = tx.NewInsert().Model(&list).On("CONFLICT DO NOTHING").Returning("id").Scan(ctx, &ids)
	for _, id := range ids {
		taken[id] = true
	}
	return taken, err
}

// Get reads a request, or ErrUnknown.
func Get(ctx context.Context, q bun.IDB, id string) (*Request, error) {
	return one(q.NewSelect().Where("id = ?", id), ErrUnknown)(ctx)
}

// OpenOf reads the open request of a device, or ErrNone.
func OpenOf(ctx context.Context, q bun.IDB, deviceID string) (*Request, error) {
	return one(q.NewSelect().Where("device_id = ? AND "+isOpen, deviceID), ErrNone)(ctx)
}

// OpenLost reads the open requests of devices that a lost certificate's key signed.
func OpenLost(ctx context.Context, tx db.Tx, devices []string) (list []Request, err error) {
	err = tx.NewSelect().Model(&list).Where("device_id IN (?) AND lost <> '' AND "+isOpen, bun.List(devices)).OrderExpr("device_id").Scan(ctx)
	return list, err
}

func one(sel *bun.SelectQuery, none error) func(context.Context) (*Request, error) {
	return func(ctx context.Context) (*Request, error) {
		r := new(Request)
		err := sel.Model(r).Scan(ctx)
		if errors.Is(err, db.ErrNotFound) {
			return nil, none
		}
		return r, err
	}
}

// RejectedSince reports whether a certificate that was issued elsewhere was rejected
// for a device since a time.
func RejectedSince(ctx context.Context, q bun.IDB, deviceID, fingerprint string, since db.Micros) (bool, error) {
	return q.NewSelect().Model((*Request)(nil)).
		Where("device_id = ? AND authority_id <> '' AND csr_digest = ? AND state = ? AND decided_at > ?", deviceID, fingerprint, Rejected, since).Exists(ctx)
}

// Meet reads what stands in the way of new requests: those with the same ids, by
// id, and the open ones of the same devices, by device_id.
func Meet(ctx context.Context, tx db.Tx, ids, devices []string) (byID, open map[string]*Request, err error) {
	var list []Request
	err = tx.NewSelect().Model(&list).Where("id IN (?)", bun.List(ids)).
		WhereOr("device_id IN (?) AND "+isOpen, bun.List(devices)).Scan(ctx)
	byID, open = map[string]*Request{}, map[string]*Request{}
	for i := range list {
		r := &list[i]
		byID[r.ID] = r
		if r.State.Open() {
			open[r.DeviceID] = r
		}
	}
	return byID, open, err
}

// Move changes the state from one to another, or is db.ErrConflict.
func Move(ctx context.Context, tx db.Tx, id string, from, to State, reason string) error {
	return db.One(tx.NewUpdate().Model((*Request)(nil)).
		Set("state = ?", to).Set("reason = ?", reason).Set("decided_at = ?", tx.At()).
		Where("id = ? AND state = ?", id, from).Exec(ctx))
}

// Settle ties an approved request that is in time to its certificate, once, and
// gives that until its first use.
func Settle(ctx context.Context, tx db.Tx, id, fingerprint string, until db.Micros) error {
	return db.One(tx.NewUpdate().Model((*Request)(nil)).
		Set("state = ?", Issued).Set("fingerprint = ?", fingerprint).Set("expires_at = ?", until).
		Where("id = ? AND state = ? AND expires_at > ?", id, Approved, tx.At()).Exec(ctx))
}

// FirstUsed closes the requests whose certificates were used for the first time, and
// says the new keys' codes, by device_id; a device without such a request has none.
func FirstUsed(ctx context.Context, tx db.Tx, devices, fingerprints []string) (codes map[string]string, err error) {
	var rows []Request
	err = tx.NewUpdate().Model((*Request)(nil)).Set("state = ?", Used).Set("decided_at = ?", tx.At()).
		Where("device_id IN (?) AND fingerprint IN (?) AND "+isOpen, bun.List(devices), bun.List(fingerprints)).
		Returning("device_id, key_code").Scan(ctx, &rows)
	codes = make(map[string]string, len(rows))
	for _, r := range rows {
		codes[r.DeviceID] = r.KeyCode
	}
	return codes, err
}

// Waiting counts the requests that wait for a person, up to a limit.
func Waiting(ctx context.Context, tx db.Tx, limit int) (int, error) {
	n := 0
	inner := tx.NewSelect().Model((*Request)(nil)).ColumnExpr("1").
		Where("state = ? AND expires_at > ? AND "+isOpen, Pending, tx.At()).Limit(int64(limit))
	err := tx.NewSelect().ColumnExpr("COUNT(*)").TableExpr("(?) AS waiting", inner).Scan(ctx, &n)
	return n, err
}

// Overdue lists open requests whose time is over but whose row does not say so.
func Overdue(ctx context.Context, q bun.IDB, now db.Micros, limit int) (list []Request, err error) {
	err = q.NewSelect().Model(&list).Where("expires_at <= ? AND "+isOpen, now).
		OrderExpr("expires_at").Limit(int64(limit)).Scan(ctx)
	return list, err
}

// VoidAll ends everything that is open, after a restore: it may have been decided
// or used in the time that was lost.
func VoidAll(ctx context.Context, tx db.Tx) error {
	_, err := tx.NewUpdate().Model((*Request)(nil)).Set("state = ?", Expired).Set("reason = ?", "the database was restored").
		Set("decided_at = ?", tx.At()).Where(isOpen).Exec(ctx)
	return err
}
