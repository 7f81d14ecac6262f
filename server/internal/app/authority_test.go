package app

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
)

// RBA-01, SES-03: every act asks for its authority inside its own transaction,
// before anything else: also about what is not there.
func TestEveryActAsksWhetherItMay(t *testing.T) {
	t.Parallel()
	core := started(t, t.TempDir())
	defer stop(t, core)
	ctx := t.Context()
	nobody := authz.By{}
	// Whoever has just signed in, and lost the right since.
	lost := authz.NewBy(audit.Actor{Kind: audit.Person, ID: "olga"}, "a", "olga", func(context.Context, db.Tx) error { return authz.ErrDenied })
	lost.FullAt = core.DB.Now()
	account, err := core.Admin.CreateLocal(ctx, admin.NewAccount{Name: "root", Role: authz.Admin, Password: "blue kettles sing at noon"})
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := core.Enroll.CreateToken(ctx, authz.System("test"), enroll.NewToken{Uses: 1, Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	entries := func() int64 {
		n, err := core.DB.Read().NewSelect().Table("audit_entries").Count(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := entries()
	role := authz.Viewer
	for name, act := range map[string]func() error{
		"revoke a device":  func() error { return core.Flow.Revoke(ctx, nobody, "edge-1", "x") },
		"suspend a device": func() error { return core.Flow.Suspend(ctx, nobody, "edge-1", "x") },
		"resume a device":  func() error { _, err := core.Flow.Resume(ctx, nobody, "edge-1", "x"); return err },
		"resync a device":  func() error { _, err := core.Flow.Resync(ctx, nobody, "edge-1", "x"); return err },
		"reset factors":    func() error { _, err := core.Flow.ResetFactors(ctx, nobody, account.ID, "x"); return err },
		"decide": func() error {
			_, err := core.Flow.Decide(ctx, nobody, db.NewID(time.Now()), flow.Decision{Approve: true, Digest: "x", Reason: "x"})
			return err
		},
		"review an enrollment": func() error {
			_, err := core.Flow.Review(ctx, nobody, db.NewID(time.Now()), flow.Decision{Approve: true, Digest: "x", Reason: "x"})
			return err
		},
		"make a token": func() error {
			_, _, err := core.Enroll.CreateToken(ctx, nobody, enroll.NewToken{Uses: 1, Life: time.Hour})
			return err
		},
		"revoke a token": func() error { return core.Enroll.RevokeToken(ctx, nobody, token.ID, "x") },
		"open a window":  func() error { _, err := core.Enroll.OpenWindow(ctx, nobody, time.Hour, "x"); return err },
		"close a window": func() error { return core.Enroll.CloseWindow(ctx, nobody, "x") },
		"make a viewer": func() error {
			_, err := core.Admin.CreateAccount(ctx, lost, admin.NewAccount{Name: "eva", Role: authz.Viewer, Password: "blue kettles sing at noon"})
			return err
		},
		"disable an account": func() error {
			_, err := core.Admin.Update(ctx, lost, account.ID, admin.Change{Disabled: new(true)})
			return err
		},
		"make an account": func() error {
			_, err := core.Admin.CreateAccount(ctx, nobody, admin.NewAccount{Name: "eve", Role: authz.Admin, Password: "blue kettles sing at noon"})
			return err
		},
		"change an account": func() error {
			_, err := core.Admin.Update(ctx, nobody, account.ID, admin.Change{Role: &role})
			return err
		},
		"end a session":       func() error { return core.Admin.RevokeSession(ctx, nobody, db.NewID(time.Now())) },
		"end an own session":  func() error { return core.Admin.RevokeOwn(ctx, nobody, db.NewID(time.Now())) },
		"prepare authorities": func() error { _, err := core.PKI.Prepare(ctx, nobody); return err },
		"declare a restore":   func() error { _, err := flow.MarkRestored(ctx, core.DB, core.Outside, nobody, nil); return err },
	} {
		if err := act(); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := entries(); after != before {
		t.Errorf("%d entries of acts that were refused", after-before)
	}
	if journal, err := core.Journal.Read(); err != nil || len(journal) != 0 {
		t.Errorf("a refused revocation is in the journal: %v, %v", journal, err)
	}
}

// ENR-02: a window that is closed by hand is closed, and closing none is no act.
func TestAWindowIsClosedByHand(t *testing.T) {
	t.Parallel()
	core := started(t, t.TempDir())
	defer stop(t, core)
	ctx, by := t.Context(), authz.System("test")
	open := func() bool {
		w, err := enroll.CurrentWindow(ctx, core.DB.Read(), core.DB.Now())
		if err != nil {
			t.Fatal(err)
		}
		return w != nil
	}
	for _, d := range []time.Duration{0, time.Minute - 1, enroll.MaxWindow + 1} {
		if _, err := core.Enroll.OpenWindow(ctx, by, d, "x"); !errors.Is(err, enroll.ErrWindow) || open() {
			t.Errorf("for %v: %v", d, err)
		}
	}
	for range 2 { // two may be open at once: closing closes both
		if _, err := core.Enroll.OpenWindow(ctx, by, time.Hour, "roll-out"); err != nil || !open() {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := core.Enroll.CloseWindow(ctx, by, "done"); err != nil || open() {
			t.Fatalf("still open: %v", err)
		}
	}
	if n, err := core.DB.Read().NewSelect().Table("audit_entries").Where("action = 'enroll-window.close'").Count(ctx); err != nil || n != 1 {
		t.Errorf("%d entries of one closing, %v", n, err)
	}
}
