package enroll

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Token is a stored token. Its secret is nowhere.
type Token struct {
	bun.BaseModel `bun:"table:enroll_tokens"`

	ID         string    `bun:"id,pk"`
	Hash       []byte    `bun:"hash"`
	Note       string    `bun:"note"`
	MaxUses    int64     `bun:"max_uses"`
	Uses       int64     `bun:"uses"`
	CreatedBy  string    `bun:"created_by"`
	Person     string    `bun:"created_person"` // the human behind CreatedBy
	CreatedAt  db.Micros `bun:"created_at"`
	ExpiresAt  db.Micros `bun:"expires_at"`
	RevokedAt  db.Micros `bun:"revoked_at"`
	RevokedBy  string    `bun:"revoked_by"`
	LastUsedAt db.Micros `bun:"last_used_at"`
	LastUsedBy string    `bun:"last_used_by"`
	DeviceName string    `bun:"device_name"`
	Owner      string    `bun:"owner"`
	Labels     string    `bun:"labels"` // JSON object of text
	Sensitive  bool      `bun:"sensitive"`
}

// LabelMap is Labels, read.
func (t *Token) LabelMap() map[string]string {
	m := map[string]string{}
	_ = json.Unmarshal([]byte(t.Labels), &m) // written by CreateToken: always an object of text
	return m
}

// Enrollment is a stored request of a device.
type Enrollment struct {
	bun.BaseModel `bun:"table:enrollments"`

	ID          string               `bun:"id,pk"`
	TokenID     string               `bun:"token_id,nullzero"` // "" when the certificate was issued elsewhere
	DeviceID    string               `bun:"device_id"`
	State       protocol.EnrollState `bun:"state"`
	CSR         []byte               `bun:"csr"` // or the certificate, when it was issued elsewhere
	CSRDigest   string               `bun:"csr_digest"`
	KeyCode     string               `bun:"key_code"`
	Facts       string               `bun:"facts"` // JSON object of text
	Source      string               `bun:"source"`
	ApprovalID  string               `bun:"approval_id"` // "" when none was needed
	Fingerprint string               `bun:"fingerprint"` // of the certificate, once issued
	Reason      string               `bun:"reason"`
	CreatedAt   db.Micros            `bun:"created_at"`
	ExpiresAt   db.Micros            `bun:"expires_at"`
	DecidedAt   db.Micros            `bun:"decided_at"`
	KeyDigest   string               `bun:"key_digest"`   // SHA-256 of the public key, when the certificate was issued elsewhere
	AuthorityID string               `bun:"authority_id"` // who issued it then
}

// Outside reports whether the device came with a certificate that was issued elsewhere.
func (e *Enrollment) Outside() bool { return e.AuthorityID != "" }

// Window is a time in which devices need no review.
type Window struct {
	bun.BaseModel `bun:"table:enroll_windows"`

	ID       string    `bun:"id,pk" json:"id"`
	OpenedBy string    `bun:"opened_by" json:"opened_by"`
	Reason   string    `bun:"reason" json:"reason"`
	OpenedAt db.Micros `bun:"opened_at" json:"opened_at"`
	ClosesAt db.Micros `bun:"closes_at" json:"closes_at"`
	ClosedBy string    `bun:"closed_by" json:"closed_by,omitempty"`
}

func insertToken(ctx context.Context, tx db.Tx, t *Token) error {
	_, err := tx.NewInsert().Model(t).Exec(ctx)
	return err
}

func tokenWhere(ctx context.Context, q bun.IDB, condition string, arg any) (*Token, error) {
	t := new(Token)
	err := q.NewSelect().Model(t).Where(condition, arg).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrTokenUnknown
	}
	return t, err
}

// TokenBySecret finds a token by what the device sent, or ErrTokenUnknown.
func TokenBySecret(ctx context.Context, q bun.IDB, secret string) (*Token, error) {
	return tokenWhere(ctx, q, "hash = ?", hash(secret))
}

// TokenByID finds a token, or ErrTokenUnknown.
func TokenByID(ctx context.Context, q bun.IDB, id string) (*Token, error) {
	return tokenWhere(ctx, q, "id = ?", id)
}

// Take takes one use of a token for a device. The statement checks again what
// Usable checked, so that a last use is never taken twice: db.ErrConflict.
func Take(ctx context.Context, tx db.Tx, tokenID, deviceID string) error {
	return db.One(tx.NewUpdate().Model((*Token)(nil)).
		Set("uses = uses + 1").Set("last_used_at = ?", tx.At()).Set("last_used_by = ?", deviceID).
		Where("id = ? AND uses < max_uses AND revoked_at = 0 AND expires_at > ?", tokenID, tx.At()).Exec(ctx))
}

func revokeToken(ctx context.Context, tx db.Tx, id, by string) error {
	return db.One(tx.NewUpdate().Model((*Token)(nil)).
		Set("revoked_at = ?", tx.At()).Set("revoked_by = ?", by).
		Where("id = ? AND revoked_at = 0", id).Exec(ctx))
}

// Tokens lists tokens, the newest first.
func Tokens(ctx context.Context, q bun.IDB, limit int) (list []Token, err error) {
	err = q.NewSelect().Model(&list).OrderExpr("created_at DESC, id DESC").Limit(int64(limit)).Scan(ctx)
	return list, err
}

// Insert stores a new enrollment.
func Insert(ctx context.Context, tx db.Tx, e *Enrollment) error {
	_, err := tx.NewInsert().Model(e).Exec(ctx)
	return err
}

// Reopen puts a new enrollment in the place of one with the same id that is over.
func Reopen(ctx context.Context, tx db.Tx, e *Enrollment) error {
	return db.One(tx.NewUpdate().Model(e).WherePK().
		Where("state IN (?, ?)", protocol.EnrollRejected, protocol.EnrollExpired).Exec(ctx))
}

// Get reads an enrollment, or ErrUnknown.
func Get(ctx context.Context, q bun.IDB, id string) (*Enrollment, error) {
	e := new(Enrollment)
	err := q.NewSelect().Model(e).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	return e, err
}

// Reviews reads those of the enrollments that exist: their ids, and the ids of what
// people were asked, "" where nobody was.
func Reviews(ctx context.Context, q bun.IDB, ids []string) (list []Enrollment, err error) {
	err = q.NewSelect().Model(&list).Column("id", "approval_id").Where("id IN (?)", bun.List(ids)).Scan(ctx)
	return list, err
}

// ByKey reads the newest enrollment that rests on a certificate of this key, or
// ErrUnknown.
func ByKey(ctx context.Context, q bun.IDB, keyDigest string) (*Enrollment, error) {
	e := new(Enrollment)
	err := q.NewSelect().Model(e).Where("key_digest = ? AND key_digest <> ''", keyDigest).OrderExpr("created_at DESC, id DESC").Limit(1).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	return e, err
}

// Pending counts the enrollments that wait for a review, up to a limit.
func Pending(ctx context.Context, tx db.Tx, limit int) (int, error) {
	n := 0
	inner := tx.NewSelect().Model((*Enrollment)(nil)).ColumnExpr("1").
		Where("state = ? AND expires_at > ?", protocol.EnrollPending, tx.At()).Limit(int64(limit))
	err := tx.NewSelect().ColumnExpr("COUNT(*)").TableExpr("(?) AS waiting", inner).Scan(ctx, &n)
	return n, err
}

// Move changes the state from one to another, or is db.ErrConflict.
func Move(ctx context.Context, tx db.Tx, id string, from, to protocol.EnrollState, reason string) error {
	return db.One(tx.NewUpdate().Model((*Enrollment)(nil)).
		Set("state = ?", to).Set("reason = ?", reason).Set("decided_at = ?", tx.At()).
		Where("id = ? AND state = ?", id, from).Exec(ctx))
}

// Issued ties an approved enrollment to its certificate, once.
func Issued(ctx context.Context, tx db.Tx, id, fingerprint string) error {
	return db.One(tx.NewUpdate().Model((*Enrollment)(nil)).
		Set("state = ?", protocol.EnrollIssued).Set("fingerprint = ?", fingerprint).
		Where("id = ? AND state = ? AND expires_at > ?", id, protocol.EnrollApproved, tx.At()).Exec(ctx))
}

// Rivals lists the other enrollments that wait or are approved for a device_id.
func Rivals(ctx context.Context, tx db.Tx, deviceID, id string) (list []Enrollment, err error) {
	err = tx.NewSelect().Model(&list).
		Where("device_id = ? AND id <> ? AND state IN (?, ?)", deviceID, id, protocol.EnrollPending, protocol.EnrollApproved).Scan(ctx)
	return list, err
}

// resting lists the enrollments that rest on a token (those waiting for a review,
// and those let in without one), or with tokenID "" on any window.
func resting(ctx context.Context, tx db.Tx, tokenID string) (list []Enrollment, err error) {
	sel := tx.NewSelect().Model(&list)
	if tokenID == "" {
		sel = sel.Where("state = ? AND approval_id = ''", protocol.EnrollApproved)
	} else {
		sel = sel.Where("token_id = ? AND (state = ? OR state = ? AND approval_id = '')", tokenID, protocol.EnrollPending, protocol.EnrollApproved)
	}
	err = sel.Scan(ctx)
	return list, err
}

// Overdue lists enrollments whose time is over but whose row does not say so.
func Overdue(ctx context.Context, q bun.IDB, now db.Micros, limit int) (list []Enrollment, err error) {
	err = q.NewSelect().Model(&list).
		Where("state IN (?, ?) AND expires_at <= ?", protocol.EnrollPending, protocol.EnrollApproved, now).
		OrderExpr("created_at").Limit(int64(limit)).Scan(ctx)
	return list, err
}

func openWindow(ctx context.Context, q bun.IDB, now db.Micros) (*Window, error) {
	w := new(Window)
	err := q.NewSelect().Model(w).Where("closed_by = '' AND closes_at > ?", now).OrderExpr("closes_at DESC").Limit(1).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	}
	return w, err
}

func insertWindow(ctx context.Context, tx db.Tx, w *Window) error {
	_, err := tx.NewInsert().Model(w).Exec(ctx)
	return err
}

func closeWindows(ctx context.Context, tx db.Tx, by string) (int64, error) {
	res, err := tx.NewUpdate().Model((*Window)(nil)).Set("closes_at = ?", tx.At()).Set("closed_by = ?", by).
		Where("closed_by = '' AND closes_at > ?", tx.At()).Exec(ctx)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// VoidAll ends everything one-time after a restore: tokens may have been used
// and reviews may have been decided in the time that was lost.
func VoidAll(ctx context.Context, tx db.Tx, by string) error {
	if _, err := tx.NewUpdate().Model((*Token)(nil)).Set("revoked_at = ?", tx.At()).Set("revoked_by = ?", by).
		Where("revoked_at = 0").Exec(ctx); err != nil {
		return err
	}
	if _, err := tx.NewUpdate().Model((*Enrollment)(nil)).Set("state = ?", protocol.EnrollExpired).Set("reason = ?", "the database was restored").
		Where("state IN (?, ?)", protocol.EnrollPending, protocol.EnrollApproved).Exec(ctx); err != nil {
		return err
	}
	_, err := closeWindows(ctx, tx, by)
	return err
}
