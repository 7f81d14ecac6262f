package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// generator puts a code generator into use, and is its codes by time and the
// recovery codes.
func (w *world) generator(name string) (code func(at time.Time) string, recovery []string) {
	w.t.Helper()
	return w.generatorWith(name, goodPassword)
}

func (w *world) generatorWith(name, password string) (code func(at time.Time) string, recovery []string) {
	w.t.Helper()
	ctx := context.Background()
	_, c, err := w.SignIn(ctx, attempt(name, password))
	must(w.t, err)
	by := c.By(authz.Self, "192.0.2.7", "r1")
	setup, err := w.StartTOTP(ctx, by)
	must(w.t, err)
	code = func(at time.Time) string {
		text, err := totp.GenerateCode(setup.Secret, at) // the library's own reading of the secret
		must(w.t, err)
		return text
	}
	recovery, err = w.ConfirmTOTP(ctx, by, code(w.clock()))
	must(w.t, err)
	w.pass(time.Minute)
	return code, recovery
}

// half is the token of a sign-in whose second step is due.
func (w *world) halfSignIn(name string) string {
	w.t.Helper()
	token, c := w.signIn(name)
	if c.Session.Stage != StageSecondFactor || !c.Session.FullAt.IsZero() {
		w.t.Fatalf("signed in to the stage %q", c.Session.Stage)
	}
	return token
}

func step(code string) SecondStep {
	return SecondStep{Source: "192.0.2.7", RequestID: "r2", Agent: "test", Code: code}
}

func TestTheSecondStep(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("alice", authz.Operator)
		code, recovery := w.generator("alice")

		half := w.halfSignIn("alice")
		// ADM-11
		if _, err := w.Authenticate(ctx, half, ViaProgram); !errors.Is(err, ErrHalf) {
			t.Errorf("half a sign-in authenticates: %v", err)
		}
		token, c, err := w.SecondStep(ctx, half, step(code(w.clock())))
		if err != nil || c.Session.Stage != StageFull || c.Session.Method != ByTOTP || !c.Session.FullAt.Equal(w.clock()) {
			t.Fatalf("%+v %v", c.Session, err)
		}
		if got, err := w.Authenticate(ctx, token, ViaProgram); err != nil || got.Session.ID != c.Session.ID {
			t.Errorf("the new token: %v", err)
		}
		if token == half {
			t.Error("the token was kept") // SES-02
		}
		if _, err := w.Authenticate(ctx, half, ViaProgram); !errors.Is(err, ErrSignedOut) {
			t.Errorf("the half session lives on: %v", err)
		}
		if _, err := w.Authenticate(ctx, token, ViaConsole); !errors.Is(err, ErrSignedOut) {
			t.Errorf("a program's token at the console: %v", err)
		}

		// ADM-01: once, however it is spelled, at whatever node, for whatever purpose.
		t.Run("a code works once", func(t *testing.T) {
			used := code(w.clock())
			other := w.node([][]byte{w.keys[0].secret})
			for _, spelling := range []string{used, " " + used, used[:3] + " " + used[3:], used + "\n", "\t" + used} {
				for _, node := range []*Service{w.Service, other} {
					half := w.halfSignIn("alice")
					if _, _, err := node.SecondStep(ctx, half, step(spelling)); !errors.Is(err, ErrCode) {
						t.Errorf("%q again: %v", spelling, err)
					}
				}
			}
			w.pass(10 * time.Minute)
			_, _, err := w.SecondStep(ctx, w.halfSignIn("alice"), step(code(w.clock())))
			must(t, err)
			if _, _, err := w.SecondStep(ctx, w.halfSignIn("alice"), step(code(w.clock().Add(-30*time.Second)))); !errors.Is(err, ErrCode) {
				t.Errorf("the code before the one that was used: %v", err)
			}
			w.pass(10 * time.Minute)
		})

		t.Run("a wrong code is no code", func(t *testing.T) {
			half := w.halfSignIn("alice")
			for _, bad := range []string{"", "x", "000000", code(w.clock().Add(5 * time.Minute)), code(w.clock().Add(-5 * time.Minute)), "１２３４５６", strings.Repeat("0", 5000)} {
				if _, _, err := w.SecondStep(ctx, half, step(bad)); !errors.Is(err, ErrCode) {
					t.Errorf("%.20q: %v", bad, err)
				}
			}
			for _, at := range []string{"", "not a token", token} {
				if _, _, err := w.SecondStep(ctx, at, step(code(w.clock()))); !errors.Is(err, ErrSignedOut) {
					t.Errorf("with %.10q for a token: %v", at, err)
				}
			}
			console := step(code(w.clock()))
			console.Via = ViaConsole
			if _, _, err := w.SecondStep(ctx, half, console); !errors.Is(err, ErrSignedOut) {
				t.Errorf("a program's half at the console: %v", err)
			}
			if _, _, err := w.SecondStep(ctx, half, step(code(w.clock().Add(-30*time.Second)))); err != nil {
				t.Errorf("the code of a slow clock: %v", err)
			}
			w.pass(10 * time.Minute)
		})

		// ADM-12
		t.Run("a recovery code works once and dies with its set", func(t *testing.T) {
			spelled := strings.ToUpper(strings.ReplaceAll(recovery[0], "-", " "))
			_, c, err := w.SecondStep(ctx, w.halfSignIn("alice"), step(spelled))
			if err != nil || c.Session.Method != ByRecovery {
				t.Fatal(err)
			}
			if f, err := w.Factors(ctx, c.By(authz.Self, "", "")); err != nil || f.RecoveryLeft != recoveryCodes-1 || !f.TOTP {
				t.Errorf("%+v %v", f, err)
			}
			if _, _, err := w.SecondStep(ctx, w.halfSignIn("alice"), step(recovery[0])); !errors.Is(err, ErrCode) {
				t.Errorf("again: %v", err)
			}
			w.pass(time.Second)
			fresh, err := w.NewRecoveryCodes(ctx, c.By(authz.Self, "", ""))
			must(t, err)
			if _, _, err := w.SecondStep(ctx, w.halfSignIn("alice"), step(recovery[1])); !errors.Is(err, ErrCode) {
				t.Errorf("a code of the old set: %v", err)
			}
			_, c, err = w.SecondStep(ctx, w.halfSignIn("alice"), step(fresh[9]))
			must(t, err)
			var told []NoticeKind
			for _, n := range c.Notices {
				told = append(told, n.Kind)
			}
			if text := fmt.Sprint(told); !strings.Contains(text, string(NoticeRecoveryMade)) || !strings.Contains(text, string(NoticeFailedCodes)) {
				t.Errorf("the owner is told %s", text)
			}
			w.pass(10 * time.Minute)
		})

		// SES-01, A4
		t.Run("neither secret nor codes stand in the database", func(t *testing.T) {
			row, err := totpOf(ctx, w.d.Read(), c.Account.ID)
			must(t, err)
			secret, err := w.ring.Open(row.KEKID, totpPurpose, c.Account.ID, row.Sealed)
			must(t, err)
			dump := dumpAll(t, w.d)
			for _, canary := range []string{string(secret), base32Text.EncodeToString(secret), fmt.Sprintf("%x", secret), recovery[3]} {
				if strings.Contains(dump, canary) {
					t.Errorf("the database holds %q", canary)
				}
			}
			if _, err := w.ring.Open(row.KEKID, totpPurpose, "another account", row.Sealed); err == nil {
				t.Error("the secret opens for another account")
			}
		})
		if e := w.entries(audit.FactorAdd); len(e) != 2 || e[0].ObjectID != "alice" {
			t.Errorf("audit: %+v", e)
		}
	})
}

// ADM-02
func TestCodesCannotBeGuessedAtScale(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		a := w.account("alice", authz.Operator)
		_, recovery := w.generator("alice")
		tried, begin := 0, w.clock()
		half := w.halfSignIn("alice") // the attacker knows the password
		for i := 0; tried <= maxSecond && w.clock().Sub(begin) < 12*time.Hour; i++ {
			st := step("000000")
			st.Source = fmt.Sprintf("198.51.%d.%d", i/250%250, i%250)
			_, _, err := w.SecondStep(ctx, half, st)
			var refused *ThrottledError
			switch {
			case errors.Is(err, ErrCode):
				tried++
			case errors.Is(err, ErrSignedOut): // it waited too long
				half = w.halfSignIn("alice")
			case errors.As(err, &refused):
				w.pass(refused.After)
			default:
				t.Fatal(err)
			}
		}
		if tried != maxSecond {
			t.Errorf("%d codes were tried in half a day, want %d", tried, maxSecond)
		}
		if _, _, err := w.SecondStep(ctx, w.halfSignIn("alice"), step(recovery[0])); !errors.Is(err, ErrThrottled) {
			t.Errorf("after that: %v", err)
		}
		must(t, w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
			return ResetFactors(ctx, tx, authz.Host("test"), a.ID, "locked")
		}))
		if _, c := w.signIn("alice"); c.Session.Stage != StageFull {
			t.Errorf("after a reset: %s", c.Session.Stage)
		}
		if e := w.entries(audit.FactorsReset); len(e) != 1 || e[0].Reason != "locked" {
			t.Errorf("audit: %+v", e)
		}
	})
}

func TestAOneTimePasswordIsGoodForOneSignIn(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		made, err := w.CreateLocal(ctx, NewAccount{Name: "new", Role: authz.Operator, Password: goodPassword, OneTime: true})
		if err != nil || !made.OneTime {
			t.Fatal(err)
		}
		var invalid *InvalidError
		for _, bad := range []string{"short", goodPassword} { // it is not used up for these
			at := attempt("new", goodPassword)
			at.NewPassword = bad
			if _, _, err := w.SignIn(ctx, at); !errors.As(err, &invalid) {
				t.Errorf("%q as the one to come: %v", bad, err)
			}
		}
		half, c := w.signIn("new")
		if c.Session.Stage != StageNewPassword {
			t.Fatalf("stage %s", c.Session.Stage)
		}
		if _, err := w.Authenticate(ctx, half, ViaProgram); !errors.Is(err, ErrHalf) {
			t.Errorf("it authenticates: %v", err)
		}
		if _, _, err := w.SecondStep(ctx, half, step("000000")); !errors.Is(err, ErrSignedOut) {
			t.Errorf("another step: %v", err)
		}
		if _, _, err := w.SignIn(ctx, attempt("new", goodPassword)); !errors.Is(err, ErrSignIn) {
			t.Errorf("a second time: %v", err)
		}
		set := NewPassword{Source: "192.0.2.7", RequestID: "r3"}
		for _, bad := range []string{"short", goodPassword} {
			set.Password = bad
			if _, _, err := w.SetNewPassword(ctx, half, set); !errors.As(err, &invalid) {
				t.Errorf("%q as the new one: %v", bad, err)
			}
		}
		set.Password = "a phrase chosen anew"
		token, c, err := w.SetNewPassword(ctx, half, set)
		if err != nil || c.Session.Stage != StageFull {
			t.Fatal(err)
		}
		if _, err := w.Authenticate(ctx, token, ViaProgram); err != nil {
			t.Error(err)
		}
		if _, _, err := w.SetNewPassword(ctx, half, set); !errors.Is(err, ErrSignedOut) {
			t.Errorf("twice: %v", err)
		}
		if _, _, err := w.SignIn(ctx, attempt("new", "a phrase chosen anew")); err != nil {
			t.Error(err)
		}

		// A password that another sets is such a one, and the second factor comes first.
		code, _ := w.generatorWith("new", "a phrase chosen anew")
		_, err = w.Update(ctx, authz.Host("test"), made.ID, Change{Password: new(goodPassword)})
		must(t, err)
		half = w.halfSignIn("new")
		if _, _, err := w.SetNewPassword(ctx, half, set); !errors.Is(err, ErrSignedOut) {
			t.Errorf("a new password before the code: %v", err)
		}
		half, c, err = w.SecondStep(ctx, half, step(code(w.clock())))
		if err != nil || c.Session.Stage != StageNewPassword {
			t.Fatalf("%s %v", c.Session.Stage, err)
		}
		if _, _, err := w.SetNewPassword(ctx, half, set); err != nil {
			t.Error(err)
		}
	})
}

// A stolen password ends nobody's work.
func TestHalfSessionsNeverPushOutFullOnes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	ctx := context.Background()
	w.account("alice", authz.Operator)
	code, _ := w.generator("alice")
	token, _, err := w.SecondStep(ctx, w.halfSignIn("alice"), step(code(w.clock())))
	must(t, err)
	var halves []string
	for range maxSessions + 2 {
		halves = append(halves, w.halfSignIn("alice"))
		w.pass(time.Second)
	}
	if _, err := w.Authenticate(ctx, token, ViaProgram); err != nil {
		t.Errorf("the full session: %v", err)
	}
	for i, half := range halves {
		want := ErrSignedOut
		if i >= len(halves)-maxHalf {
			want = ErrHalf
		}
		if _, err := w.Authenticate(ctx, half, ViaProgram); !errors.Is(err, want) {
			t.Errorf("half %d: %v", i, err)
		}
	}
	w.pass(halfLife)
	if _, _, err := w.SecondStep(ctx, halves[len(halves)-1], step(code(w.clock()))); !errors.Is(err, ErrSignedOut) {
		t.Errorf("a step taken late: %v", err)
	}
}

// ADM-14: whoever has only an old session, or its token, adds and takes nothing.
func TestFactorsNeedAFreshSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	ctx := context.Background()
	root := w.account("root", authz.Admin)
	_, c := w.signIn("root")
	old := c.By(authz.AccountManage, "", "")
	acts := map[string]func(by authz.By) error{
		"start a generator":   func(by authz.By) error { _, err := w.StartTOTP(ctx, by); return err },
		"confirm it":          func(by authz.By) error { _, err := w.ConfirmTOTP(ctx, by, "000000"); return err },
		"remove it":           func(by authz.By) error { return w.RemoveTOTP(ctx, by) },
		"make recovery codes": func(by authz.By) error { _, err := w.NewRecoveryCodes(ctx, by); return err },
		"make an account": func(by authz.By) error {
			_, err := w.CreateAccount(ctx, by, NewAccount{Name: "eve", Role: authz.Admin, Password: goodPassword})
			return err
		},
		"change a role": func(by authz.By) error {
			_, err := w.Update(ctx, by, root.ID, Change{Role: to(authz.Viewer)})
			return err
		},
		"grant": func(by authz.By) error {
			_, err := w.Update(ctx, by, root.ID, Change{Grants: &[]authz.Permission{authz.EnrollmentReview}})
			return err
		},
		"set a password": func(by authz.By) error {
			_, err := w.Update(ctx, by, root.ID, Change{Password: new("another phrase entirely")})
			return err
		},
		"open an account": func(by authz.By) error {
			_, err := w.Update(ctx, by, root.ID, Change{Disabled: new(false)})
			return err
		},
		"free of a passkey": func(by authz.By) error {
			_, err := w.Update(ctx, by, root.ID, Change{MustPasskey: new(false)})
			return err
		},
	}
	w.pass(freshFor + time.Second)
	_, err := w.Authenticate(ctx, func() string { token, _ := w.signIn("root"); return token }(), ViaProgram)
	must(t, err)
	for name, act := range acts {
		if err := act(old); !errors.Is(err, ErrFreshSignIn) {
			t.Errorf("%s with a session of %v ago: %v", name, freshFor, err)
		}
		if err := act(authz.NewBy(audit.Actor{Kind: "token", ID: "ci"}, "", "", func(context.Context, db.Tx) error { return nil })); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("%s as a machine: %v", name, err)
		}
	}
	bob := w.account("bob", authz.Viewer)
	if _, err := w.Update(ctx, old, bob.ID, Change{Disabled: new(true)}); err != nil {
		t.Errorf("closing an account waits for a sign-in: %v", err)
	}
}

// BKP-02: what may have been used after the backup opens nothing.
func TestARestoreVoidsWhatIsOneTime(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("alice", authz.Operator)
		code, recovery := w.generator("alice")
		_, err := w.CreateLocal(ctx, NewAccount{Name: "new", Role: authz.Operator, Password: goodPassword, OneTime: true})
		must(t, err)
		must(t, w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { _, err := tx.NewEpoch(ctx, 0); return err }))
		if _, _, err := w.SignIn(ctx, attempt("new", goodPassword)); !errors.Is(err, ErrSignIn) {
			t.Errorf("a one-time password of before: %v", err)
		}
		if _, _, err := w.SecondStep(ctx, w.halfSignIn("alice"), step(recovery[0])); !errors.Is(err, ErrCode) {
			t.Errorf("a recovery code of before: %v", err)
		}
		_, c, err := w.SecondStep(ctx, w.halfSignIn("alice"), step(code(w.clock())))
		must(t, err)
		by := c.By(authz.Self, "", "")
		if f, err := w.Factors(ctx, by); err != nil || f.RecoveryLeft != 0 {
			t.Errorf("%+v %v", f, err)
		}
		fresh, err := w.NewRecoveryCodes(ctx, by)
		must(t, err)
		_, _, err = w.SecondStep(ctx, w.halfSignIn("alice"), step(fresh[0]))
		must(t, err)
	})
}
