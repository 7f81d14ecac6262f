package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// recruit is a new account of a person who looks.
func (w *world) recruit(name string) admin.Account {
	w.Helper()
	id := db.NewID(w.clock.Now())
	w.exec(`INSERT INTO accounts (id, name, person, role, password_hash, created_at, created_by, password_at) VALUES (?, ?, ?, 'viewer', '', 0, '', 0)`, id, name, name)
	return w.account(id)
}

// alter changes an account as the server's host may.
func (w *world) alter(id string, c admin.Change) {
	w.Helper()
	w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
		_, err := w.people.Apply(ctx, tx, authz.Host("test"), id, c)
		return err
	}))
}

// account is an account as it stands.
func (w *world) account(id string) admin.Account {
	w.Helper()
	found, err := admin.Standing(w.Context(), w.d.Read(), id)
	w.must(err)
	return found[id]
}

// fresh is a person who signed in just now.
func (w *world) fresh(by authz.By) authz.By {
	by.FullAt = w.clock.Now()
	return by
}

// promote asks that an account becomes an approver.
func (w *world) promote(by authz.By, id string) *view.Approval {
	w.Helper()
	role := authz.Approver
	_, err := w.people.Update(w.Context(), w.fresh(by), id, admin.Change{Role: &role, Reason: "new task"})
	waits, ok := errors.AsType[*admin.WaitsError](err)
	if !ok {
		w.Fatalf("it does not wait: %v", err)
	}
	shown, err := view.ApprovalOf(w.Context(), w.d.Read(), waits.ApprovalID, approval.Voter{Person: "Carol", AccountID: "c1", May: everything}, w.clock.Now())
	w.must(err)
	return shown
}

func delayed(delay time.Duration) func(*flow.Settings) {
	return func(s *flow.Settings) { s.ApprovalDelay = delay }
}

func TestRightsAreGivenByTwoAfterADelay(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, delayed(10*time.Minute))
		node := *w
		node.Flow = node.flow(flow.Settings{ApprovalDelay: 10 * time.Minute})
		eve := w.recruit("eve")
		shown := w.promote(w.by, eve.ID)
		if !slices.ContainsFunc(shown.Fields, func(f view.ApprovalField) bool { return f.Name == "after.role" && f.Value == "approver" }) {
			w.Errorf("%+v", shown.Fields)
		}
		if state, err := w.vote(w.carol(), shown); err != nil || state != approval.Approved {
			w.Fatalf("%s %v", state, err)
		}
		w.clock.Add(10*time.Minute - time.Millisecond)
		w.must(w.ExecuteDue(w.Context()))
		if got := w.account(eve.ID); got.Role != authz.Viewer {
			w.Fatal("it took effect before its time")
		}
		w.clock.Add(time.Millisecond)
		for _, n := range []*world{w, &node, w} {
			w.must(n.ExecuteDue(w.Context()))
		}
		if got := w.account(eve.ID); got.Role != authz.Approver {
			w.Errorf("%+v", got)
		}
		if n := w.count("audit_entries", "action = 'approval.execute' AND details LIKE '%Carol%'"); n != 1 {
			w.Errorf("it took effect %d times", n)
		}
	})
}

func TestADelayedChangeIsCancelledByOneWhoMayVote(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, delayed(time.Hour))
		eve := w.recruit("eve")
		shown := w.promote(w.by, eve.ID)
		_, err := w.vote(w.carol(), shown)
		w.must(err)
		viewer := authz.NewBy(w.by.Actor, eve.ID, "eve", func(context.Context, db.Tx) error { return nil })
		if _, err := w.refuse(viewer, shown); !errors.Is(err, authz.ErrDenied) {
			w.Errorf("by one who may not vote: %v", err)
		}
		if _, err := w.vote(w.dave(), shown); !errors.Is(err, approval.ErrClosed) {
			w.Errorf("another approval: %v", err)
		}
		if state, err := w.refuse(w.dave(), shown); err != nil || state != approval.Rejected {
			w.Fatalf("%s %v", state, err)
		}
		w.clock.Add(2 * time.Hour)
		w.must(w.ExecuteDue(w.Context()))
		if got := w.account(eve.ID); got.Role != authz.Viewer {
			w.Errorf("%+v", got)
		}
	})
}

// APR-07: what changes between the vote and the moment of effect voids it.
func TestWhatChangesDuringTheDelayVoids(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, delayed(time.Hour))
		yes, operator, recruits := true, authz.Operator, 0
		for name, change := range map[string]func(id string){
			"the approver is disabled":        func(string) { w.exec("UPDATE accounts SET disabled_at = 1 WHERE id = 'c1'") },
			"the approver is demoted":         func(string) { w.exec("UPDATE accounts SET role = 'viewer', grants = '[]' WHERE id = 'c1'") },
			"whoever asked is demoted":        func(string) { w.exec("UPDATE accounts SET role = 'viewer', grants = '[]' WHERE id = 'd1'") },
			"whoever asked is another person": func(string) { w.exec("UPDATE accounts SET person = 'Mallory' WHERE id = 'd1'") },
			"the account is disabled": func(id string) {
				_, err := w.people.Update(w.Context(), w.fresh(w.by), id, admin.Change{Disabled: &yes})
				w.must(err)
			},
			"the account has another role": func(id string) {
				_, err := w.people.Update(w.Context(), w.fresh(w.by), id, admin.Change{Role: &operator})
				w.must(err)
			},
			"the account is another person's": func(id string) { w.exec("UPDATE accounts SET person = 'Mallory' WHERE id = ?", id) },
		} {
			recruits++
			eve := w.recruit(fmt.Sprintf("eve-%d", recruits))
			shown := w.promote(w.dave(), eve.ID)
			if _, err := w.vote(w.carol(), shown); err != nil {
				w.Fatal(err)
			}
			change(eve.ID)
			w.clock.Add(time.Hour)
			w.must(w.ExecuteDue(w.Context()))
			if got := w.account(eve.ID); got.Role == authz.Approver || w.asked(eve.ID).State != "void" {
				w.Errorf("%s: %s, the request is %s", name, got.Role, w.asked(eve.ID).State)
			}
			w.grantAll()
		}
	})
}

// grantAll gives the persons of a world back what they may do.
func (w *world) grantAll() {
	w.Helper()
	for id, name := range map[string]string{"a1": "Alice", "b1": "Bob", "c1": "Carol", "d1": "Dave"} {
		w.exec("UPDATE accounts SET person = ?, role = 'admin', disabled_at = 0, grants = (SELECT grants FROM accounts WHERE id = 'a2') WHERE id = ?", name, id)
	}
}

// APR-07: a vote of a person who was disabled does not come back with the account.
func TestAVoteDoesNotOutliveTheRightToCastIt(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.People = map[approval.Path]int{approval.Certificates: 2} })
		w.enrolled("edge-1")
		w.must(w.Suspend(w.Context(), w.by, "edge-1", "lost"))
		r, err := w.Resume(w.Context(), w.by, "edge-1", "found")
		w.must(err)
		shown := w.asked("edge-1")
		if state, err := w.vote(w.carol(), shown); err != nil || state != approval.Open {
			w.Fatalf("%s %v", state, err)
		}
		for _, disabled := range []bool{true, false} {
			w.alter("c1", admin.Change{Disabled: &disabled})
		}
		if state, err := w.vote(w.dave(), shown); err != nil || state != approval.Open {
			w.Errorf("one vote that stands: %s %v", state, err)
		}
		if _, err := w.vote(w.carol(), shown); !errors.Is(err, approval.ErrVoted) {
			w.Errorf("she votes twice: %v", err)
		}
		if got := w.asked("edge-1"); len(got.Have) != 1 || got.Have[0] != "Dave" || got.Votes[0].StruckAt == 0 {
			w.Errorf("%+v", got.Votes)
		}
		if state, err := w.vote(w.maker, shown); err != nil || state != approval.Executed {
			w.Errorf("two that stand: %s %v", state, err)
		}
		_ = r
	})
}

// APR-08: what a person asked for ends with the right to ask for it.
func TestWhatSomebodyAskedForEndsWithTheirRight(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.People = map[approval.Path]int{approval.Commands: 1} })
		w.enrolled("edge-1")
		w.must(w.Suspend(w.Context(), w.by, "edge-1", "lost"))
		_, err := w.Resume(w.Context(), w.dave(), "edge-1", "found")
		w.must(err)
		w.enrolled("edge-2")
		plan, err := w.SendCommand(w.Context(), w.dave(), ping("edge-2"), false)
		w.must(err)
		passive := w.asked(plan.Command.ID)
		yes := true
		w.alter("d1", admin.Change{Disabled: &yes})
		if got := w.asked("edge-1"); got.State != "void" {
			w.Errorf("the release is %s", got.State)
		}
		w.round()
		if c := w.page(plan.Command.ID); c.State != "rejected" || w.asked(plan.Command.ID).State != "void" {
			w.Errorf("the command is %s", c.State)
		}
		if _, err := w.vote(w.carol(), passive); err == nil {
			w.Error("it can still be agreed to")
		}
		w.grantAll()
		machine := authz.NewBy(audit.Actor{Kind: audit.Machine, ID: "ci"}, "", "Dave", func(context.Context, db.Tx) error { return nil })
		machine.MakerID = "d1"
		plan, err = w.SendCommand(w.Context(), machine, ping("edge-2"), false)
		w.must(err)
		w.alter("d1", admin.Change{Disabled: &yes})
		if got := w.asked(plan.Command.ID); got.State != "void" {
			w.Errorf("what a machine of theirs asked for is %s", got.State)
		}
		// And where nobody noticed, the vote does.
		w.grantAll()
		other, err := w.SendCommand(w.Context(), w.dave(), ping("edge-2"), false)
		w.must(err)
		w.exec("UPDATE accounts SET role = 'viewer', grants = '[]' WHERE id = 'd1'")
		if _, err := w.vote(w.carol(), w.asked(other.Command.ID)); !errors.Is(err, approval.ErrVoid) {
			w.Errorf("%v", err)
		}
		if c := w.page(other.Command.ID); c.State != "rejected" {
			w.Errorf("the command is %s", c.State)
		}
	})
}

// An approver's second factors are what stands between a password and a vote.
func TestTheFactorsOfAnApproverAreTakenAwayByTwo(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, delayed(time.Minute))
		eve := w.recruit("eve")
		if r, err := w.ResetFactors(w.Context(), w.fresh(w.by), eve.ID, "lost the phone"); err != nil || r != nil {
			w.Errorf("of one who approves nothing: %+v %v", r, err)
		}
		before := w.count("audit_entries", "action = 'factor.reset'")
		r, err := w.ResetFactors(w.Context(), w.fresh(w.by), "d1", "lost the phone")
		if err != nil || r == nil || w.count("audit_entries", "action = 'factor.reset'") != before {
			w.Fatalf("%+v %v", r, err)
		}
		shown := w.asked("d1")
		if _, err := w.vote(w.dave(), shown); !errors.Is(err, approval.ErrOwn) {
			w.Errorf("by the owner: %v", err)
		}
		_, err = w.vote(w.carol(), shown)
		w.must(err)
		w.clock.Add(time.Minute)
		w.must(w.ExecuteDue(w.Context()))
		if n := w.count("audit_entries", "action = 'factor.reset'"); n != before+1 {
			w.Errorf("%d entries", n-before)
		}
	})
}

// APR-08: whoever chose an approver's password, and has her second factors taken away,
// would be two people. Those who agree to the one do not know of the other.
func TestTheFactorsOfAnApproverStayWhereAnotherChoseThePassword(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, delayed(time.Minute))
		yes, role, chosen, recruits := true, authz.Approver, "a phrase chosen by another", 0
		approver := func() string {
			recruits++
			eve := w.recruit(fmt.Sprintf("eve-%d", recruits))
			w.alter(eve.ID, admin.Change{Role: &role})
			w.exec(`INSERT INTO account_totp (account_id, kek_id, sealed_secret, last_step, created_at, confirmed_at) VALUES (?, 'x', 'x', 0, 1, 1)`, eve.ID)
			return eve.ID
		}
		choose := func(id string) {
			_, err := w.people.Update(w.Context(), w.fresh(w.by), id, admin.Change{Password: &chosen}) // her code is still asked for
			w.must(err)
		}
		var invalid *admin.InvalidError
		for name, c := range map[string]admin.Change{"active": {}, "disabled": {Disabled: &yes}} {
			id := approver()
			choose(id)
			if c.Disabled != nil {
				w.alter(id, c)
			}
			if r, err := w.ResetFactors(w.Context(), w.fresh(w.by), id, "lost the phone"); !errors.As(err, &invalid) {
				w.Errorf("of an approver who is %s: %+v %v", name, r, err)
			}
		}
		waits, agreed := approver(), approver()
		for _, id := range []string{waits, agreed} {
			_, err := w.ResetFactors(w.Context(), w.fresh(w.by), id, "lost the phone")
			w.must(err)
		}
		_, err := w.vote(w.carol(), w.asked(agreed))
		w.must(err)
		shown := w.asked(waits)
		choose(waits)
		choose(agreed)
		if _, err := w.vote(w.carol(), shown); !errors.Is(err, approval.ErrVoid) {
			w.Errorf("chosen while it waits: %v", err)
		}
		w.clock.Add(time.Minute)
		w.must(w.ExecuteDue(w.Context()))
		if got := w.asked(agreed); got.State != "void" {
			w.Errorf("chosen during the delay: %s", got.State)
		}
		if n := w.count("account_totp", "confirmed_at = 1"); n != recruits {
			w.Errorf("%d of %d have their factors", n, recruits)
		}
	})
}
