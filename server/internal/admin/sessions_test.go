package admin

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// SES-03: each way to lose a right holds at the next request and inside an act
// whose authority was taken before.
func TestALostRightIsLostAtOnce(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("root", authz.Admin)
		host := authz.Host("test")
		for name, lose := range map[string]func(c Caller) error{
			"disabled": func(c Caller) error {
				_, err := w.Update(ctx, host, c.Account.ID, Change{Disabled: new(true)})
				return err
			},
			"demoted": func(c Caller) error {
				_, err := w.Update(ctx, host, c.Account.ID, Change{Role: to(authz.Viewer)})
				return err
			},
			"password reset": func(c Caller) error {
				_, err := w.Update(ctx, host, c.Account.ID, Change{Password: new("quite another phrase")})
				return err
			},
			"grant changed": func(c Caller) error {
				_, err := w.Update(ctx, host, c.Account.ID, Change{Grants: &[]authz.Permission{authz.AuditRead}})
				return err
			},
			"own password changed": func(c Caller) error {
				return w.ChangePassword(ctx, c.By(authz.Self, "", ""), goodPassword, "my own other phrase")
			},
			"session revoked": func(c Caller) error { return w.RevokeSession(ctx, host, c.Session.ID) },
			"signed out":      func(c Caller) error { return w.SignOut(ctx, c.By(authz.Self, "", ""), c.Session.ID) },
			"idle":            func(Caller) error { w.pass(time.Hour); return nil },
			"restored": func(Caller) error {
				return w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { _, err := tx.NewEpoch(ctx, 0); return err })
			},
		} {
			t.Run(name, func(t *testing.T) {
				account := w.account("x"+db.NewID(w.clock())[24:], authz.Operator)
				token, c := w.signIn(account.Name)
				by := c.By(authz.DeviceRevoke, "192.0.2.7", "r2")
				still := func() error {
					return w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return by.Still(ctx, tx) })
				}
				must(t, still())
				must(t, lose(c))
				if _, err := w.Authenticate(ctx, token, ViaProgram); !errors.Is(err, ErrSignedOut) {
					t.Errorf("the next request: %v", err)
				}
				if err := still(); !errors.Is(err, authz.ErrDenied) {
					t.Errorf("inside the act: %v", err)
				}
			})
		}
	})
}

func TestAuthorityIsForOnePermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	w.account("vera", authz.Viewer, authz.EnrollmentReview)
	_, c := w.signIn("vera")
	for p, want := range map[authz.Permission]error{
		authz.DeviceRead: nil, authz.EnrollmentReview: nil, authz.Self: nil,
		authz.DeviceRevoke: authz.ErrDenied, authz.AccountManage: authz.ErrDenied, "device:everything": authz.ErrDenied,
	} {
		by := c.By(p, "", "")
		err := w.d.Write(context.Background(), func(ctx context.Context, tx db.Tx) error { return by.Still(ctx, tx) })
		if !errors.Is(err, want) || c.May(p) != (want == nil) {
			t.Errorf("%s: %v, may %v", p, err, c.May(p))
		}
	}
	if by := c.By(authz.Self, "192.0.2.7", "r9"); by.Person != "vera" || by.AccountID != c.Account.ID || by.Kind != audit.Person || by.ID != "vera" || by.RequestID != "r9" {
		t.Errorf("got %+v", by)
	}
}

func TestUseKeepsASessionAndIsWrittenSeldom(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("alice", authz.Operator)
		token, c := w.signIn("alice")
		begin := c.Session.SeenAt
		w.pass(30 * time.Second)
		if c, err := w.Authenticate(ctx, token, ViaProgram); err != nil || !c.Session.SeenAt.Equal(begin) {
			t.Fatalf("half a minute: seen at %v, %v", c.Session.SeenAt, err)
		}
		for range 13 { // 55 minutes each: beyond the lifetime in the end
			w.pass(55 * time.Minute)
			_, err := w.Authenticate(ctx, token, ViaProgram)
			over := w.clock().Sub(begin) >= 12*time.Hour
			if over != errors.Is(err, ErrSignedOut) || !over && err != nil {
				t.Fatalf("after %v: %v", w.clock().Sub(begin), err)
			}
			if row, err := sessionBy(ctx, w.d.Read(), "id", c.Session.ID); err != nil || !over && !row.SeenAt.Time().Equal(w.clock()) {
				t.Fatalf("use was not recorded: %v", err)
			}
		}
	})
}

func TestAnotherNodeAndAnOlderSecretOpenTheSameSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	ctx := context.Background()
	w.account("alice", authz.Operator)
	token, _ := w.signIn("alice")
	old := w.keys[0].secret
	if _, err := w.node([][]byte{key(t), old}).Authenticate(ctx, token, ViaProgram); err != nil {
		t.Errorf("with the secret as the previous one: %v", err)
	}
	if _, err := w.node([][]byte{key(t)}).Authenticate(ctx, token, ViaProgram); !errors.Is(err, ErrSignedOut) {
		t.Errorf("without it: %v", err)
	}
}

func TestTheOldestSessionGivesWay(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		a := w.account("alice", authz.Operator)
		w.account("bob", authz.Operator)
		bob, _ := w.signIn("bob")
		var tokens []string
		for range maxSessions + 3 {
			w.pass(time.Second)
			token, _ := w.signIn("alice")
			tokens = append(tokens, token)
		}
		for i, token := range tokens {
			if _, err := w.Authenticate(ctx, token, ViaProgram); errors.Is(err, ErrSignedOut) != (i < 3) {
				t.Errorf("session %d of %d: %v", i+1, len(tokens), err)
			}
		}
		if _, err := w.Authenticate(ctx, bob, ViaProgram); err != nil {
			t.Errorf("another's session went with them: %v", err)
		}
		live, next, err := w.Sessions(ctx, SessionFilter{AccountID: a.ID})
		if err != nil || len(live) != maxSessions || next != "" {
			t.Errorf("%d sessions listed, next %q: %v", len(live), next, err)
		}
		if e := w.entries(audit.SignIn)[0].DetailMap(); len(e["ended by the session cap"]) != 36 {
			t.Errorf("the audit log does not say which session ended: %v", e)
		}
	})
}

func TestListingAndRevokingSessions(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("alice", authz.Operator)
		w.account("sec", authz.Security)
		var want []string
		for range 5 {
			w.pass(time.Millisecond)
			_, c := w.signIn("alice")
			want = append([]string{c.Session.ID}, want...)
		}
		_, alice := w.signIn("alice")
		_, sec := w.signIn("sec")

		var got []string
		f := SessionFilter{AccountID: alice.Account.ID, Limit: 2}
		for {
			page, next, err := w.Sessions(ctx, f)
			must(t, err)
			for _, s := range page {
				if s.ID != alice.Session.ID {
					got = append(got, s.ID)
				}
			}
			if f.After = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages give %v, want %v", got, want)
		}

		own := alice.By(authz.Self, "", "")
		if err := w.RevokeOwn(ctx, own, sec.Session.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("another's session as one's own: %v", err)
		}
		if err := w.RevokeSession(ctx, alice.By(authz.SessionManage, "", ""), sec.Session.ID); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("another's session without the right: %v", err)
		}
		for _, id := range []string{"", "x", "' OR 1=1 --", "a\x00b", "00000000-0000-7000-8000-000000000000"} {
			if err := w.RevokeOwn(ctx, own, id); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %v", id, err)
			}
		}
		must(t, w.RevokeOwn(ctx, own, want[0]))
		must(t, w.RevokeOwn(ctx, own, want[0])) // ended already: what was asked holds
		must(t, w.RevokeSession(ctx, sec.By(authz.SessionManage, "", ""), want[1]))
		if e := w.entries(audit.SessionRevoke); len(e) != 2 || e[0].ActorID == e[1].ActorID || e[0].DetailMap()["account"] != "alice" {
			t.Errorf("audit: %+v", e)
		}
		page, _, err := w.Sessions(ctx, SessionFilter{AccountID: alice.Account.ID})
		if err != nil || len(page) != 4 {
			t.Errorf("%d sessions are left, %v", len(page), err)
		}

		w.pass(keepEnded + 13*time.Hour)
		if n, err := w.Prune(ctx); err != nil || n != 7 {
			t.Errorf("%d old sessions removed, %v", n, err)
		}
	})
}
