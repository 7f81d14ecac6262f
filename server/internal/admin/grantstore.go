package admin

import (
	"context"
	"encoding/json"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// The queries about invitations, API tokens and break-glass codes; store.go has the
// others.

type invitationRow struct {
	bun.BaseModel `bun:"table:invitations,alias:i"`

	ID         string     `bun:"id,pk"`
	SecretHash []byte     `bun:"secret_hash"`
	Name       string     `bun:"name"`
	Person     string     `bun:"person"`
	Role       authz.Role `bun:"role"`
	Grants     string     `bun:"grants"` // JSON list
	InviterID  string     `bun:"inviter_id"`
	Epoch      string     `bun:"epoch"`
	CreatedAt  db.Micros  `bun:"created_at"`
	ExpiresAt  db.Micros  `bun:"expires_at"`
	ClosedAt   db.Micros  `bun:"closed_at"`
	ClosedBy   string     `bun:"closed_by"`

	Inviter *accountRow `bun:"rel:belongs-to,join:inviter_id=id"`
}

func (r *invitationRow) invitation() Invitation {
	return Invitation{
		ID: r.ID, Name: r.Name, Person: r.Person, Role: r.Role, Grants: listOf(r.Grants), Inviter: r.Inviter.Name,
		CreatedAt: r.CreatedAt.Time(), ExpiresAt: r.ExpiresAt.Time(),
	}
}

type machineRow struct {
	bun.BaseModel `bun:"table:api_tokens,alias:t"`

	ID          string    `bun:"id,pk"`
	SecretHash  []byte    `bun:"secret_hash"`
	Name        string    `bun:"name"`
	Permissions string    `bun:"permissions"` // JSON list
	MakerID     string    `bun:"maker_id"`
	Epoch       string    `bun:"epoch"`
	CreatedAt   db.Micros `bun:"created_at"`
	ExpiresAt   db.Micros `bun:"expires_at"`
	UsedAt      db.Micros `bun:"used_at"`
	RevokedAt   db.Micros `bun:"revoked_at"`
	RevokedBy   string    `bun:"revoked_by"`

	Maker    *accountRow `bun:"rel:belongs-to,join:maker_id=id"`
	EpochNow string      `bun:"epoch_now,scanonly"`
}

func (r *machineRow) token() APIToken {
	return APIToken{
		ID: r.ID, Name: r.Name, Permissions: listOf(r.Permissions), Maker: r.Maker.Name,
		CreatedAt: r.CreatedAt.Time(), ExpiresAt: r.ExpiresAt.Time(), UsedAt: r.UsedAt.Time(), RevokedAt: r.RevokedAt.Time(),
	}
}

type breakGlassRow struct {
	bun.BaseModel `bun:"table:break_glass"`

	ID           string    `bun:"id,pk"`
	FirstHash    []byte    `bun:"first_hash"`
	SecondHash   []byte    `bun:"second_hash"`
	FirstKeeper  string    `bun:"first_keeper"`
	SecondKeeper string    `bun:"second_keeper"`
	Epoch        string    `bun:"epoch"`
	CreatedAt    db.Micros `bun:"created_at"`
	ClosedAt     db.Micros `bun:"closed_at"`
	ClosedBy     string    `bun:"closed_by"`
}

func listText(list []authz.Permission) (string, error) {
	text, err := json.Marshal(append([]authz.Permission{}, list...))
	return string(text), err
}

// listOf reads a stored list. One that cannot be read grants nothing.
func listOf(text string) []authz.Permission {
	var list []authz.Permission
	_ = json.Unmarshal([]byte(text), &list)
	return list
}

func insertInvitation(ctx context.Context, tx db.Tx, r *invitationRow) error {
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	return err
}

func invitationBy(ctx context.Context, q bun.IDB, hash []byte) (*invitationRow, error) {
	r := new(invitationRow)
	err := q.NewSelect().Model(r).Relation("Inviter").Where("i.secret_hash = ?", hash).Scan(ctx)
	return r, found(err)
}

func invitationByID(ctx context.Context, q bun.IDB, id string) (*invitationRow, error) {
	r := new(invitationRow)
	err := q.NewSelect().Model(r).Where("i.id = ?", id).Scan(ctx)
	return r, found(err)
}

// openInvitations lists what can still be redeemed, the newest first.
func openInvitations(ctx context.Context, q bun.IDB, now db.Micros) (rows []invitationRow, err error) {
	err = q.NewSelect().Model(&rows).Relation("Inviter").Where("i.closed_at = 0 AND i.expires_at > ?", now).
		Where("i.epoch = (SELECT epoch FROM instance WHERE id = 1)").OrderExpr("i.id DESC").Limit(500).Scan(ctx)
	return rows, err
}

// closeInvitation is db.ErrConflict for one that is closed.
func closeInvitation(ctx context.Context, tx db.Tx, id, by string) error {
	return db.One(tx.NewUpdate().Model((*invitationRow)(nil)).Set("closed_at = ?", tx.At()).Set("closed_by = ?", by).Where("id = ? AND closed_at = 0", id).Exec(ctx))
}

func closeInvitations(ctx context.Context, tx db.Tx, name, by string) error {
	_, err := tx.NewUpdate().Model((*invitationRow)(nil)).Set("closed_at = ?", tx.At()).Set("closed_by = ?", by).Where("name = ? AND closed_at = 0", name).Exec(ctx)
	return err
}

func closeInvitationsOf(ctx context.Context, tx db.Tx, inviterID, by string) error {
	_, err := tx.NewUpdate().Model((*invitationRow)(nil)).Set("closed_at = ?", tx.At()).Set("closed_by = ?", by).Where("inviter_id = ? AND closed_at = 0", inviterID).Exec(ctx)
	return err
}

func insertMachine(ctx context.Context, tx db.Tx, r *machineRow) error {
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	return err
}

// machineBy reads a token with its maker and the epoch of now, in one statement.
func machineBy(ctx context.Context, q bun.IDB, column string, value any) (*machineRow, error) {
	r := new(machineRow)
	err := q.NewSelect().Model(r).Relation("Maker").ColumnExpr("t.*").
		ColumnExpr("(SELECT epoch FROM instance WHERE id = 1) AS epoch_now").Where("t.? = ?", bun.Ident(column), value).Scan(ctx)
	return r, found(err)
}

func listMachines(ctx context.Context, q bun.IDB) (rows []machineRow, err error) {
	err = q.NewSelect().Model(&rows).Relation("Maker").ColumnExpr("t.*").OrderExpr("t.id DESC").Limit(500).Scan(ctx)
	return rows, err
}

func liveMachines(ctx context.Context, tx db.Tx) (int64, error) {
	return tx.NewSelect().Model((*machineRow)(nil)).Where("t.revoked_at = 0 AND t.expires_at > ?", tx.At()).Count(ctx)
}

func touchMachine(ctx context.Context, tx db.Tx, id string, used db.Micros) error {
	_, err := tx.NewUpdate().Model((*machineRow)(nil)).Set("used_at = ?", tx.At()).Where("id = ? AND used_at = ?", id, used).Exec(ctx)
	return err
}

// revokeMachine is db.ErrConflict for one that is revoked already.
func revokeMachine(ctx context.Context, tx db.Tx, id, by string) error {
	return db.One(tx.NewUpdate().Model((*machineRow)(nil)).Set("revoked_at = ?", tx.At()).Set("revoked_by = ?", by).Where("id = ? AND revoked_at = 0", id).Exec(ctx))
}

func insertBreakGlass(ctx context.Context, tx db.Tx, r *breakGlassRow) error {
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	return err
}

// breakGlassBy finds the open pair of these two codes, in either order.
func breakGlassBy(ctx context.Context, tx db.Tx, a, b []byte, epoch string) (*breakGlassRow, error) {
	r := new(breakGlassRow)
	err := tx.NewSelect().Model(r).Where("closed_at = 0 AND epoch = ?", epoch).
		Where("(first_hash = ?0 AND second_hash = ?1) OR (first_hash = ?1 AND second_hash = ?0)", a, b).Scan(ctx)
	return r, found(err)
}

func closeBreakGlass(ctx context.Context, tx db.Tx, by string) error {
	_, err := tx.NewUpdate().Model((*breakGlassRow)(nil)).Set("closed_at = ?", tx.At()).Set("closed_by = ?", by).Where("closed_at = 0").Exec(ctx)
	return err
}

func activeAdmins(ctx context.Context, tx db.Tx) (ids []string, err error) {
	err = tx.NewSelect().Model((*accountRow)(nil)).Column("id").Where("role = ? AND disabled_at = 0", authz.Admin).Scan(ctx, &ids)
	return ids, err
}
