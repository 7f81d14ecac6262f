package view

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Standing is how an installation stands that is about to meet real devices: its
// people, what is open, what waits, and what was made where. It holds no secret.
type Standing struct {
	Accounts []StandingAccount // that are not disabled
	Quorums  map[string]int    // people in force, by path; a path that never took effect is not there

	WindowUntil time.Time // an enrollment window is open until then; zero: none is
	Tokens      Ends      // enrollment tokens that can still be used
	APITokens   Ends      // of machines
	Waiting     int       // reviews of enrollments and identities that wait for a person
	WaitsSince  time.Time // the oldest of them
	FirstUse    int       // devices that took the fleet root from the server at their first contact
	BreakGlass  bool      // sealed codes exist
	StoppedAt   time.Time // issuing certificates was stopped; zero: it was not

	Lists       []StandingList // revocation lists
	RootIssuer  []byte         // certificate of the root's list, DER; nil without one
	BornOnTrial bool           // the fleet root was made by a server for itself
}

// StandingAccount is an account with what it proves itself by beside a password.
type StandingAccount struct {
	Name     string
	Person   string
	Role     authz.Role
	Grants   []authz.Permission
	TOTP     bool
	Passkeys int
}

// May reports whether the account has a right.
func (a StandingAccount) May(p authz.Permission) bool {
	return a.Role.Has(p) || slices.Contains(a.Grants, p)
}

// SecondFactor reports whether a password alone does not open it.
func (a StandingAccount) SecondFactor() bool { return a.TOTP || a.Passkeys > 0 }

// Ends are things that end by themselves: how many live, and when the last ends.
type Ends struct {
	Live    int
	Endless int // that have no end
	Last    time.Time
}

// StandingList is how long a revocation list holds.
type StandingList struct {
	AuthorityID string
	Ends        time.Time
}

// ReadStanding reads it all.
func ReadStanding(ctx context.Context, q bun.IDB, now time.Time) (*Standing, error) {
	s := &Standing{Quorums: map[string]int{}}
	for _, read := range []func(context.Context, bun.IDB, db.Micros) error{
		s.readAccounts, s.readQuorums, s.readOpen, s.readWaiting, s.readSwitches, s.readLists,
	} {
		if err := read(ctx, q, db.At(now)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Standing) readAccounts(ctx context.Context, q bun.IDB, _ db.Micros) error {
	var rows []struct {
		Name     string     `bun:"name"`
		Person   string     `bun:"person"`
		Role     authz.Role `bun:"role"`
		Grants   string     `bun:"grants"`
		TOTP     int        `bun:"totp"`
		Passkeys int        `bun:"passkeys"`
	}
	err := q.NewSelect().TableExpr("accounts AS a").ColumnExpr("a.name, a.person, a.role, a.grants").
		ColumnExpr("(SELECT COUNT(*) FROM account_totp AS t WHERE t.account_id = a.id AND t.confirmed_at <> 0) AS totp").
		ColumnExpr("(SELECT COUNT(*) FROM passkeys AS k WHERE k.account_id = a.id) AS passkeys").
		Where("a.disabled_at = 0").OrderExpr("a.name").Scan(ctx, &rows)
	for _, r := range rows {
		a := StandingAccount{Name: r.Name, Person: r.Person, Role: r.Role, TOTP: r.TOTP > 0, Passkeys: r.Passkeys}
		if err := json.Unmarshal([]byte(r.Grants), &a.Grants); err != nil {
			return err
		}
		s.Accounts = append(s.Accounts, a)
	}
	return err
}

func (s *Standing) readQuorums(ctx context.Context, q bun.IDB, _ db.Micros) error {
	var rows []struct {
		Path   string `bun:"path"`
		People int    `bun:"people"`
	}
	err := q.NewSelect().TableExpr("approval_quorums").ColumnExpr("path, people").Scan(ctx, &rows)
	for _, r := range rows {
		s.Quorums[r.Path] = r.People
	}
	return err
}

// readOpen reads what lets something in.
func (s *Standing) readOpen(ctx context.Context, q bun.IDB, now db.Micros) error {
	var until db.Micros
	err := q.NewSelect().TableExpr("enroll_windows").ColumnExpr("COALESCE(MAX(closes_at), 0)").Where("closed_by = '' AND closes_at > ?", now).Scan(ctx, &until)
	s.WindowUntil = until.Time()
	if err != nil {
		return err
	}
	for _, e := range []struct {
		ends  *Ends
		table string
		live  string
	}{
		{&s.Tokens, "enroll_tokens", "revoked_at = 0 AND uses < max_uses AND (expires_at = 0 OR expires_at > ?)"},
		{&s.APITokens, "api_tokens", "revoked_at = 0 AND (expires_at = 0 OR expires_at > ?)"},
	} {
		var last db.Micros
		err := q.NewSelect().TableExpr(e.table).ColumnExpr("COUNT(*) AS live").
			ColumnExpr("COALESCE(SUM(CASE WHEN expires_at = 0 THEN 1 ELSE 0 END), 0) AS endless").
			ColumnExpr("COALESCE(MAX(expires_at), 0) AS last").
			Where(e.live, now).Scan(ctx, &e.ends.Live, &e.ends.Endless, &last)
		if err != nil {
			return err
		}
		e.ends.Last = last.Time()
	}
	return nil
}

func (s *Standing) readWaiting(ctx context.Context, q bun.IDB, now db.Micros) error {
	for _, table := range []string{"enrollments", "identity_requests"} {
		var n int
		var since db.Micros
		err := q.NewSelect().TableExpr(table).ColumnExpr("COUNT(*) AS n").ColumnExpr("COALESCE(MIN(created_at), 0) AS since").
			Where("state = 'pending' AND expires_at > ?", now).Scan(ctx, &n, &since)
		if err != nil {
			return err
		}
		s.Waiting += n
		if t := since.Time(); n > 0 && (s.WaitsSince.IsZero() || t.Before(s.WaitsSince)) {
			s.WaitsSince = t
		}
	}
	var err error
	s.FirstUse, err = count(ctx, q.NewSelect().TableExpr("devices").Where("first_use AND state NOT IN ('revoked', 'retired')"))
	return err
}

// readSwitches reads what happened to the installation as a whole.
func (s *Standing) readSwitches(ctx context.Context, q bun.IDB, _ db.Micros) error {
	n, err := count(ctx, q.NewSelect().TableExpr("break_glass").Where("closed_at = 0"))
	if err != nil {
		return err
	}
	s.BreakGlass = n > 0
	var stopped db.Micros
	if err := q.NewSelect().TableExpr("issuing").ColumnExpr("COALESCE(MAX(stopped_at), 0)").Where("stop_id <> ''").Scan(ctx, &stopped); err != nil {
		return err
	}
	s.StoppedAt = stopped.Time()
	n, err = count(ctx, q.NewSelect().TableExpr("audit_entries").Where("actor_id = 'trial' AND actor_kind = 'system' AND action = 'fleet.install'"))
	s.BornOnTrial = n > 0
	return err
}

func (s *Standing) readLists(ctx context.Context, q bun.IDB, _ db.Micros) error {
	var rows []struct {
		AuthorityID string    `bun:"authority_id"`
		Issuer      []byte    `bun:"issuer"`
		NextUpdate  db.Micros `bun:"next_update"`
	}
	err := q.NewSelect().TableExpr("revocation_lists").ColumnExpr("authority_id, issuer, next_update").OrderExpr("authority_id").Scan(ctx, &rows)
	for _, r := range rows {
		s.Lists = append(s.Lists, StandingList{r.AuthorityID, r.NextUpdate.Time()})
		if r.AuthorityID == "root" {
			s.RootIssuer = r.Issuer
		}
	}
	return err
}

func count(ctx context.Context, q *bun.SelectQuery) (int, error) {
	n, err := q.Count(ctx)
	return int(n), err
}
