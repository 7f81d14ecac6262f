package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

func redeeming(secret, name string) Redeeming {
	return Redeeming{Source: "192.0.2.9", RequestID: "r5", Agent: "test", Secret: secret, Name: name, Password: goodPassword}
}

// ADM-08, ADM-09
func TestInvitations(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("root", authz.Admin)
		w.account("second", authz.Admin)
		inviter := func() authz.By {
			_, c := w.signIn("root")
			return c.By(authz.AccountManage, "192.0.2.7", "r1")
		}
		invite := func(name string) string {
			t.Helper()
			_, secret, err := w.Invite(ctx, inviter(), NewInvitation{Name: name, Role: authz.Operator, Grants: []authz.Permission{authz.AuditRead}, Person: "p-" + name})
			must(t, err)
			return secret
		}
		secret := invite("New.Hand")
		list, err := w.Invitations(ctx)
		if err != nil || len(list) != 1 || list[0].Name != "new.hand" || list[0].Inviter != "root" {
			t.Errorf("%+v %v", list, err)
		}
		for _, other := range []string{"root", "newhand", "new.hand2", "", "new.hand\x00", "second"} {
			if _, _, err := w.Redeem(ctx, redeeming(secret, other)); !errors.Is(err, ErrInvitation) {
				t.Errorf("for the name %q: %v", other, err)
			}
		}
		weak := redeeming(secret, "new.hand")
		weak.Password = "short"
		var invalid *InvalidError
		if _, _, err := w.Redeem(ctx, weak); !errors.As(err, &invalid) {
			t.Errorf("with a weak password: %v", err)
		}
		token, c, err := w.Redeem(ctx, redeeming(secret, "NEW.hand"))
		if err != nil || c.Account.Role != authz.Operator || c.Account.Person != "p-new.hand" || !slices.Equal(c.Account.Grants, []authz.Permission{authz.AuditRead}) || c.Account.CreatedBy != "person:root" {
			t.Fatalf("%+v %v", c.Account, err)
		}
		if _, err := w.Authenticate(ctx, token, ViaProgram); err != nil {
			t.Error(err)
		}
		w.signIn("new.hand")
		for name, spoil := range map[string]func() string{
			"used":              func() string { return secret },
			"replaced by newer": func() string { s := invite("a1"); invite("a1"); return s },
			"grown old":         func() string { s := invite("a2"); w.pass(defaultInvitation); return s },
			"taken back": func() string {
				s := invite("a3")
				list, err := w.Invitations(ctx)
				must(t, err)
				must(t, w.Uninvite(ctx, inviter(), list[0].ID))
				must(t, w.Uninvite(ctx, inviter(), list[0].ID))
				return s
			},
			"whose inviter was demoted": func() string {
				s := invite("a4")
				row, err := accountBy(ctx, w.d.Read(), "name", "root")
				must(t, err)
				_, err = w.Update(ctx, authz.Host("test"), row.ID, Change{Role: to(authz.Security)})
				must(t, err)
				return s
			},
			"of before a restore": func() string {
				w.promote("root")
				s := invite("a5")
				must(t, w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { _, err := tx.NewEpoch(ctx, 0); return err }))
				return s
			},
			"whose name was taken": func() string {
				w.promote("root")
				s := invite("a6")
				w.account("a6", authz.Viewer)
				return s
			},
			"made up":        func() string { return invitationPrefix + strings.Repeat("A", 43) },
			"of no form":     func() string { return "x" },
			"another prefix": func() string { return machinePrefix + strings.TrimPrefix(secret, invitationPrefix) },
		} {
			w.promote("root")
			bad := spoil()
			for _, who := range []string{"new.hand", "a1", "a2", "a3", "a4", "a5", "a6"} {
				if _, _, err := w.Redeem(ctx, redeeming(bad, who)); !errors.Is(err, ErrInvitation) {
					t.Errorf("an invitation %s, for %s: %v", name, who, err)
				}
			}
			w.pass(time.Hour)
		}
		w.promote("root")
		if _, _, err := w.Invite(ctx, inviter(), NewInvitation{Name: "second", Role: authz.Viewer}); !errors.Is(err, ErrNameTaken) {
			t.Errorf("a name that is taken: %v", err)
		}
		old := inviter()
		w.pass(freshFor + time.Second)
		if _, _, err := w.Invite(ctx, old, NewInvitation{Name: "x", Role: authz.Viewer}); !errors.Is(err, ErrFreshSignIn) {
			t.Errorf("with an old sign-in: %v", err) // ADM-14
		}
		if strings.Contains(dumpAll(t, w.d), strings.TrimPrefix(secret, invitationPrefix)) {
			t.Error("the database holds the secret")
		}
		if e := w.entries(audit.InvitationRevoke); len(e) != 1 {
			t.Errorf("audit: %+v", e)
		}
	})
}

// promote makes an account an admin again.
func (w *world) promote(name string) {
	w.t.Helper()
	row, err := accountBy(context.Background(), w.d.Read(), "name", name)
	must(w.t, err)
	_, err = w.Update(context.Background(), authz.Host("test"), row.ID, Change{Role: to(authz.Admin)})
	must(w.t, err)
}
