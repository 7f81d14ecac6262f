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

func TestAPITokens(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		w.account("root", authz.Admin)
		w.account("spare", authz.Admin)
		maker := func() authz.By {
			_, c := w.signIn("root")
			return c.By(authz.APITokenCreate, "192.0.2.7", "r1")
		}
		newToken := func(life time.Duration, permissions ...authz.Permission) (APIToken, string, error) {
			return w.CreateAPIToken(ctx, maker(), NewAPIToken{Name: "ci", Permissions: permissions, Life: life})
		}
		var invalid *InvalidError
		for _, p := range authz.Permissions() {
			_, _, err := newToken(time.Hour, p)
			switch {
			case !p.ForMachines():
				if !errors.As(err, &invalid) {
					t.Errorf("a token with %s: %v", p, err)
				}
			case err != nil:
				t.Errorf("a token with %s: %v", p, err)
			}
		}
		w.account("clerk", authz.Viewer, authz.APITokenCreate)
		_, clerk := w.signIn("clerk")
		for p, want := range map[authz.Permission]error{authz.DeviceRead: nil, authz.DeviceRevoke: authz.ErrDenied} {
			_, _, err := w.CreateAPIToken(ctx, clerk.By(authz.APITokenCreate, "", ""), NewAPIToken{Name: "x", Permissions: []authz.Permission{p}, Life: time.Hour})
			if !errors.Is(err, want) {
				t.Errorf("a viewer makes a token with %s: %v", p, err)
			}
		}
		for name, bad := range map[string]NewAPIToken{
			"no permissions":     {Name: "ci", Life: time.Hour},
			"no name":            {Life: time.Hour, Permissions: []authz.Permission{authz.DeviceRead}},
			"for ever":           {Name: "ci", Life: 10 * maxAPIToken, Permissions: []authz.Permission{authz.DeviceRead}},
			"no life":            {Name: "ci", Permissions: []authz.Permission{authz.DeviceRead}},
			"another permission": {Name: "ci", Life: time.Hour, Permissions: []authz.Permission{"device:everything"}},
		} {
			if _, _, err := w.CreateAPIToken(ctx, maker(), bad); !errors.As(err, &invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		made, secret, err := newToken(time.Hour, authz.DeviceRead, authz.DeviceSuspend)
		must(t, err)
		c, err := w.Authenticate(ctx, secret, ViaProgram)
		if err != nil || !c.May(authz.DeviceRead) || c.May(authz.DeviceRevoke) || c.May(authz.Self) || c.Account.ID != "" {
			t.Fatalf("%+v %v", c, err)
		}
		if _, err := w.Authenticate(ctx, secret, ViaConsole); !errors.Is(err, ErrSignedOut) {
			t.Errorf("at the console: %v", err)
		}
		still := func(by authz.By) error {
			return w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return by.Still(ctx, tx) })
		}
		by := c.By(authz.DeviceSuspend, "192.0.2.8", "r7")
		if row, err := accountBy(ctx, w.d.Read(), "name", made.Maker); err != nil || by.MakerID != row.ID || by.AccountID != "" {
			t.Errorf("a machine of %q acts for %q: %v", made.Maker, by.MakerID, err) // APR-07
		}
		if err := still(by); err != nil || by.Kind != audit.Machine || by.ID != "ci" || by.AccountID != "" || by.Person != "root" {
			t.Errorf("%+v %v", by, err)
		}
		for _, p := range []authz.Permission{authz.DeviceRevoke, authz.CommandReview, authz.Self, authz.AccountManage} {
			if err := still(c.By(p, "", "")); !errors.Is(err, authz.ErrDenied) {
				t.Errorf("its authority for %s: %v", p, err)
			}
		}
		if list, err := w.APITokens(ctx); err != nil || !slices.ContainsFunc(list, func(x APIToken) bool { return x.ID == made.ID && !x.UsedAt.IsZero() }) {
			t.Errorf("%+v %v", list, err)
		}
		// SES-01
		if strings.Contains(dumpAll(t, w.d), strings.TrimPrefix(secret, machinePrefix)) {
			t.Error("the database holds the secret")
		}
		// SES-03
		host := authz.Host("test")
		id := func(name string) string {
			row, err := accountBy(ctx, w.d.Read(), "name", name)
			must(t, err)
			return row.ID
		}
		for name, end := range map[string]func(token APIToken) error{
			"revoked": func(token APIToken) error { return w.RevokeAPIToken(ctx, host, token.ID) },
			"expired": func(APIToken) error { w.pass(time.Hour); return nil },
			"restored": func(APIToken) error {
				return w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { _, err := tx.NewEpoch(ctx, 0); return err })
			},
			"maker closed": func(APIToken) error {
				_, err := w.Update(ctx, host, id("root"), Change{Disabled: new(true)})
				return err
			},
		} {
			_, err := w.Update(ctx, host, id("root"), Change{Disabled: new(false)})
			must(t, err)
			token, secret, err := newToken(time.Hour, authz.DeviceRead)
			must(t, err)
			c, err := w.Authenticate(ctx, secret, ViaProgram)
			must(t, err)
			by := c.By(authz.DeviceRead, "", "")
			must(t, still(by))
			must(t, end(token))
			if _, err := w.Authenticate(ctx, secret, ViaProgram); !errors.Is(err, ErrSignedOut) {
				t.Errorf("%s: the next request: %v", name, err)
			}
			if err := still(by); !errors.Is(err, authz.ErrDenied) {
				t.Errorf("%s: inside the act: %v", name, err)
			}
		}
		_, err = w.Update(ctx, host, id("root"), Change{Disabled: new(false)})
		must(t, err)
		_, secret, err = newToken(time.Hour, authz.DeviceRead, authz.DeviceSuspend)
		must(t, err)
		c, err = w.Authenticate(ctx, secret, ViaProgram)
		must(t, err)
		_, err = w.Update(ctx, host, id("root"), Change{Role: to(authz.Viewer)})
		must(t, err)
		if err := still(c.By(authz.DeviceSuspend, "", "")); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("what its maker may not do any more: %v", err)
		}
		if c, err := w.Authenticate(ctx, secret, ViaProgram); err != nil || c.May(authz.DeviceSuspend) || !c.May(authz.DeviceRead) {
			t.Errorf("what its maker still may: %v", err)
		}
		for _, bad := range []string{machinePrefix, machinePrefix + strings.Repeat("A", 43), secret + "A", strings.TrimPrefix(secret, machinePrefix), invitationPrefix + strings.TrimPrefix(secret, machinePrefix)} {
			if _, err := w.Authenticate(ctx, bad, ViaProgram); !errors.Is(err, ErrSignedOut) {
				t.Errorf("%.12q: %v", bad, err)
			}
		}
		if e := w.entries(audit.APITokenRevoke); len(e) != 1 || e[0].DetailMap()["name"] != "ci" {
			t.Errorf("audit: %+v", e)
		}
	})
}
