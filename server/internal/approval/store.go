package approval

import (
	"context"
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Request is an act that waits for people.
type Request struct {
	bun.BaseModel `bun:"table:approvals,alias:approvals"`

	ID        string    `bun:"id,pk" json:"id"`
	Kind      Kind      `bun:"kind" json:"kind"`
	Path      Path      `bun:"path" json:"path,omitempty"` // whose number Required is
	SubjectID string    `bun:"subject_id" json:"subject_id"`
	Action    []byte    `bun:"action" json:"-"`
	Digest    string    `bun:"digest" json:"digest"`
	Required  int       `bun:"required" json:"required"`
	Requester string    `bun:"requester" json:"requester"`
	Excluded  string    `bun:"excluded" json:"excluded,omitempty"` // person who may only reject
	AccountID string    `bun:"requester_account" json:"-"`         // of a person who asked, or whose machine did
	Reason    string    `bun:"reason" json:"reason,omitempty"`     // of whoever asked
	State     State     `bun:"state" json:"state"`
	CreatedAt db.Micros `bun:"created_at" json:"created_at"`
	ExpiresAt db.Micros `bun:"expires_at" json:"expires_at"`
	DueAt     db.Micros `bun:"due_at" json:"due_at,omitzero"` // when what was approved takes effect; 0: at once
	ClosedAt  db.Micros `bun:"closed_at" json:"closed_at,omitzero"`
}

type voteRow struct {
	bun.BaseModel `bun:"table:approval_votes"`

	ApprovalID string    `bun:"approval_id,pk"`
	Person     string    `bun:"person,pk"`
	AccountID  string    `bun:"account_id"`
	Requester  string    `bun:"requester"` // of the request, for the table's own constraint
	Excluded   string    `bun:"excluded"`
	Approve    bool      `bun:"approve"`
	Reason     string    `bun:"reason"`
	At         db.Micros `bun:"at"`
	StruckAt   db.Micros `bun:"struck_at"` // when it stopped counting
}

// Get reads a request, or ErrUnknown.
func Get(ctx context.Context, q bun.IDB, id string) (*Request, error) {
	r := new(Request)
	err := q.NewSelect().Model(r).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	return r, err
}

func votes(ctx context.Context, q bun.IDB, id string) (rows []voteRow, err error) {
	err = q.NewSelect().Model(&rows).Where("approval_id = ?", id).OrderExpr("at, person").Scan(ctx)
	return rows, err
}

func insertRequest(ctx context.Context, tx db.Tx, r *Request) error {
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	return err
}

func insertVote(ctx context.Context, tx db.Tx, r *Request, v Vote) error {
	_, err := tx.NewInsert().Model(&voteRow{
		ApprovalID: r.ID, Person: v.Person, AccountID: v.AccountID, Requester: r.Requester, Excluded: r.Excluded,
		Approve: v.Approve, Reason: v.Reason, At: tx.At(),
	}).Exec(ctx)
	return err
}

// strike ends approvals of these persons for good.
func strike(ctx context.Context, tx db.Tx, id string, persons []string) error {
	if len(persons) == 0 {
		return nil
	}
	_, err := tx.NewUpdate().Model((*voteRow)(nil)).Set("struck_at = ?", tx.At()).
		Where("approval_id = ? AND person IN (?) AND struck_at = 0", id, bun.List(persons)).Exec(ctx)
	return err
}

// strikeAccount ends the approvals of an account on requests of these kinds that
// were not carried out yet.
func strikeAccount(ctx context.Context, tx db.Tx, accountID string, kinds []Kind) (int64, error) {
	if len(kinds) == 0 {
		return 0, nil
	}
	waiting := tx.NewSelect().Model((*Request)(nil)).Column("id").Where("state IN (?, ?) AND kind IN (?)", Open, Approved, bun.List(kinds))
	res, err := tx.NewUpdate().Model((*voteRow)(nil)).Set("struck_at = ?", tx.At()).
		Where("account_id = ? AND approve AND struck_at = 0 AND approval_id IN (?)", accountID, waiting).Exec(ctx)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func setDue(ctx context.Context, tx db.Tx, id string, until db.Micros) error {
	return db.One(tx.NewUpdate().Model((*Request)(nil)).Set("due_at = ?", until).Where("id = ? AND state = ?", id, Approved).Exec(ctx))
}

// Waiting reads what was not carried out yet: of a kind and subject where they are
// given, asked by an account where that is.
func Waiting(ctx context.Context, q bun.IDB, kind Kind, subjectID, accountID string) (list []Request, err error) {
	sel := q.NewSelect().Model(&list).Where("state IN (?, ?)", Open, Approved).OrderExpr("created_at, id")
	if kind != "" {
		sel = sel.Where("kind = ?", kind)
	}
	if subjectID != "" {
		sel = sel.Where("subject_id = ?", subjectID)
	}
	if accountID != "" {
		sel = sel.Where("requester_account = ?", accountID)
	}
	return list, sel.Scan(ctx)
}

// Due lists what was approved and takes effect by now, the oldest first.
func Due(ctx context.Context, q bun.IDB, now db.Micros, limit int) (list []Request, err error) {
	err = q.NewSelect().Model(&list).Where("state = 'approved' AND due_at > 0 AND due_at <= ?", now).
		OrderExpr("due_at, id").Limit(int64(limit)).Scan(ctx)
	return list, err
}

// Overdue lists open requests of these kinds whose time is over.
func Overdue(ctx context.Context, q bun.IDB, now db.Micros, limit int, kinds ...Kind) (list []Request, err error) {
	err = q.NewSelect().Model(&list).Where("state = ? AND expires_at <= ? AND kind IN (?)", Open, now, bun.List(kinds)).
		OrderExpr("expires_at, id").Limit(int64(limit)).Scan(ctx)
	return list, err
}

// move changes the state from one to another, or is db.ErrConflict.
func move(ctx context.Context, tx db.Tx, id string, from, to State) error {
	closed := db.Micros(0)
	if to != Approved {
		closed = tx.At()
	}
	return db.One(tx.NewUpdate().Model((*Request)(nil)).Set("state = ?", to).Set("closed_at = ?", closed).
		Where("id = ? AND state = ?", id, from).Exec(ctx))
}

// VoidAll ends everything that waits, after a restore.
func VoidAll(ctx context.Context, tx db.Tx) error {
	_, err := tx.NewUpdate().Model((*Request)(nil)).Set("state = ?", Void).Set("closed_at = ?", tx.At()).
		Where("state IN (?, ?)", Open, Approved).Exec(ctx)
	return err
}

// Approvers names who approved requests, for display: the persons, joined, by the
// request's id.
func Approvers(ctx context.Context, q bun.IDB, ids []string) (map[string]string, error) {
	var rows []voteRow
	err := q.NewSelect().Model(&rows).Column("approval_id", "person").Where("approval_id IN (?) AND approve AND struck_at = 0", bun.List(ids)).
		OrderExpr("at, person").Scan(ctx)
	names := make(map[string]string, len(ids))
	for _, v := range rows {
		if names[v.ApprovalID] != "" {
			v.Person = names[v.ApprovalID] + ", " + v.Person
		}
		names[v.ApprovalID] = v.Person
	}
	return names, err
}
