package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

func TestSigningIn(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		alice := w.account("alice", authz.Operator)
		w.account("gone", authz.Operator)
		gone, err := accountBy(ctx, w.d.Read(), "name", "gone")
		must(t, err)
		root := w.account("root", authz.Admin)
		_, err = w.Update(ctx, authz.Host("test"), gone.ID, Change{Disabled: new(true)})
		must(t, err)

		token, c := w.signIn("Alice")
		if c.Account.ID != alice.ID || c.Account.SignedInAt.IsZero() && c.Session.AccountName != "alice" {
			t.Errorf("signed in as %+v", c.Account)
		}
		again, err := w.Authenticate(ctx, token, ViaProgram)
		if err != nil || again.Session.ID != c.Session.ID {
			t.Errorf("the token does not open its session: %v", err)
		}
		if e := w.entries(audit.SignIn); len(e) != 1 || e[0].ActorID != "alice" || e[0].ObjectID != c.Session.ID || e[0].Source != "192.0.2.7" {
			t.Errorf("audit: %+v", e)
		}

		// ADM-05: one answer, one hash, one query, whatever is wrong.
		for name, at := range map[string]Attempt{
			"a wrong password":               attempt("alice", goodPassword+"x"),
			"no password":                    attempt("alice", ""),
			"a password beyond its limit":    attempt("alice", strings.Repeat("x", 5000)),
			"a name that does not exist":     attempt("nobody", goodPassword),
			"a disabled account":             attempt("gone", goodPassword),
			"no name":                        attempt("", goodPassword),
			"a name with a space behind":     attempt("alice ", goodPassword),
			"a name of another script":       attempt("аlice", goodPassword),
			"a password where the name goes": attempt("hunter2 canary phrase", ""),
		} {
			at.Source = "198.51.100.9"
			before := w.hashes
			token, _, err := w.SignIn(ctx, at)
			if !errors.Is(err, ErrSignIn) || token != "" || err.Error() != ErrSignIn.Error() {
				t.Errorf("%s: %v", name, err)
			}
			if ran := w.hashes - before; ran != 1 {
				t.Errorf("%s: %d hashes", name, ran)
			}
		}
		refusals := 0
		for _, e := range w.entries(audit.SignIn) {
			if e.Result == audit.Refused {
				refusals++
			}
			if all := fmt.Sprintf("%+v", e); strings.Contains(all, "canary") || strings.Contains(all, "nobody") || strings.Contains(all, goodPassword) {
				t.Errorf("what was typed is in the audit log: %s", all)
			}
		}
		if refusals != 1 {
			t.Errorf("9 refusals of one source made %d entries", refusals)
		}
		w.pass(time.Second)
		must(t, w.refusals.Flush(ctx, true))
		if e := w.entries(audit.SignIn); e[0].DetailMap()["repeated"] != "8" {
			t.Errorf("the count of the others: %+v", e[0].DetailMap())
		}

		t.Run("a password that changes meanwhile opens nothing", func(t *testing.T) {
			row, err := accountBy(ctx, w.d.Read(), "name", "root")
			must(t, err)
			_, err = w.Update(ctx, authz.Host("test"), root.ID, Change{Password: new("another phrase entirely")})
			must(t, err)
			if _, _, err := w.open(ctx, origin{Source: "192.0.2.7", Via: ViaProgram}, row, attempts{byAccount, row.ID}); !errors.Is(err, ErrSignIn) {
				t.Fatalf("got %v", err)
			}
		})

		// SES-01
		t.Run("no token can be made of what is stored", func(t *testing.T) {
			payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
			must(t, err)
			_, rest, _ := strings.Cut(string(payload), `"ses":"`)
			secretText, _, ok := strings.Cut(rest, `"`)
			if !ok {
				t.Fatalf("the token carries no secret: %s", payload)
			}
			secret, err := base64.RawURLEncoding.DecodeString(secretText)
			must(t, err)
			dump := dumpAll(t, w.d)
			for name, canary := range map[string]string{
				"token": token, "secret": secretText, "raw secret": string(secret), "secret in hex": fmt.Sprintf("%x", secret), "password": goodPassword,
			} {
				if strings.Contains(dump, canary) {
					t.Errorf("the database holds the %s", name)
				}
			}
			if !strings.Contains(dump, c.Session.ID) {
				t.Fatal("the dump is not one")
			}
			for word := range strings.FieldsSeq(dump) {
				if _, err := w.Authenticate(ctx, word, ViaProgram); !errors.Is(err, ErrSignedOut) {
					t.Fatalf("%q opens a session: %v", word, err)
				}
			}
		})
	})
}

// dumpAll is every value of the tables that sign-in writes, as text and as hex.
func dumpAll(t *testing.T, d *db.DB) string {
	t.Helper()
	var b strings.Builder
	for _, table := range []string{
		"accounts", "sessions", "audit_entries", "account_totp", "recovery_codes", "account_notices", "attempt_counts", "known_sources",
		"passkeys", "passkey_challenges", "invitations", "api_tokens", "break_glass",
	} {
		var rows []map[string]any
		must(t, d.Read().NewSelect().TableExpr(table).Scan(context.Background(), &rows))
		for _, row := range rows {
			for _, v := range row {
				if raw, ok := v.([]byte); ok {
					fmt.Fprintf(&b, "%s %x %s ", raw, raw, base64.RawURLEncoding.EncodeToString(raw))
					continue
				}
				fmt.Fprintf(&b, "%v ", v)
			}
		}
	}
	return b.String()
}

// ADM-02, ADM-03
func TestGuessingIsThrottledByAccountFromHoweverManySources(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	ctx := context.Background()
	w.account("alice", authz.Operator)
	w.account("bob", authz.Operator)
	tried := 0
	var throttled *ThrottledError
	for i := range 100 {
		at := attempt([]string{"alice", "Alice", "ALICE", "aLICE"}[i%4], "wrong")
		at.Source = fmt.Sprintf("198.51.100.%d", i)
		_, _, err := w.SignIn(ctx, at)
		switch {
		case errors.As(err, &throttled):
		case errors.Is(err, ErrSignIn):
			tried++
		default:
			t.Fatal(err)
		}
	}
	if tried != accountBurst {
		t.Errorf("%d guesses got through, want %d", tried, accountBurst)
	}
	if w.hashes != accountBurst+2 {
		t.Errorf("%d hashes: a throttled guess costs one", w.hashes)
	}
	if _, _, err := w.SignIn(ctx, attempt("alice", goodPassword)); !errors.As(err, &throttled) || throttled.After > accountEvery {
		t.Errorf("the right password meanwhile: %v", err)
	}
	for i := range accountBurst + 1 {
		at := attempt("unknown-name", "wrong")
		at.Source = fmt.Sprintf("203.0.113.%d", i)
		if _, _, err := w.SignIn(ctx, at); (i == accountBurst) != errors.Is(err, ErrThrottled) {
			t.Errorf("an unknown name is throttled otherwise than a known one: guess %d gives %v", i+1, err)
		}
	}
	w.signIn("bob")
	w.pass(accountEvery)
	w.signIn("alice")
	for range accountBurst {
		w.signIn("alice") // success forgets the failures
	}
}

func TestGuessingIsThrottledBySource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	tried := 0
	for i := range 3 * sourceBurst {
		if _, _, err := w.SignIn(context.Background(), attempt(fmt.Sprintf("name-%d", i), "wrong")); errors.Is(err, ErrSignIn) {
			tried++
		}
	}
	if tried != sourceBurst {
		t.Fatalf("%d guesses got through, want %d", tried, sourceBurst)
	}
	// DOS-02
	if e := w.entries(audit.SignIn); len(e) != 2 {
		t.Fatalf("%d refusals made %d entries, want one of each kind", 3*sourceBurst, len(e))
	}
}
