package admin

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// ADM-13
func TestBreakingTheGlass(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("root", authz.Admin)
		w.account("other", authz.Admin)
		w.account("oper", authz.Operator)
		w.generator("root")
		k := w.enroll("other")
		host := authz.Host("admin break-glass create")
		var invalid *InvalidError
		for _, keepers := range [][2]string{{"ann", "ann"}, {"ann", "ANN"}, {"", "bob"}, {"ann", ""}} {
			if _, _, err := w.CreateBreakGlass(ctx, host, keepers[0], keepers[1]); !errors.As(err, &invalid) {
				t.Errorf("kept by %q: %v", keepers, err)
			}
		}
		_, c := w.signIn("other")
		if _, _, err := w.CreateBreakGlass(ctx, c.By(authz.AccountManage, "", ""), "ann", "bob"); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("made over the network: %v", err)
		}
		oldA, oldB, err := w.CreateBreakGlass(ctx, host, "ann", "bob")
		must(t, err)
		w.pass(time.Second)
		a, b, err := w.CreateBreakGlass(ctx, host, "ann", "bob")
		must(t, err)
		use := func(first, second, name string) (string, Caller, error) {
			w.pass(accountEvery)
			return w.BreakGlass(ctx, Breaking{Source: "192.0.2.66", RequestID: "r6", First: first, Second: second, Name: name})
		}
		for name, bad := range map[string][3]string{
			"one code alone":         {a, "", "root"},
			"the other alone":        {"", b, "root"},
			"one code twice":         {a, a, "root"},
			"the other twice":        {b, b, "root"},
			"codes that were void":   {oldA, oldB, "root"},
			"codes of two pairs":     {a, oldB, "root"},
			"an account of no admin": {a, b, "oper"},
			"no account":             {a, b, "nobody"},
			"made-up codes":          {newCode(breakGlassSize), newCode(breakGlassSize), "root"},
			"no codes":               {"", "", "root"},
		} {
			if _, _, err := use(bad[0], bad[1], bad[2]); !errors.Is(err, ErrBreakGlass) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, _, err := w.BreakGlass(ctx, Breaking{Source: "192.0.2.66", First: a, Second: b, Name: "root", NewPassword: "too short"}); !errors.As(err, &invalid) {
			t.Errorf("for a password that will not be taken: %v", err)
		}
		half, c, err := use(strings.ToUpper(b), " "+a, "Root") // in either order, however written
		if err != nil || c.Session.Stage != StageNewPassword || c.Account.Name != "root" {
			t.Fatalf("%+v %v", c.Session, err)
		}
		if _, _, err := use(a, b, "root"); !errors.Is(err, ErrBreakGlass) {
			t.Errorf("twice: %v", err)
		}
		if _, _, err := w.SignIn(ctx, attempt("root", goodPassword)); !errors.Is(err, ErrSignIn) {
			t.Errorf("the lost password: %v", err)
		}
		if _, err := w.Authenticate(ctx, half, ViaProgram); !errors.Is(err, ErrHalf) {
			t.Errorf("before a new password: %v", err)
		}
		if _, _, err := w.SetNewPassword(ctx, half, NewPassword{Password: "a phrase chosen anew"}); err != nil {
			t.Fatal(err)
		}
		if _, c, err := w.SignIn(ctx, attempt("root", "a phrase chosen anew")); err != nil || c.Session.Stage != StageFull {
			t.Errorf("the lost factors stay: %s %v", c.Session.Stage, err)
		}
		_, c, err = w.passkeyIn(k, nil)
		must(t, err)
		if len(c.Notices) == 0 || c.Notices[0].Kind != NoticeBreakGlass || !strings.Contains(c.Notices[0].Detail, "ann and bob opened the account root") {
			t.Errorf("the other admin is told %+v", c.Notices)
		}
		if e := w.entries(audit.BreakGlassUse); len(e) != 1 || e[0].ObjectID != "root" || e[0].Source != "192.0.2.66" {
			t.Errorf("audit: %+v", e)
		}
		a, b, err = w.CreateBreakGlass(ctx, host, "ann", "bob")
		must(t, err)
		if dump := dumpAll(t, w.d); strings.Contains(dump, a) || strings.Contains(dump, strings.ReplaceAll(b, "-", "")) {
			t.Error("the database holds a code")
		}
		must(t, w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { _, err := tx.NewEpoch(ctx, 0); return err }))
		if _, _, err := use(a, b, "root"); !errors.Is(err, ErrBreakGlass) {
			t.Errorf("codes of before a restore: %v", err)
		}
	})
}

func TestCodesOfTheGlassCannotBeTriedAtScale(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	tried := 0
	for range 50 {
		if _, _, err := w.BreakGlass(context.Background(), Breaking{Source: "192.0.2.66", First: "x", Second: "y", Name: "root"}); errors.Is(err, ErrBreakGlass) {
			tried++
		}
	}
	if tried != accountBurst {
		t.Errorf("%d tries", tried)
	}
}
