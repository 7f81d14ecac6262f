package admin

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

type accountRow struct {
	bun.BaseModel `bun:"table:accounts,alias:a"`

	ID           string     `bun:"id,pk"`
	Name         string     `bun:"name"`
	Person       string     `bun:"person"`
	Role         authz.Role `bun:"role"`
	Grants       string     `bun:"grants"` // JSON list
	PasswordHash string     `bun:"password_hash"`
	CreatedAt    db.Micros  `bun:"created_at"`
	CreatedBy    string     `bun:"created_by"`
	PasswordAt   db.Micros  `bun:"password_at"`
	SignedInAt   db.Micros  `bun:"signed_in_at"`
	DisabledAt   db.Micros  `bun:"disabled_at"`
	PasswordOnce int        `bun:"password_once"`
	OnceEpoch    string     `bun:"once_epoch"`
	MustPasskey  bool       `bun:"must_passkey"`
}

// The values of password_once.
const (
	ownPassword = iota
	oneTimeFresh
	oneTimeUsed
)

type sessionRow struct {
	bun.BaseModel `bun:"table:sessions,alias:s"`

	ID         string    `bun:"id,pk"`
	SecretHash []byte    `bun:"secret_hash"`
	AccountID  string    `bun:"account_id"`
	Epoch      string    `bun:"epoch"`
	CreatedAt  db.Micros `bun:"created_at"`
	SeenAt     db.Micros `bun:"seen_at"`
	ExpiresAt  db.Micros `bun:"expires_at"`
	Source     string    `bun:"source"`
	Agent      string    `bun:"agent"`
	RevokedAt  db.Micros `bun:"revoked_at"`
	RevokedBy  string    `bun:"revoked_by"`
	Via        Via       `bun:"via"`
	Stage      Stage     `bun:"stage"`
	Method     Method    `bun:"method"`
	FullAt     db.Micros `bun:"full_at"`
	ToldFrom   db.Micros `bun:"told_from"`

	Account  *accountRow `bun:"rel:belongs-to,join:account_id=id"`
	EpochNow string      `bun:"epoch_now,scanonly"`
}

func (r *accountRow) account() Account {
	a := Account{
		ID: r.ID, Name: r.Name, Person: r.Person, Role: r.Role,
		CreatedAt: r.CreatedAt.Time(), CreatedBy: r.CreatedBy,
		PasswordAt: r.PasswordAt.Time(), SignedInAt: r.SignedInAt.Time(), DisabledAt: r.DisabledAt.Time(),
		MustPasskey: r.MustPasskey, OneTime: r.PasswordOnce != ownPassword,
	}
	// Grants that cannot be read grant nothing.
	_ = json.Unmarshal([]byte(r.Grants), &a.Grants)
	return a
}

// take brings what may change of the account into the row.
func (r *accountRow) take(a *Account) error {
	grants, err := json.Marshal(append([]authz.Permission{}, a.Grants...))
	if err != nil {
		return err
	}
	r.Role, r.Grants, r.MustPasskey = a.Role, string(grants), a.MustPasskey
	r.PasswordAt, r.DisabledAt = db.At(a.PasswordAt), db.At(a.DisabledAt)
	return nil
}

func (r *sessionRow) session() Session {
	s := Session{
		ID: r.ID, AccountID: r.AccountID, CreatedAt: r.CreatedAt.Time(), SeenAt: r.SeenAt.Time(), ExpiresAt: r.ExpiresAt.Time(),
		Source: r.Source, Agent: r.Agent, RevokedAt: r.RevokedAt.Time(), epoch: r.Epoch,
		Via: r.Via, Stage: r.Stage, Method: r.Method, FullAt: r.FullAt.Time(), toldFrom: r.ToldFrom.Time(),
	}
	if r.Account != nil {
		s.AccountName = r.Account.Name
	}
	return s
}

// found turns "no row" into this domain's own error.
func found(err error) error {
	if errors.Is(err, db.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

func insertAccount(ctx context.Context, tx db.Tx, r *accountRow) error {
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	if db.IsDuplicate(err) {
		return ErrNameTaken
	}
	return err
}

func accountBy(ctx context.Context, q bun.IDB, column, value string) (*accountRow, error) {
	r := new(accountRow)
	err := q.NewSelect().Model(r).Where("? = ?", bun.Ident(column), value).Scan(ctx)
	return r, found(err)
}

func listAccounts(ctx context.Context, q bun.IDB, after string, limit int) ([]accountRow, error) {
	var rows []accountRow
	err := q.NewSelect().Model(&rows).Where("name > ?", after).OrderExpr("name").Limit(int64(limit)).Scan(ctx)
	return rows, err
}

func updateAccount(ctx context.Context, tx db.Tx, r *accountRow) error {
	return db.One(tx.NewUpdate().Model(r).Column("role", "grants", "password_hash", "password_at", "disabled_at", "password_once", "once_epoch", "must_passkey").WherePK().Exec(ctx))
}

// otherAdmins counts the active accounts with the role admin beside this one.
func otherAdmins(ctx context.Context, tx db.Tx, id string) (int64, error) {
	return tx.NewSelect().Model((*accountRow)(nil)).Where("role = ? AND disabled_at = 0 AND id <> ?", authz.Admin, id).Count(ctx)
}

func setSignedIn(ctx context.Context, tx db.Tx, id string) error {
	return db.One(tx.NewUpdate().Model((*accountRow)(nil)).Set("signed_in_at = ?", tx.At()).Where("id = ?", id).Exec(ctx))
}

func insertSession(ctx context.Context, tx db.Tx, r *sessionRow) error {
	_, err := tx.NewInsert().Model(r).Exec(ctx)
	return err
}

// sessionBy reads a session with its account and the epoch of now, in one
// statement.
func sessionBy(ctx context.Context, q bun.IDB, column string, value any) (*sessionRow, error) {
	r := new(sessionRow)
	err := q.NewSelect().Model(r).Relation("Account").ColumnExpr("s.*").
		ColumnExpr("(SELECT epoch FROM instance WHERE id = 1) AS epoch_now").
		Where("s.? = ?", bun.Ident(column), value).Scan(ctx)
	return r, found(err)
}

// running chooses the sessions that are neither revoked nor over nor idle.
func running(sel *bun.SelectQuery, now db.Micros, idle time.Duration) *bun.SelectQuery {
	return sel.Where("s.revoked_at = 0 AND s.expires_at > ? AND s.seen_at > ?", now, now.Add(-idle))
}

func listSessions(ctx context.Context, q bun.IDB, f SessionFilter, now db.Micros, idle time.Duration) ([]sessionRow, error) {
	var rows []sessionRow
	sel := running(q.NewSelect().Model(&rows).Relation("Account").ColumnExpr("s.*"), now, idle).
		Where("s.epoch = (SELECT epoch FROM instance WHERE id = 1)").OrderExpr("s.id DESC").Limit(int64(f.Limit + 1))
	if f.AccountID != "" {
		sel = sel.Where("s.account_id = ?", f.AccountID)
	}
	if f.After != "" {
		sel = sel.Where("s.id < ?", f.After)
	}
	return rows, sel.Scan(ctx)
}

// oldestSessions lists the running sessions of an account, full or half, the
// newest ones up to keep left out.
func oldestSessions(ctx context.Context, tx db.Tx, accountID string, full bool, keep int, idle time.Duration) ([]string, error) {
	var ids []string
	err := running(tx.NewSelect().Model((*sessionRow)(nil)).Column("id"), tx.At(), idle).
		Where("s.account_id = ? AND (s.stage = ?) = ?", accountID, StageFull, full).OrderExpr("s.created_at DESC, s.id DESC").Scan(ctx, &ids)
	if err != nil {
		return nil, err
	}
	return ids[min(keep, len(ids)):], nil
}

// revokeSession is db.ErrConflict for one that is revoked already.
func revokeSession(ctx context.Context, tx db.Tx, id, by string) error {
	return db.One(tx.NewUpdate().Model((*sessionRow)(nil)).Set("revoked_at = ?", tx.At()).Set("revoked_by = ?", by).
		Where("id = ? AND revoked_at = 0", id).Exec(ctx))
}

// revokeAll ends every session of an account.
func revokeAll(ctx context.Context, tx db.Tx, accountID, by string) error {
	_, err := tx.NewUpdate().Model((*sessionRow)(nil)).Set("revoked_at = ?", tx.At()).Set("revoked_by = ?", by).
		Where("account_id = ? AND revoked_at = 0", accountID).Exec(ctx)
	return err
}

// touchSession records use, unless another request just did.
func touchSession(ctx context.Context, tx db.Tx, id string, seen db.Micros) error {
	_, err := tx.NewUpdate().Model((*sessionRow)(nil)).Set("seen_at = ?", tx.At()).Where("id = ? AND seen_at = ?", id, seen).Exec(ctx)
	return err
}

func deleteSessions(ctx context.Context, tx db.Tx, before db.Micros) (int64, error) {
	res, err := tx.NewDelete().Model((*sessionRow)(nil)).Where("expires_at < ?", before).Exec(ctx)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// takeAttempt counts one attempt and is 0, or the time after which to come back,
// and then counts nothing. It is the generic cell rate algorithm in one statement.
func takeAttempt(ctx context.Context, tx db.Tx, by scope, subject string) (time.Duration, error) {
	p, now := paces[by], tx.At()
	latest := now.Add(time.Duration(p.burst-1) * p.every) // a count that is due by then has room for one more
	res, err := tx.NewRaw(`INSERT INTO attempt_counts AS c (scope, subject, due, failures, changed_at) VALUES (?0, ?1, ?2, 1, ?3)
		ON CONFLICT (scope, subject) DO UPDATE SET
			due = CASE WHEN ?4 > ?3 AND (c.failures + 1) % ?5 = 0 THEN ?4 WHEN c.due > ?3 THEN c.due + ?6 ELSE ?2 END,
			failures = c.failures + 1, changed_at = ?3
		WHERE c.due <= ?7 AND (?8 = 0 OR c.failures < ?8)`,
		by, subject, now.Add(p.every), now, lockedUntil(p, now), lockAfter, p.every.Microseconds(), latest, p.limit).Exec(ctx)
	if err != nil {
		return 0, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return 0, err
	}
	var row struct {
		Due      db.Micros
		Failures int
	}
	if err := tx.NewSelect().TableExpr("attempt_counts").Column("due", "failures").Where("scope = ? AND subject = ?", by, subject).Scan(ctx, &row); err != nil {
		return 0, err
	}
	if p.limit > 0 && row.Failures >= p.limit {
		return lockFor, nil
	}
	return max(row.Due.Time().Sub(latest.Time()), time.Microsecond), nil
}

// lockedUntil is the due time of a count that rests: full until then.
func lockedUntil(p pace, now db.Micros) db.Micros {
	if p.lock == 0 {
		return now
	}
	return now.Add(p.lock + time.Duration(p.burst-1)*p.every)
}

// forgetAttempts empties a count and says how many failures were in it.
func forgetAttempts(ctx context.Context, tx db.Tx, a attempts) (int, error) {
	var failures []int
	err := tx.NewRaw("DELETE FROM attempt_counts WHERE scope = ? AND subject = ? RETURNING failures", a.scope, a.subject).Scan(ctx, &failures)
	if err != nil || len(failures) == 0 {
		return 0, err
	}
	return failures[0], nil
}

func isKnownSource(ctx context.Context, tx db.Tx, accountID, source string) (bool, error) {
	n, err := tx.NewSelect().TableExpr("known_sources").Where("account_id = ? AND source = ?", accountID, source).Count(ctx)
	return n > 0, err
}

func rememberSource(ctx context.Context, tx db.Tx, accountID, source string) error {
	_, err := tx.NewRaw(`INSERT INTO known_sources (account_id, source, seen_at) VALUES (?, ?, ?)
		ON CONFLICT (account_id, source) DO UPDATE SET seen_at = excluded.seen_at`, accountID, source, tx.At()).Exec(ctx)
	return err
}

// keepCounts is how long a count of attempts is kept after the last one. Wrong
// codes in a row are kept until a right one.
const (
	keepCounts  = 24 * time.Hour
	keepSources = 90 * 24 * time.Hour
)

// deleteOver removes what has no effect any more.
func deleteOver(ctx context.Context, tx db.Tx) error {
	now := tx.At()
	for _, q := range []*bun.RawQuery{
		tx.NewRaw("DELETE FROM attempt_counts WHERE scope <> ? AND changed_at < ? AND due < ?", bySecond, now.Add(-keepCounts), now),
		tx.NewRaw("DELETE FROM passkey_challenges WHERE expires_at <= ?", now),
		tx.NewRaw("DELETE FROM account_notices WHERE at < ?", now.Add(-keepNotices)),
		tx.NewRaw("DELETE FROM known_sources WHERE seen_at < ?", now.Add(-keepSources)),
	} {
		if _, err := q.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
