package flow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
)

func (w *world) state(id string) device.State {
	w.Helper()
	d, err := device.Get(w.Context(), w.d.Read(), id)
	w.must(err)
	return d.State
}

// hold stops a device as after a counter that went back.
func (w *world) hold(id string) {
	w.Helper()
	w.exec("UPDATE devices SET held_reason = 'counter' WHERE device_id = ?", id)
}

func TestASuspensionEndsOnceAnotherAgrees(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(w.Suspend(w.Context(), w.by, "edge-1", "lost"))
		r, err := w.Resume(w.Context(), w.by, "edge-1", "found")
		w.must(err)
		again, err := w.Resume(w.Context(), w.carol(), "edge-1", "found too")
		if err != nil || again.ID != r.ID || again.Requester != "Alice" {
			w.Errorf("asking again: %+v %v", again, err)
		}
		if w.state("edge-1") != device.Suspended || a.beat() == nil {
			w.Fatal("asking is enough")
		}
		shown := w.asked("edge-1")
		for name, by := range map[string]authz.By{"who asked": w.by, "who asked, by another account": person("alice2", "a2", "Alice")} {
			if _, err := w.vote(by, shown); !errors.Is(err, approval.ErrOwn) {
				w.Errorf("%s: %v", name, err)
			}
		}
		if state, err := w.vote(w.carol(), shown); err != nil || state != approval.Executed || w.state("edge-1") != device.Active {
			w.Fatalf("%s %v", state, err)
		}
		w.must(a.beat())
		if n := w.count("audit_entries", "action = 'device.resume' AND details LIKE '%Carol%' AND details LIKE '%"+shown.Digest+"%'"); n != 1 {
			w.Errorf("%d entries name who agreed to what", n)
		}
		if n := w.count("audit_entries", "action = 'approval.request'"); n != 1 {
			w.Errorf("%d entries of the request", n)
		}
		if _, err := w.Resume(w.Context(), w.by, "edge-1", "x"); !errors.Is(err, device.ErrAlready) {
			w.Errorf("of an active device: %v", err)
		}
		if _, err := w.Resync(w.Context(), w.by, "edge-1", "x"); !errors.Is(err, device.ErrNotHeld) {
			w.Errorf("resync of one that is not held: %v", err)
		}
		if _, err := w.Resume(w.Context(), w.by, "edge-1", ""); !errors.Is(err, flow.ErrReason) {
			w.Errorf("without a reason: %v", err)
		}
	})
}

// APR-06: what is agreed to is the end of this suspension, or this hold, and of no
// other.
func TestADeviceThatChangedVoidsWhatWasAskedOfIt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		for name, change := range map[string]func(id string){
			"revoked":                func(id string) { w.must(w.Revoke(w.Context(), w.by, id, "stolen")) },
			"active, by other means": func(id string) { w.exec("UPDATE devices SET state = 'active' WHERE device_id = ?", id) },
			"suspended anew":         func(id string) { w.exec("UPDATE devices SET state_at = state_at + 1 WHERE device_id = ?", id) },
			"suspended for another reason": func(id string) {
				w.exec("UPDATE devices SET state_reason = 'malware' WHERE device_id = ?", id)
			},
			"another enrollment": func(id string) {
				w.exec("UPDATE devices SET enrollment_id = 'other-' || device_id WHERE device_id = ?", id)
			},
		} {
			id := "edge-" + map[bool]string{true: "r", false: "x"}[name == "revoked"] + name[:1] + name[len(name)-1:]
			w.enrolled(id)
			w.must(w.Suspend(w.Context(), w.by, id, "lost"))
			_, err := w.Resume(w.Context(), w.by, id, "found")
			w.must(err)
			shown := w.asked(id)
			change(id)
			before := w.state(id)
			if _, err := w.vote(w.carol(), shown); !errors.Is(err, approval.ErrVoid) && !errors.Is(err, approval.ErrClosed) {
				w.Errorf("%s: %v", name, err)
			}
			if got := w.asked(id); got.State != "void" || w.state(id) != before {
				w.Errorf("%s: the request is %s, the device %s", name, got.State, w.state(id))
			}
		}
		if n := w.count("audit_entries", "action = 'approval.void'"); n != 5 {
			w.Errorf("%d entries", n)
		}
	})
}

// Suspending again is a protection of its own: what was asked before says nothing
// about it.
func TestAnotherHoldVoidsAResync(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		w.hold("edge-1")
		_, err := w.Resync(w.Context(), w.by, "edge-1", "restored")
		w.must(err)
		shown := w.asked("edge-1")
		w.must(w.Suspend(w.Context(), w.carol(), "edge-1", "wait"))
		if got := w.asked("edge-1"); got.State != "void" {
			w.Errorf("it is %s", got.State)
		}
		if _, err := w.vote(w.carol(), shown); !errors.Is(err, approval.ErrClosed) {
			w.Errorf("%v", err)
		}
		r, err := w.Resync(w.Context(), w.by, "edge-1", "restored")
		w.must(err)
		if r.ID == shown.ID {
			w.Error("the void one is found again")
		}
	})
}

// APR-01, APR-02: the tables themselves refuse what no program should do.
func TestTheDatabaseRefusesOwnVotesAndSecondOnes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		w.must(w.Suspend(w.Context(), w.by, "edge-1", "lost"))
		r, err := w.Resume(w.Context(), w.by, "edge-1", "found")
		w.must(err)
		insert := func(person, account, requester, excluded string, approve bool) error {
			return w.try(`INSERT INTO approval_votes (approval_id, person, account_id, requester, excluded, approve, reason, at) VALUES (?, ?, ?, ?, ?, ?, 'x', 1)`,
				r.ID, person, account, requester, excluded, approve)
		}
		for name, err := range map[string]error{
			"of the requester":                     insert("Alice", "a1", "Alice", "", true),
			"of the requester, to refuse":          insert("Alice", "a1", "Alice", "", false),
			"of the requester as if another asked": insert("Alice", "a1", "Bob", "", true),
			"of nobody":                            insert("", "c1", "Alice", "", true),
			"of an account that is not there":      insert("Eve", "e1", "Alice", "", true),
			"with somebody excluded who was not":   insert("Carol", "c1", "Alice", "Dave", true),
		} {
			if err == nil {
				w.Errorf("a vote %s is stored", name)
			}
		}
		w.must(insert("Carol", "c1", "Alice", "", true))
		for name, err := range map[string]error{
			"the same person by another account": insert("Carol", "d1", "Alice", "", true),
			"the same account as another person": insert("Dave", "c1", "Alice", "", true),
		} {
			if err == nil {
				w.Errorf("%s votes twice", name)
			}
		}
		_, in := w.waitingEnrollment("edge-2") // by a token that bob made
		if err := w.try(`INSERT INTO approval_votes (approval_id, person, account_id, requester, excluded, approve, reason, at) VALUES (?, 'Bob', 'b1', ?, 'Bob', ?, 'x', 1)`, in.ID, in.Requester, true); err == nil {
			w.Error("whoever made it possible to ask agrees")
		}
		w.must(w.try(`INSERT INTO approval_votes (approval_id, person, account_id, requester, excluded, approve, reason, at) VALUES (?, 'Bob', 'b1', ?, 'Bob', ?, 'x', 1)`, in.ID, in.Requester, false))
	})
}

func TestASensitiveDeviceTakesAsManyAsTheSettingSays(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.People = map[approval.Path]int{approval.Certificates: 2} })
		a := w.agent("edge-1")
		secret, _ := w.token(enroll.NewToken{Sensitive: true})
		w.must(a.ask(secret))
		in := w.asked(a.enrollmentID)
		if state, err := w.vote(w.carol(), in); err != nil || state != approval.Open {
			w.Fatalf("%s %v", state, err)
		}
		if r, err := a.poll(); err != nil || r.State != "pending" {
			w.Errorf("%+v %v", r, err)
		}
		if state, err := w.vote(w.dave(), in); err != nil || state != approval.Executed {
			w.Fatalf("%s %v", state, err)
		}
		_, other := w.waitingEnrollment("edge-2")
		if state, err := w.vote(w.carol(), other); err != nil || state != approval.Executed {
			w.Errorf("one that is not sensitive: %s %v", state, err)
		}
	})
}

// APR-09: an approval takes a fresh sign-in where that is asked for; a rejection
// protects, and does not.
func TestApprovingTakesAFreshSignIn(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.FreshSignIn = 10 * time.Minute })
		signedIn := func(ago time.Duration) authz.By {
			by := w.carol()
			by.FullAt = w.clock.Now().Add(-ago)
			return by
		}
		_, in := w.waitingEnrollment("edge-1")
		for name, by := range map[string]authz.By{
			"never": w.carol(), "a millisecond too long ago": signedIn(10*time.Minute + time.Millisecond), "in the future": signedIn(-time.Second),
		} {
			if _, err := w.vote(by, in); !errors.Is(err, approval.ErrFresh) {
				w.Errorf("%s: %v", name, err)
			}
		}
		if state, err := w.vote(signedIn(10*time.Minute), in); err != nil || state != approval.Executed {
			w.Errorf("%s %v", state, err)
		}
		_, other := w.waitingEnrollment("edge-2")
		if state, err := w.refuse(signedIn(time.Hour), other); err != nil || state != approval.Rejected {
			w.Errorf("a rejection: %s %v", state, err)
		}
	})
}

// try is exec whose error is what is asked for.
func (w *world) try(query string, args ...any) error {
	return w.d.Write(context.Background(), execute(query, args...))
}
