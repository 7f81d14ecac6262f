package flow

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// standing is what an account is.
type standing struct {
	Role   authz.Role         `json:"role"`
	Grants []authz.Permission `json:"grants"`
	Active bool               `json:"active"`
}

// wider is what people agree to when an account is given rights: exactly this change
// of exactly this account, as it stood.
type wider struct {
	Type      string             `json:"type"` // "rights"
	AccountID string             `json:"account_id"`
	Account   string             `json:"account"`
	Person    string             `json:"person"`
	Before    standing           `json:"before"`
	After     standing           `json:"after"`
	Adds      []authz.Permission `json:"adds"` // of those that approve or widen rights
}

func standingOf(a *admin.Account) standing {
	return standing{Role: a.Role, Grants: append([]authz.Permission{}, a.Grants...), Active: a.Active()}
}

func (s standing) equals(o standing) bool {
	return s.Role == o.Role && s.Active == o.Active && slices.Equal(s.Grants, o.Grants)
}

// WidenRights asks that an account is given rights that approve or widen rights. It
// is what admin asks for instead of changing the account, in its transaction. The
// account's own person may refuse it, and not agree.
func (f *Flow) WidenRights(ctx context.Context, tx db.Tx, by authz.By, before, after admin.Account, adds []authz.Permission, reason string) (string, error) {
	if reason == "" {
		reason = "the account is to have more rights"
	}
	if err := f.annulAll(ctx, tx, approval.Rights, before.ID, "another change of its rights was asked for"); err != nil {
		return "", err
	}
	action, err := json.Marshal(wider{Type: "rights", AccountID: before.ID, Account: before.Name, Person: before.Person, Before: standingOf(&before), After: standingOf(&after), Adds: adds})
	if err != nil {
		return "", err
	}
	r, err := f.placeAsk(ctx, tx, by, approval.Ask{Kind: approval.Rights, SubjectID: before.ID, Action: action, Required: 1, Excluded: before.Person, Reason: reason})
	if err != nil {
		return "", err
	}
	return r.ID, nil
}

func (f *Flow) openRights(_ context.Context, _ db.Tx, r *approval.Request, _ bool) (*deed, error) {
	var ask wider
	if err := json.Unmarshal(r.Action, &ask); err != nil || ask.AccountID != r.SubjectID {
		return nil, fmt.Errorf("approval %s: its action is not one of its kind: %w", r.ID, approval.ErrDigest)
	}
	adds := make([]string, len(ask.Adds))
	for i, p := range ask.Adds {
		adds[i] = string(p)
	}
	return &deed{
		entry: audit.Entry{ObjectKind: "account", ObjectID: ask.Account, Details: map[string]string{"role": string(ask.After.Role), "adds": strings.Join(adds, " ")}},
		done:  audit.ApprovalExecute, refused: audit.ApprovalRefuse,
		stale: func(ctx context.Context, tx db.Tx) (string, error) {
			found, err := admin.Standing(ctx, tx, ask.AccountID)
			if a, ok := found[ask.AccountID]; err == nil && (!ok || a.Person != ask.Person || !standingOf(&a).equals(ask.Before)) {
				return accountChanged, nil
			}
			return "", err
		},
		do: func(ctx context.Context, tx db.Tx, why verdict) error {
			disabled := !ask.After.Active
			_, err := f.accounts.Apply(ctx, tx, authz.By{Actor: why.who}, ask.AccountID, admin.Change{
				Role: &ask.After.Role, Grants: &ask.After.Grants, Disabled: &disabled, Reason: r.Reason,
			})
			return err
		},
	}, nil
}

const accountChanged = "the account is not as it was when it was asked for"

// approver reports whether an account may agree to anything, or widen rights.
func approver(a *admin.Account) bool { return a.Active() && approves(a) }

// approves is approver of what the account may do while it is active.
func approves(a *admin.Account) bool {
	return slices.ContainsFunc(a.Permissions(), authz.Permission.Widens)
}

// errChosen is a reset of the factors that stand between whoever chose an approver's
// password and a vote: with both, they would be two people.
var errChosen = &admin.InvalidError{Field: "the password", Rule: "of this account was chosen by another person, who could sign in with it alone: disable the account and make another, which others agree to"}

// off is what people agree to when the second factors of an approver are taken away.
type off struct {
	Type      string `json:"type"` // "factor-reset"
	AccountID string `json:"account_id"`
	Account   string `json:"account"`
	Person    string `json:"person"`
}

// ResetFactors takes the second factors of an account away, for an owner who lost
// them. Where the account may approve anything, others decide on it first, and the
// request comes back; where another chose its password besides, nobody does.
func (f *Flow) ResetFactors(ctx context.Context, by authz.By, accountID, reason string) (asked *approval.Request, err error) {
	if reason == "" {
		return nil, ErrReason
	}
	err = f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		asked = nil
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		if err := admin.Fresh(by, tx.Now); err != nil {
			return err
		}
		found, err := admin.Standing(ctx, tx, accountID)
		if err != nil {
			return err
		}
		a, ok := found[accountID]
		switch {
		case !ok:
			return admin.ErrNotFound
		case a.OneTime && approves(&a): // disabled too: it may be enabled again
			return errChosen
		case !approver(&a):
			return admin.ResetFactors(ctx, tx, by, accountID, reason)
		}
		action, err := json.Marshal(off{Type: "factor-reset", AccountID: a.ID, Account: a.Name, Person: a.Person})
		if err != nil {
			return err
		}
		asked, err = f.placeAsk(ctx, tx, by, approval.Ask{Kind: approval.FactorReset, SubjectID: a.ID, Action: action, Required: 1, Excluded: a.Person, Reason: reason})
		return err
	})
	return asked, err
}

func (f *Flow) openFactorReset(_ context.Context, _ db.Tx, r *approval.Request, _ bool) (*deed, error) {
	var ask off
	if err := json.Unmarshal(r.Action, &ask); err != nil || ask.AccountID != r.SubjectID {
		return nil, fmt.Errorf("approval %s: its action is not one of its kind: %w", r.ID, approval.ErrDigest)
	}
	return &deed{
		entry: audit.Entry{ObjectKind: "account", ObjectID: ask.Account, Details: map[string]string{"person": ask.Person}},
		done:  audit.ApprovalExecute, refused: audit.ApprovalRefuse,
		stale: func(ctx context.Context, tx db.Tx) (string, error) {
			found, err := admin.Standing(ctx, tx, ask.AccountID)
			if a, ok := found[ask.AccountID]; err == nil && (!ok || !a.Active() || a.OneTime || a.Person != ask.Person) {
				return accountChanged, nil
			}
			return "", err
		},
		do: func(ctx context.Context, tx db.Tx, why verdict) error {
			return admin.ResetFactors(ctx, tx, authz.By{Actor: why.who}, ask.AccountID, r.Reason)
		},
	}, nil
}

// AccountChanged voids what rested on an account, in the transaction that changes
// it: its votes where it may not vote any more, what it asked for and may not ask
// any more, and what was asked about it as it was.
func (f *Flow) AccountChanged(ctx context.Context, tx db.Tx, before, after admin.Account) error {
	was, is := standingOf(&before), standingOf(&after)
	if was.equals(is) {
		return nil
	}
	lost := slices.DeleteFunc(approval.Kinds(), func(k approval.Kind) bool {
		about, _ := k.About()
		return !(before.Active() && before.May(about.Vote)) || after.Active() && after.May(about.Vote)
	})
	if _, err := approval.Forget(ctx, tx, after.ID, lost...); err != nil {
		return err
	}
	own, err := approval.Waiting(ctx, tx, "", "", after.ID)
	if err != nil {
		return err
	}
	for i := range own {
		kind, _ := own[i].Kind.About()
		if asks(&after, kind) {
			continue
		}
		if err := f.annul(ctx, tx, &own[i], lostRight); err != nil {
			return err
		}
	}
	if err := f.annulAll(ctx, tx, approval.Rights, after.ID, accountChanged); err != nil {
		return err
	}
	if after.Active() {
		return nil
	}
	return f.annulAll(ctx, tx, approval.FactorReset, after.ID, accountChanged)
}
