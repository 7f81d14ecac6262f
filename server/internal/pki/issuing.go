package pki

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Refusals about the switch that stops issuing.
var (
	// ErrStopped refuses a certificate while issuing is stopped.
	ErrStopped = errors.New("issuing is stopped")
	// ErrStoppedAlready says that issuing is stopped already.
	ErrStoppedAlready = errors.New("issuing is stopped already")
	// ErrNotStopped says that there is nothing to start again.
	ErrNotStopped = errors.New("issuing is not stopped")
)

// Stop is the stop in force. The zero one is none.
type Stop struct {
	bun.BaseModel `bun:"table:issuing"`

	ID         int       `bun:"id,pk"`
	StopID     string    `bun:"stop_id"` // empty: certificates are issued
	StoppedAt  db.Micros `bun:"stopped_at"`
	StoppedBy  string    `bun:"stopped_by"`
	Reason     string    `bun:"reason"`
	ApprovalID string    `bun:"approval_id"` // of the request to start again; empty: nobody asked
}

// CurrentStop reads the switch.
func CurrentStop(ctx context.Context, q bun.IDB) (Stop, error) {
	var s Stop
	err := q.NewSelect().Model(&s).Where("id = 1").Scan(ctx)
	return s, err
}

// MayIssue is ErrStopped while issuing is stopped. It is asked in the transaction
// that records a certificate, and holds the switch until that ends: a stop waits for
// the few that are being recorded, and once it is acknowledged no other is.
func MayIssue(ctx context.Context, tx db.Tx) error {
	var s Stop
	sel := tx.NewSelect().Model(&s).Column("stop_id").Where("id = 1")
	if tx.On == db.PostgreSQL {
		sel = sel.For("SHARE")
	}
	if err := sel.Scan(ctx); err != nil {
		return err
	}
	if s.StopID != "" {
		return ErrStopped
	}
	return nil
}

// StopIssuing sets the switch. It is ErrStoppedAlready when it is set.
func StopIssuing(ctx context.Context, tx db.Tx, by, reason string) (Stop, error) {
	s := Stop{ID: 1, StopID: tx.NewID(), StoppedAt: tx.At(), StoppedBy: by, Reason: reason}
	err := db.One(tx.NewUpdate().Model(&s).WherePK().Where("stop_id = ''").Exec(ctx))
	if errors.Is(err, db.ErrConflict) {
		err = ErrStoppedAlready
	}
	return s, err
}

// AskedToStart notes the request to start again after a stop.
func AskedToStart(ctx context.Context, tx db.Tx, s Stop, approvalID string) error {
	return db.One(tx.NewUpdate().Model((*Stop)(nil)).Set("approval_id = ?", approvalID).
		Where("id = 1 AND stop_id = ? AND stop_id <> '' AND approval_id = ?", s.StopID, s.ApprovalID).Exec(ctx))
}

// StartIssuing lifts the stop that was decided on, and no other.
func StartIssuing(ctx context.Context, tx db.Tx, stopID, approvalID string) error {
	none := Stop{ID: 1}
	return db.One(tx.NewUpdate().Model(&none).WherePK().
		Where("stop_id = ? AND stop_id <> '' AND approval_id = ?", stopID, approvalID).Exec(ctx))
}

// StartAction is what is voted on: starting again after one stop, for a reason.
type StartAction struct {
	StopID    string `json:"stop_id"`
	StoppedBy string `json:"stopped_by"`
	Why       string `json:"stopped_because"`
	Reason    string `json:"reason"`
}

// Bytes is the one spelling of it.
func (a StartAction) Bytes() ([]byte, error) {
	return json.Marshal(struct {
		Type string `json:"type"`
		StartAction
	}{"start-issuing", a})
}
