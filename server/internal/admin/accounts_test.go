package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

func TestAccountsAreMadeWithinTheRules(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		made, err := w.CreateLocal(ctx, NewAccount{
			Name: "Alice.Second", Person: "Alice", Role: authz.Operator, Password: goodPassword,
			Grants: []authz.Permission{authz.EnrollmentReview, authz.AuditRead, authz.EnrollmentReview},
		})
		must(t, err)
		if made.Name != "alice.second" || made.Person != "alice" || !slices.Equal(made.Grants, []authz.Permission{authz.AuditRead, authz.EnrollmentReview}) {
			t.Errorf("made %+v", made)
		}
		if e := w.entries(audit.AccountCreate); len(e) != 1 || e[0].ActorKind != audit.Host || e[0].ObjectID != "alice.second" || e[0].DetailMap()["role"] != "operator" {
			t.Errorf("audit: %+v", e)
		}
		good := NewAccount{Name: "bob", Role: authz.Viewer, Password: goodPassword}
		for name, spoil := range map[string]func(n *NewAccount){
			"no name":                       func(n *NewAccount) { n.Name = "" },
			"a bad person":                  func(n *NewAccount) { n.Person = "Bob Builder" },
			"no role":                       func(n *NewAccount) { n.Role = "" },
			"an unknown role":               func(n *NewAccount) { n.Role = "root" },
			"an unknown permission":         func(n *NewAccount) { n.Grants = []authz.Permission{"all"} },
			"more grants than there can be": func(n *NewAccount) { n.Grants = make([]authz.Permission, maxGrants+1) },
			"a short password":              func(n *NewAccount) { n.Password = "short" },
		} {
			n := good
			spoil(&n)
			var invalid *InvalidError
			if _, err := w.CreateLocal(ctx, n); !errors.As(err, &invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, same := range []string{"alice.second", "ALICE.SECOND"} {
			n := good
			n.Name = same
			if _, err := w.CreateLocal(ctx, n); !errors.Is(err, ErrNameTaken) {
				t.Errorf("%s again: %v", same, err)
			}
		}
		if _, err := w.CreateAccount(ctx, authz.By{}, good); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("without authority: %v", err)
		}
		if list, _, err := w.List(ctx, "", 0); err != nil || len(list) != 1 {
			t.Errorf("refused accounts are there: %v, %v", list, err)
		}
	})
}

func TestChangesOfAnAccount(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		root := w.account("root", authz.Admin)
		bob := w.account("bob", authz.Operator)
		_, admin := w.signIn("root")
		by := admin.By(authz.AccountManage, "192.0.2.1", "r7")

		got, err := w.Update(ctx, by, bob.ID, Change{Role: to(authz.Viewer), Grants: &[]authz.Permission{authz.AuditRead}, Reason: "new task"})
		must(t, err)
		if got.Role != authz.Viewer || !got.May(authz.AuditRead) || got.May(authz.EnrollTokenCreate) {
			t.Errorf("bob is %+v", got)
		}
		w.pass(time.Second)
		if got, err = w.Update(ctx, by, bob.ID, Change{Disabled: new(true)}); err != nil || got.Active() {
			t.Errorf("disable: %+v, %v", got, err)
		}
		w.pass(time.Second)
		if got, err = w.Update(ctx, by, bob.ID, Change{Disabled: new(false), Password: new("a phrase chosen anew")}); err != nil || !got.Active() {
			t.Errorf("enable: %+v, %v", got, err)
		}
		if _, _, err := w.SignIn(ctx, attempt("bob", "a phrase chosen anew")); err != nil {
			t.Errorf("the new password: %v", err)
		}
		if _, _, err := w.SignIn(ctx, attempt("bob", goodPassword)); !errors.Is(err, ErrSignIn) {
			t.Errorf("the old password: %v", err)
		}
		updates := w.entries(audit.AccountUpdate)
		if d := updates[0].DetailMap(); d["state"] != "disabled -> active" || d["password"] != "changed" {
			t.Errorf("audit of enabling: %v", d)
		}
		first := updates[1]
		if d := first.DetailMap(); d["role"] != "operator -> viewer" || d["grants"] != "[] -> [audit:read]" || first.Reason != "new task" || first.ActorID != "root" || first.RequestID != "r7" {
			t.Errorf("audit: %+v", first)
		}
		if e := w.entries(audit.AccountDisable); len(e) != 1 || e[0].ObjectID != "bob" {
			t.Errorf("audit of disabling: %+v", e)
		}
		if all := dumpAll(t, w.d); strings.Contains(all, "a phrase chosen anew") {
			t.Error("a password is in the database")
		}

		for name, c := range map[string]Change{
			"nothing":          {Reason: "why not"},
			"an unknown role":  {Role: to(authz.Role("root"))},
			"an unknown grant": {Grants: &[]authz.Permission{"*"}},
			"a weak password":  {Password: new("short")},
			"a long reason":    {Role: to(authz.Viewer), Reason: strings.Repeat("x", maxReason+1)},
		} {
			var invalid *InvalidError
			if _, err := w.Update(ctx, by, bob.ID, c); !errors.As(err, &invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, id := range []string{"", "x", "00000000-0000-7000-8000-000000000000"} {
			if _, err := w.Update(ctx, by, id, Change{Role: to(authz.Viewer), Password: new(goodPassword)}); !errors.Is(err, ErrNotFound) {
				t.Errorf("account %q: %v", id, err)
			}
		}

		self := admin.By(authz.Self, "192.0.2.1", "r8")
		if err := w.ChangePassword(ctx, self, "not my password", "a phrase chosen anew"); !errors.Is(err, ErrSignIn) {
			t.Errorf("own password without the current one: %v", err)
		}
		for _, c := range []Change{{Role: to(authz.Viewer)}, {Disabled: new(true)}} {
			if _, err := w.Update(ctx, by, root.ID, c); !errors.Is(err, ErrLastAdmin) {
				t.Errorf("the last admin: %v", err)
			}
		}
		must(t, w.ChangePassword(ctx, self, goodPassword, "a phrase chosen anew"))
		if _, _, err := w.SignIn(ctx, attempt("root", "a phrase chosen anew")); err != nil {
			t.Errorf("own new password: %v", err)
		}
	})
}

// RBA-05: however they race, one admin is left.
func TestTwoAdminsCannotRemoveEachOther(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		for round := range 10 {
			a := w.account(fmt.Sprintf("a%d", round), authz.Admin)
			b := w.account(fmt.Sprintf("b%d", round), authz.Admin)
			if round > 0 { // the survivors of the last round leave first
				for _, name := range []string{fmt.Sprintf("a%d", round-1), fmt.Sprintf("b%d", round-1)} {
					row, err := accountBy(ctx, w.d.Read(), "name", name)
					must(t, err)
					_, err = w.Update(ctx, authz.Host("test"), row.ID, Change{Disabled: new(true)})
					must(t, err)
				}
			}
			var done sync.WaitGroup
			errs := make([]error, 2)
			for i, target := range []string{a.ID, b.ID} {
				done.Go(func() {
					_, errs[i] = w.Update(ctx, authz.Host("test"), target, Change{Role: to(authz.Viewer)})
				})
			}
			done.Wait()
			refused := 0
			for _, err := range errs {
				if errors.Is(err, ErrLastAdmin) {
					refused++
				} else {
					must(t, err)
				}
			}
			if refused != 1 {
				t.Fatalf("round %d: %d of 2 refused", round, refused)
			}
		}
	})
}

func TestAccountsAreListedByNameInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	for _, name := range []string{"d", "a", "c", "e", "b"} {
		w.account(name, authz.Viewer)
	}
	var got []string
	after := ""
	for {
		page, next, err := w.List(context.Background(), after, 2)
		must(t, err)
		for _, a := range page {
			got = append(got, a.Name)
		}
		if after = next; next == "" {
			break
		}
	}
	if !slices.Equal(got, []string{"a", "b", "c", "d", "e"}) {
		t.Fatalf("got %v", got)
	}
	if _, _, err := w.List(context.Background(), "' OR 1=1", 2); err == nil {
		t.Fatal("a page marker that none made")
	}
}

// asked stands for those who are asked before rights are widened.
type asked struct {
	adds [][]authz.Permission
	told []string
}

func (a *asked) WidenRights(_ context.Context, _ db.Tx, _ authz.By, _, _ Account, adds []authz.Permission, _ string) (string, error) {
	a.adds = append(a.adds, adds)
	return "approval-1", nil
}

func (a *asked) AccountChanged(_ context.Context, _ db.Tx, before, after Account) error {
	a.told = append(a.told, string(before.Role)+" "+string(after.Role))
	return nil
}

// APR-08: no person gives a right that approves or widens rights alone, whichever
// way it would come about.
func TestNobodyWidensRightsAlone(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("root", authz.Admin)
		bob := w.account("bob", authz.Operator)
		gone := w.account("gone", authz.Approver)
		_, err := w.Update(ctx, authz.Host("test"), gone.ID, Change{Disabled: new(true)})
		must(t, err)
		_, admin := w.signIn("root")
		by := admin.By(authz.AccountManage, "192.0.2.1", "r7")
		if _, err := w.Update(ctx, by, bob.ID, Change{Role: to(authz.Approver)}); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("with nobody to ask: %v", err)
		}
		others := &asked{}
		w.OnRights(others)
		for name, c := range map[string]struct {
			id     string
			change Change
		}{
			"a role":         {bob.ID, Change{Role: to(authz.Approver)}},
			"admin":          {bob.ID, Change{Role: to(authz.Admin)}},
			"a grant":        {bob.ID, Change{Grants: &[]authz.Permission{authz.AuditRead, authz.CommandReview}}},
			"an open door":   {bob.ID, Change{Grants: &[]authz.Permission{authz.EnrollWindowOpen}}},
			"coming back":    {gone.ID, Change{Disabled: new(false)}},
			"back and other": {gone.ID, Change{Disabled: new(false), Role: to(authz.Security)}},
		} {
			var waits *WaitsError
			got, err := w.Update(ctx, by, c.id, c.change)
			if !errors.As(err, &waits) || waits.ApprovalID != "approval-1" || waits.Account.Role != got.Role {
				t.Errorf("%s: %+v %v", name, got, err)
			}
			if got.Role != authz.Operator && got.Active() {
				t.Errorf("%s happened: %+v", name, got)
			}
		}
		var invalid *InvalidError
		if _, err := w.Update(ctx, by, bob.ID, Change{Role: to(authz.Approver), Password: new(goodPassword)}); !errors.As(err, &invalid) {
			t.Errorf("with a password: %v", err)
		}
		var waits *WaitsError
		eve, err := w.CreateAccount(ctx, by, NewAccount{Name: "eve", Role: authz.Approver, Grants: []authz.Permission{authz.AuditRead}, Password: goodPassword})
		if !errors.As(err, &waits) || eve.Role != authz.Viewer || len(eve.Grants) != 0 {
			t.Errorf("a new approver: %+v %v", eve, err)
		}
		for id, refused := range map[string]bool{gone.ID: true, bob.ID: false} { // who set it would be two people
			_, err := w.Update(ctx, by, id, Change{Password: new("a phrase chosen by another")})
			if errors.As(err, &invalid) != refused || !refused && err != nil {
				t.Errorf("another's password: %v", err)
			}
		}
		others.told = nil
		_, invitation, err := w.Invite(ctx, by, NewInvitation{Name: "mallory", Role: authz.Security})
		must(t, err)
		_, c, err := w.Redeem(ctx, Redeeming{Source: "192.0.2.7", Secret: invitation, Name: "mallory", Password: "a phrase of their own"})
		if err != nil || c.Account.Role != authz.Viewer {
			t.Errorf("an approver by invitation: %+v %v", c.Account, err)
		}
		if len(others.adds) != 8 || len(others.told) != 0 {
			t.Errorf("asked %v, told %v", others.adds, others.told)
		}
		if got, err := w.Update(ctx, by, bob.ID, Change{Role: to(authz.Viewer)}); err != nil || got.Role != authz.Viewer || len(others.told) != 1 {
			t.Errorf("less: %+v %v %v", got, err, others.told)
		}
	})
}
