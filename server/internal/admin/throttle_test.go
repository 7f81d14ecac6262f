package admin

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

func TestTheThrottleGivesWayAndTellsWhen(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		other := w.node([][]byte{key(t)})
		for i := range accountBurst {
			if _, err := w.takeSignIn(ctx, fmt.Sprintf("192.0.2.%d", i), "a1", "alice"); err != nil {
				t.Fatalf("attempt %d: %v", i+1, err)
			}
		}
		var refused *ThrottledError
		if _, err := other.takeSignIn(ctx, "198.51.100.1", "a1", "alice"); !errors.As(err, &refused) || !errors.Is(err, ErrThrottled) {
			t.Fatalf("from yet another source, at another node: %v", err)
		}
		if refused.After <= 0 || refused.After > accountEvery {
			t.Fatalf("try again after %v", refused.After)
		}
		if _, err := w.takeSignIn(ctx, "198.51.100.1", "b1", "bob"); err != nil {
			t.Fatalf("another account: %v", err)
		}
		w.pass(refused.After)
		if _, err := w.takeSignIn(ctx, "198.51.100.1", "a1", "alice"); err != nil {
			t.Fatalf("after that time: %v", err)
		}
	})
}

func TestAGuesserRestsAfterEachScore(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		tried, begin := 0, w.clock()
		for w.clock().Sub(begin) < 24*time.Hour {
			_, err := w.takeSignIn(ctx, fmt.Sprintf("192.0.2.%d", tried%250), "", "nobody")
			var refused *ThrottledError
			switch {
			case errors.As(err, &refused):
				if tried%lockAfter == 0 && (refused.After > lockFor || refused.After < lockFor-time.Second) {
					t.Fatalf("after %d failures: a rest of %v", tried, refused.After)
				}
				w.pass(refused.After)
			case err != nil:
				t.Fatal(err)
			default:
				tried++
			}
		}
		if tried < 500 || tried > 1500 {
			t.Errorf("%d guesses in a day, want under 1,500", tried)
		}
	})
}

// ADM-13: whoever knows only a name shuts its owner out of nowhere that the owner
// signed in from before.
func TestAnAttackFromElsewhereDoesNotShutTheOwnerOut(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("alice", authz.Operator)
		w.signIn("alice")
		for i := range 60 { // an hour
			for range 2 {
				at := attempt("alice", "wrong")
				at.Source = fmt.Sprintf("198.51.100.%d", i)
				if _, _, err := w.SignIn(ctx, at); !errors.Is(err, ErrThrottled) && !errors.Is(err, ErrSignIn) {
					t.Fatal(err)
				}
			}
			if i%20 == 0 {
				w.signIn("alice")
			}
			w.pass(time.Minute)
		}
		w.signIn("alice")
		at := attempt("alice", goodPassword)
		at.Source = "203.0.113.5"
		for range 3 * accountBurst { // the attacker's count is not emptied by the owner's sign-ins
			bad := at
			bad.Password = "wrong"
			if _, _, err := w.SignIn(ctx, bad); errors.Is(err, ErrThrottled) {
				return
			}
		}
		t.Error("the attacker is not throttled")
	})
}

func TestCountsOfAttemptsAreNotKeptForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	ctx := context.Background()
	for i := range 5 {
		_, _, err := w.SignIn(ctx, attempt(fmt.Sprintf("name-%d", i), "wrong"))
		if !errors.Is(err, ErrSignIn) {
			t.Fatal(err)
		}
	}
	must(t, w.takeSecond(ctx, "a1"))
	w.pass(keepCounts + time.Minute)
	_, err := w.Prune(ctx)
	must(t, err)
	var left []string
	must(t, w.d.Read().NewSelect().TableExpr("attempt_counts").Column("scope").Scan(ctx, &left))
	if len(left) != 1 || left[0] != string(bySecond) {
		t.Errorf("left: %v", left)
	}
}

func TestASourceIsCountedByWhatItsOwnerCanChoose(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "local": "local", "fe80::1%eth0": "fe80::/64",
	} {
		if got := sourceOf(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
