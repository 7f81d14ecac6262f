package admin

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// APR-08: the passkey is what stands between the password that another chose and a
// vote. It is not taken out of the way: not with the password, and not after it.
func TestNobodyMakesThePasswordTheyChoseEnoughForAnApprover(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("root", authz.Admin)
		carol := w.account("carol", authz.Approver)
		bob := w.account("bob", authz.Operator)
		for _, a := range []Account{carol, bob} {
			_, err := w.Update(ctx, authz.Host("test"), a.ID, Change{MustPasskey: new(true)})
			must(t, err)
			w.enroll(a.Name)
		}
		const chosen = "a phrase chosen by another"
		w.OnRights(&asked{})
		_, admin := w.signIn("root")
		by := admin.By(authz.AccountManage, "192.0.2.1", "r7")
		var invalid *InvalidError
		if _, err := w.Update(ctx, by, carol.ID, Change{Password: new(chosen), MustPasskey: new(false)}); !errors.As(err, &invalid) {
			t.Errorf("both at once: %v", err)
		}
		for _, id := range []string{carol.ID, bob.ID} { // her passkey is still needed
			_, err := w.Update(ctx, by, id, Change{Password: new(chosen)})
			must(t, err)
		}
		if _, err := w.Update(ctx, by, carol.ID, Change{MustPasskey: new(false)}); !errors.As(err, &invalid) {
			t.Errorf("one after the other: %v", err)
		}
		if _, _, err := w.SignIn(ctx, attempt("carol", chosen)); !errors.Is(err, ErrSignIn) {
			t.Errorf("the password alone opens an approver's account: %v", err)
		}
		if _, err := w.Update(ctx, by, bob.ID, Change{MustPasskey: new(false)}); err != nil {
			t.Errorf("of one who approves nothing: %v", err)
		}
	})
}

// ADM-11: a sign-in that began with the password ends when the account must use its
// passkey from now on.
func TestASignInUnderWayEndsWhereAPasskeyIsNeeded(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		a := w.account("alice", authz.Operator)
		code, recovery := w.generator("alice")
		_, err := w.Update(ctx, authz.Host("test"), a.ID, Change{MustPasskey: new(true)})
		must(t, err)
		half, theirs := w.halfSignIn("alice"), w.halfSignIn("alice") // no passkey yet
		_, c, err := w.SecondStep(ctx, half, step(code(w.clock())))
		must(t, err)
		by := c.By(authz.Self, "192.0.2.7", "r1")
		k := newSoftKey(t)
		challenge, err := w.PasskeyRegistrationOptions(ctx, by)
		must(t, err)
		_, err = w.RegisterPasskey(ctx, by, challenge.ID, "a key", k.create(t, challenge, nil))
		must(t, err)
		for name, other := range map[string]string{"a code": code(w.clock().Add(30 * time.Second)), "a recovery code": recovery[0]} {
			if _, _, err := w.SecondStep(ctx, theirs, step(other)); !errors.Is(err, ErrSignedOut) {
				t.Errorf("with %s: %v", name, err)
			}
		}
		if _, _, err := w.passkeyIn(k, nil); err != nil {
			t.Error(err)
		}
	})
}

// ADM-08: an invitation ends with its inviter's account or right, and does not come
// back with them.
func TestAnInvitationDoesNotComeBackWithItsInviter(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("second", authz.Admin)
		for name, c := range map[string][2]Change{
			"disabled": {{Disabled: new(true)}, {Disabled: new(false)}},
			"demoted":  {{Role: to(authz.Viewer)}, {Role: to(authz.Admin)}},
			"told":     {{MustPasskey: new(true)}, {MustPasskey: new(false)}},
		} {
			inviter := w.account("root-"+name, authz.Admin)
			_, caller := w.signIn(inviter.Name)
			_, secret, err := w.Invite(ctx, caller.By(authz.AccountManage, "192.0.2.7", "r1"), NewInvitation{Name: "hand-" + name, Role: authz.Operator})
			must(t, err)
			for _, change := range c {
				_, err := w.Update(ctx, authz.Host("test"), inviter.ID, change)
				must(t, err)
			}
			_, _, err = w.Redeem(ctx, redeeming(secret, "hand-"+name))
			if name == "told" {
				must(t, err) // it goes on where the right was never lost
			} else if !errors.Is(err, ErrInvitation) {
				t.Errorf("whose inviter was %s and is back: %v", name, err)
			}
		}
	})
}
