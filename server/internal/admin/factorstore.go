package admin

import (
	"context"
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// The queries about factors and notices; store.go has the others.

type totpRow struct {
	bun.BaseModel `bun:"table:account_totp"`

	AccountID   string    `bun:"account_id,pk"`
	KEKID       string    `bun:"kek_id"`
	Sealed      []byte    `bun:"sealed_secret"`
	LastStep    int64     `bun:"last_step"`
	CreatedAt   db.Micros `bun:"created_at"`
	ConfirmedAt db.Micros `bun:"confirmed_at"`
}

type recoveryRow struct {
	bun.BaseModel `bun:"table:recovery_codes"`

	AccountID string    `bun:"account_id,pk"`
	CodeHash  []byte    `bun:"code_hash,pk"`
	Epoch     string    `bun:"epoch"`
	UsedAt    db.Micros `bun:"used_at"`
}

type passkeyRow struct {
	bun.BaseModel `bun:"table:passkeys"`

	ID         string    `bun:"id,pk"`
	AccountID  string    `bun:"account_id"`
	Name       string    `bun:"name"`
	Credential []byte    `bun:"credential"`
	SignCount  int64     `bun:"sign_count"`
	CreatedAt  db.Micros `bun:"created_at"`
	UsedAt     db.Micros `bun:"used_at"`
}

func (r *passkeyRow) passkey() Passkey {
	return Passkey{ID: r.ID, Name: r.Name, CreatedAt: r.CreatedAt.Time(), UsedAt: r.UsedAt.Time()}
}

type challengeRow struct {
	bun.BaseModel `bun:"table:passkey_challenges"`

	ID        string    `bun:"id,pk"`
	Purpose   purpose   `bun:"purpose"`
	AccountID string    `bun:"account_id"`
	SessionID string    `bun:"session_id"`
	Data      []byte    `bun:"data"`
	ExpiresAt db.Micros `bun:"expires_at"`
}

type noticeRow struct {
	bun.BaseModel `bun:"table:account_notices"`

	ID        string     `bun:"id,pk"`
	AccountID string     `bun:"account_id"`
	At        db.Micros  `bun:"at"`
	Kind      NoticeKind `bun:"kind"`
	Detail    string     `bun:"detail"`
	Source    string     `bun:"source"`
}

// owned is what an account has.
type owned struct {
	totp               bool
	passkeys, recovery int
}

// factorsOf counts the factors of an account.
func factorsOf(ctx context.Context, q bun.IDB, accountID string) (owned, error) {
	var row struct{ Totp, Passkeys, Recovery int }
	err := q.NewSelect().
		ColumnExpr("(SELECT count(*) FROM account_totp WHERE account_id = ?0 AND confirmed_at <> 0) AS totp", accountID).
		ColumnExpr("(SELECT count(*) FROM passkeys WHERE account_id = ?0) AS passkeys", accountID).
		ColumnExpr("(SELECT count(*) FROM recovery_codes WHERE account_id = ?0 AND used_at = 0 AND epoch = (SELECT epoch FROM instance WHERE id = 1)) AS recovery", accountID).
		Scan(ctx, &row)
	return owned{row.Totp > 0, row.Passkeys, row.Recovery}, err
}

func totpOf(ctx context.Context, q bun.IDB, accountID string) (*totpRow, error) {
	r := new(totpRow)
	err := q.NewSelect().Model(r).Where("account_id = ?", accountID).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrNoFactor
	}
	return r, err
}

// putTOTP stores a generator that is not in use yet, in place of another such.
func putTOTP(ctx context.Context, tx db.Tx, r *totpRow) error {
	if _, err := tx.NewDelete().Model((*totpRow)(nil)).Where("account_id = ? AND confirmed_at = 0", r.AccountID).Exec(ctx); err != nil {
		return err
	}
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	return err
}

func confirmTOTP(ctx context.Context, tx db.Tx, accountID string) error {
	return db.One(tx.NewUpdate().Model((*totpRow)(nil)).Set("confirmed_at = ?", tx.At()).Where("account_id = ? AND confirmed_at = 0", accountID).Exec(ctx))
}

// raiseTOTP is db.ErrConflict for a step that is not above the last one used.
func raiseTOTP(ctx context.Context, tx db.Tx, accountID string, step int64) error {
	return db.One(tx.NewUpdate().Model((*totpRow)(nil)).Set("last_step = ?", step).Where("account_id = ? AND last_step < ?", accountID, step).Exec(ctx))
}

// removeTOTP removes generator and recovery codes; ErrNoFactor when there are none.
func removeTOTP(ctx context.Context, tx db.Tx, accountID string) error {
	if _, err := tx.NewDelete().Model((*recoveryRow)(nil)).Where("account_id = ?", accountID).Exec(ctx); err != nil {
		return err
	}
	err := db.One(tx.NewDelete().Model((*totpRow)(nil)).Where("account_id = ?", accountID).Exec(ctx))
	if errors.Is(err, db.ErrConflict) {
		return ErrNoFactor
	}
	return err
}

// replaceRecovery stores the hashes of new codes in place of all before.
func replaceRecovery(ctx context.Context, tx db.Tx, accountID string, codes []string) error {
	if _, err := tx.NewDelete().Model((*recoveryRow)(nil)).Where("account_id = ?", accountID).Exec(ctx); err != nil {
		return err
	}
	epoch, err := tx.Epoch(ctx)
	if err != nil {
		return err
	}
	rows := make([]recoveryRow, 0, len(codes))
	for _, code := range codes {
		rows = append(rows, recoveryRow{AccountID: accountID, Epoch: epoch, CodeHash: codeHash("recovery code of "+accountID, code, recoverySize)})
	}
	_, err = tx.NewInsert().Model(&rows).Exec(ctx)
	return err
}

// useRecovery is db.ErrConflict for a code that is not there or was used.
func useRecovery(ctx context.Context, tx db.Tx, accountID string, hash []byte) error {
	return db.One(tx.NewUpdate().Model((*recoveryRow)(nil)).Set("used_at = ?", tx.At()).
		Where("account_id = ? AND code_hash = ? AND used_at = 0", accountID, hash).
		Where("epoch = (SELECT epoch FROM instance WHERE id = 1)").Exec(ctx))
}

func passkeysOf(ctx context.Context, q bun.IDB, accountID string) (rows []passkeyRow, err error) {
	err = q.NewSelect().Model(&rows).Where("account_id = ?", accountID).OrderExpr("created_at, id").Scan(ctx)
	return rows, err
}

func removePasskeys(ctx context.Context, tx db.Tx, accountID string) error {
	_, err := tx.NewDelete().Model((*passkeyRow)(nil)).Where("account_id = ?", accountID).Exec(ctx)
	return err
}

func insertNotice(ctx context.Context, tx db.Tx, r *noticeRow) error {
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	return err
}

// noticesSince reads what happened after a time, the newest first.
func noticesSince(ctx context.Context, q bun.IDB, accountID string, after db.Micros) ([]Notice, error) {
	var rows []noticeRow
	err := q.NewSelect().Model(&rows).Where("account_id = ? AND at > ?", accountID, after).OrderExpr("at DESC, id DESC").Limit(maxNotices).Scan(ctx)
	notices := make([]Notice, 0, len(rows))
	for _, r := range rows {
		notices = append(notices, Notice{At: r.At.Time(), Kind: r.Kind, Detail: r.Detail, Source: r.Source})
	}
	return notices, err
}

func insertChallenge(ctx context.Context, tx db.Tx, r *challengeRow) error {
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	return err
}

// takeChallenge removes a challenge and returns it, or nil when it is not there.
func takeChallenge(ctx context.Context, tx db.Tx, id string) (*challengeRow, error) {
	var rows []challengeRow
	err := tx.NewRaw("DELETE FROM passkey_challenges WHERE id = ? RETURNING *", id).Scan(ctx, &rows)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

// insertPasskey is ErrPasskey for a credential that someone has.
func insertPasskey(ctx context.Context, tx db.Tx, r *passkeyRow) error {
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	if db.IsDuplicate(err) {
		return ErrPasskey
	}
	return err
}

func passkeyBy(ctx context.Context, q bun.IDB, id string) (*passkeyRow, error) {
	r := new(passkeyRow)
	err := q.NewSelect().Model(r).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrNoFactor
	}
	return r, err
}

func removePasskey(ctx context.Context, tx db.Tx, id string) error {
	_, err := tx.NewDelete().Model((*passkeyRow)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}

// usePasskey is db.ErrConflict when the passkey is gone, or its counter moved.
func usePasskey(ctx context.Context, tx db.Tx, id string, before, after int64, credential []byte) error {
	return db.One(tx.NewUpdate().Model((*passkeyRow)(nil)).Set("sign_count = ?", after).Set("credential = ?", credential).Set("used_at = ?", tx.At()).
		Where("id = ? AND sign_count = ?", id, before).Exec(ctx))
}

func totpsNotUnder(ctx context.Context, tx db.Tx, kek string) (rows []totpRow, err error) {
	err = tx.NewSelect().Model(&rows).Where("kek_id <> ?", kek).Scan(ctx)
	return rows, err
}

// resealTOTP is db.ErrConflict when the secret does not stand under before any more.
func resealTOTP(ctx context.Context, tx db.Tx, accountID, before, kek string, sealed []byte) error {
	return db.One(tx.NewUpdate().Model((*totpRow)(nil)).Set("kek_id = ?", kek).Set("sealed_secret = ?", sealed).
		Where("account_id = ? AND kek_id = ?", accountID, before).Exec(ctx))
}
