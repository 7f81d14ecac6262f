package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// CreateAccount makes an account. It refuses with *InvalidError, ErrNameTaken or
// what by says.
func (s *Service) CreateAccount(ctx context.Context, by authz.By, n NewAccount) (Account, error) {
	n, err := n.normal()
	if err != nil {
		return Account{}, err
	}
	if err := fresh(by, s.d.Now()); err != nil {
		return Account{}, err
	}
	hash, err := s.newHash(ctx, n.Password, n.Name)
	if err != nil {
		return Account{}, err
	}
	var made Account
	var waits string
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		row := &accountRow{
			ID: tx.NewID(), Name: n.Name, Person: n.Person, PasswordHash: hash,
			CreatedAt: tx.At(), CreatedBy: string(by.Kind) + ":" + by.ID,
		}
		if n.OneTime {
			if err := row.giveOnce(ctx, tx); err != nil {
				return err
			}
		}
		asked := Account{ID: row.ID, Name: n.Name, Person: n.Person, Role: n.Role, Grants: n.Grants}
		adds := widened(&Account{DisabledAt: tx.Now}, &asked)
		if asksFirst(by) && len(adds) > 0 { // until others agree it is an account that looks
			n.Role, n.Grants = authz.Viewer, nil
		}
		if err := row.take(&Account{Role: n.Role, Grants: n.Grants, PasswordAt: tx.Now, MustPasskey: n.MustPasskey}); err != nil {
			return err
		}
		if err := insertAccount(ctx, tx, row); err != nil {
			return err
		}
		made = row.account()
		if err := audit.Write(ctx, tx, by.Actor, audit.Entry{
			Action: audit.AccountCreate, ObjectKind: "account", ObjectID: n.Name,
			Details: map[string]string{"person": n.Person, "role": string(n.Role), "grants": joined(n.Grants)},
		}); err != nil {
			return err
		}
		waits, err = s.askFirst(ctx, tx, by, made, asked, adds, "the account was made for this")
		return err
	})
	return made, waitsFor(waits, made, err)
}

// CreateLocal makes an account on the word of whoever runs a command on the
// server's host: the first one, and later the way back in.
func (s *Service) CreateLocal(ctx context.Context, n NewAccount) (Account, error) {
	return s.CreateAccount(ctx, authz.Host("admin create --local"), n)
}

// Update changes the account with the given id. Whatever changes its rights or
// its password ends its sessions. Rights that approve or widen rights are not given by
// one person: the change becomes a request, whose id *WaitsError names, and the account
// stays as it is. Only closing an account needs no fresh sign-in: what
// protects is never the slow path. A password set here is a one-time password, since
// another than its owner knows it.
func (s *Service) Update(ctx context.Context, by authz.By, id string, c Change) (Account, error) {
	if protocol.CheckID(id) != nil {
		return Account{}, ErrNotFound
	}
	if err := c.check(); err != nil {
		return Account{}, err
	}
	if !c.closesOnly() {
		if err := fresh(by, s.d.Now()); err != nil {
			return Account{}, err
		}
	}
	if c.Grants != nil {
		grants, err := normalGrants(*c.Grants)
		if err != nil {
			return Account{}, err
		}
		c.Grants = &grants
	}
	var hash string
	if c.Password != nil {
		before, err := accountBy(ctx, s.d.Read(), "id", id)
		if err != nil {
			return Account{}, err
		}
		if hash, err = s.newHash(ctx, *c.Password, before.Name); err != nil {
			return Account{}, err
		}
	}
	var after Account
	var waits string
	err := s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		row, err := accountBy(ctx, tx, "id", id)
		if err != nil {
			return err
		}
		before := row.account()
		asked := before
		asked.apply(c, tx.Now)
		if adds := widened(&before, &asked); asksFirst(by) && len(adds) > 0 {
			if c.Password != nil || c.MustPasskey != nil {
				return &InvalidError{"the change", "holds rights that others agree to first, and more: ask for each apart"}
			}
			after = before
			waits, err = s.askFirst(ctx, tx, by, before, asked, adds, c.Reason)
			return err
		}
		if asksFirst(by) && by.AccountID != row.ID {
			if err := takesOver(ctx, tx, &before, c); err != nil {
				return err
			}
		}
		after, err = s.alter(ctx, tx, by, row, c, hash)
		return err
	})
	return after, waitsFor(waits, after, err)
}

// ChangePassword sets the password of the account behind by, who shows the
// current one. All its sessions end, also the one that asks. A wrong current
// password is ErrSignIn, and counts as an attempt to sign in.
func (s *Service) ChangePassword(ctx context.Context, by authz.By, current, next string) error {
	row, err := accountBy(ctx, s.d.Read(), "id", by.AccountID)
	if err != nil {
		return err
	}
	counted, err := s.takeSignIn(ctx, by.Source, row.ID, row.Name)
	if err != nil {
		return err
	}
	ok, err := s.hasher.matches(ctx, row.PasswordHash, current[:min(len(current), maxPassword+1)])
	switch {
	case errors.Is(err, errBusy):
		return &ThrottledError{After: maxHashWait}
	case err != nil:
		return err
	case !ok:
		entry := audit.Entry{Action: audit.AccountUpdate, ObjectKind: "account", ObjectID: row.Name, Reason: "credentials"}
		return errors.Join(ErrSignIn, s.refusals.Note(ctx, by.Actor, entry))
	}
	hash, err := s.newHash(ctx, next, row.Name)
	if err != nil {
		return err
	}
	checked := row.PasswordHash
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		row, err := accountBy(ctx, tx, "id", by.AccountID)
		if err != nil {
			return err
		}
		if row.PasswordHash != checked {
			return ErrSignIn // changed while the hash was computed
		}
		if _, err := forgetAttempts(ctx, tx, counted); err != nil {
			return err
		}
		_, err = change(ctx, tx, by, row, Change{Password: &next}, hash)
		return err
	})
}

// change writes a change that was checked, with all that comes of it.
func change(ctx context.Context, tx db.Tx, by authz.By, row *accountRow, c Change, hash string) (Account, error) {
	before := row.account()
	after := before
	endSessions, losesAdmin := after.apply(c, tx.Now)
	if losesAdmin {
		others, err := otherAdmins(ctx, tx, row.ID)
		if err != nil {
			return Account{}, err
		}
		if others == 0 {
			return Account{}, ErrLastAdmin
		}
	}
	if err := row.take(&after); err != nil {
		return Account{}, err
	}
	if hash != "" {
		row.PasswordHash, row.PasswordOnce = hash, ownPassword
		if by.AccountID != row.ID {
			if err := row.giveOnce(ctx, tx); err != nil {
				return Account{}, err
			}
		}
		after.OneTime = row.PasswordOnce != ownPassword
	}
	if err := updateAccount(ctx, tx, row); err != nil {
		return Account{}, err
	}
	if endSessions {
		if err := revokeAll(ctx, tx, row.ID, string(by.Kind)+":"+by.ID); err != nil {
			return Account{}, err
		}
	}
	if invites(&before) && !invites(&after) {
		if err := closeInvitationsOf(ctx, tx, row.ID, "its inviter may not invite any more"); err != nil {
			return Account{}, err
		}
	}
	details := difference(&before, &after, c.Password != nil)
	if err := notifyChange(ctx, tx, by, row.ID, details); err != nil {
		return Account{}, err
	}
	entry := audit.Entry{Action: audit.AccountUpdate, ObjectKind: "account", ObjectID: row.Name, Reason: c.Reason, Details: details}
	if before.Active() && !after.Active() {
		entry.Action = audit.AccountDisable
	}
	return after, audit.Write(ctx, tx, by.Actor, entry)
}

// giveOnce makes the row's password a one-time password, of this epoch.
func (r *accountRow) giveOnce(ctx context.Context, tx db.Tx) (err error) {
	r.PasswordOnce = oneTimeFresh
	r.OnceEpoch, err = tx.Epoch(ctx)
	return err
}

// notifyChange keeps what changed for the account's owner.
func notifyChange(ctx context.Context, tx db.Tx, by authz.By, accountID string, details map[string]string) error {
	kind := NoticeAccountChanged
	var words []string
	for _, what := range slices.Sorted(maps.Keys(details)) {
		if what == "password" && len(details) == 1 {
			kind = NoticePasswordChanged
		}
		words = append(words, what+": "+details[what])
	}
	if len(words) == 0 {
		return nil
	}
	return notify(ctx, tx, accountID, kind, strings.Join(words, "; ")+"; by "+string(by.Kind)+" "+by.ID, by.Source)
}

// difference tells an auditor what changed.
func difference(before, after *Account, password bool) map[string]string {
	d := map[string]string{}
	say := func(what, from, to string) {
		if from != to {
			d[what] = fmt.Sprintf("%s -> %s", from, to)
		}
	}
	state := func(a *Account) string {
		if a.Active() {
			return "active"
		}
		return "disabled"
	}
	say("role", string(before.Role), string(after.Role))
	say("grants", "["+joined(before.Grants)+"]", "["+joined(after.Grants)+"]")
	say("state", state(before), state(after))
	say("must use a passkey", yesNo(before.MustPasskey), yesNo(after.MustPasskey))
	if password {
		d["password"] = "changed"
	}
	return d
}

// IDOf is the id of the account with a name, in whatever spelling.
func (s *Service) IDOf(ctx context.Context, name string) (string, error) {
	name, _ = normalName(name)
	row, err := accountBy(ctx, s.d.Read(), "name", name)
	return row.ID, err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// List reads a page of accounts in the order of their names: those after the
// given name. The second result is where the next page begins, "" at the end.
func (s *Service) List(ctx context.Context, after string, limit int) ([]Account, string, error) {
	if _, ok := normalName(after); !ok && after != "" {
		return nil, "", &InvalidError{"after", "is not a page marker"}
	}
	limit = pageSize(limit)
	rows, err := listAccounts(ctx, s.d.Read(), after, limit+1)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(rows) > limit {
		rows = rows[:limit]
		next = rows[limit-1].Name
	}
	accounts := make([]Account, 0, len(rows))
	for i := range rows {
		accounts = append(accounts, rows[i].account())
	}
	return accounts, next, nil
}

// checkNext judges a password that is to be set in a later step, so that nothing that
// works once is used up for one that will not be taken. "" is not known yet.
func (s *Service) checkNext(password, name string) error {
	if password == "" {
		return nil
	}
	name, _ = normalName(name)
	return checkPassword(password, name, s.settings.MinPassword)
}

func (s *Service) newHash(ctx context.Context, password, name string) (string, error) {
	if err := checkPassword(password, name, s.settings.MinPassword); err != nil {
		return "", err
	}
	hash, err := s.hasher.hash(ctx, password)
	if errors.Is(err, errBusy) {
		return "", &ThrottledError{After: maxHashWait}
	}
	return hash, err
}

func joined(grants []authz.Permission) string {
	words := make([]string, 0, len(grants))
	for _, g := range grants {
		words = append(words, string(g))
	}
	return strings.Join(words, " ")
}

// pageSize is 1 to 500, and 50 when nothing was asked.
func pageSize(limit int) int {
	if limit <= 0 {
		return 50
	}
	return min(limit, 500)
}
