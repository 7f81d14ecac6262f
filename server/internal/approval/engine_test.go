package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// desk is an engine on a database, with four accounts of three persons.
type desk struct {
	*testing.T
	d *db.DB
}

func onBoth(t *testing.T, f func(w *desk)) {
	t.Helper()
	dbtest.Both(t, func(t *testing.T, url string) {
		d, err := db.Open(t.Context(), db.Options{URL: url, Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		w := &desk{t, d}
		if _, err := d.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.write(func(ctx context.Context, tx db.Tx) error {
			for _, account := range []string{"alice-1", "alice-2", "bob-1", "carol-1"} {
				if _, err := tx.ExecContext(ctx, `INSERT INTO accounts (id, name, person, role, password_hash, created_at, created_by, password_at)
					VALUES (?, ?, ?, 'admin', '', 0, '', 0)`, account, account, personOf(account)); err != nil {
					return err
				}
			}
			return nil
		})
		f(w)
	})
}

func (w *desk) write(f func(ctx context.Context, tx db.Tx) error) {
	w.Helper()
	if err := w.d.Write(w.Context(), f); err != nil {
		w.Fatal(err)
	}
}

func (w *desk) place(required int, requester string) *Request {
	w.Helper()
	var r *Request
	w.write(func(ctx context.Context, tx db.Tx) (err error) {
		r, err = Place(ctx, tx, Ask{Kind: Enrollment, SubjectID: "e1", Action: []byte("{}"), Required: required, Requester: requester, TTL: time.Hour})
		return err
	})
	return r
}

func personOf(account string) string { person, _, _ := strings.Cut(account, "-"); return person }

// everyone may vote.
func everyone(_ context.Context, _ db.Tx, _ Kind, accounts []string) (map[string]string, error) {
	persons := map[string]string{}
	for _, a := range accounts {
		persons[a] = personOf(a)
	}
	return persons, nil
}

func vote(r *Request, account string, approve bool) Vote {
	return Vote{Person: personOf(account), AccountID: account, Approve: approve, Digest: r.Digest, Reason: "x"}
}

func (w *desk) cast(r *Request, v Vote) (state State, err error) {
	err = w.d.Write(context.Background(), func(ctx context.Context, tx db.Tx) error {
		after, err := Cast(ctx, tx, r.ID, v, everyone)
		if err == nil {
			state = after.State
		}
		return err
	})
	return state, err
}

func (w *desk) state(r *Request) State {
	w.Helper()
	got, err := Get(w.Context(), w.d.Read(), r.ID)
	if err != nil {
		w.Fatal(err)
	}
	return got.State
}

func TestPersonsCountAndNotAccounts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *desk) {
		r := w.place(2, "carol")
		if state, err := w.cast(r, vote(r, "alice-1", true)); err != nil || state != Open {
			w.Fatalf("the first of two: %s, %v", state, err)
		}
		for account, want := range map[string]error{"alice-1": ErrVoted, "alice-2": ErrVoted, "carol-1": ErrOwn} {
			if _, err := w.cast(r, vote(r, account, true)); !errors.Is(err, want) {
				w.Errorf("%s: %v, want %v", account, err, want)
			}
		}
		if w.state(r) != Open {
			w.Fatal("it went on without a second person")
		}
		if state, err := w.cast(r, vote(r, "bob-1", true)); err != nil || state != Approved || w.state(r) != Approved {
			w.Fatalf("the second: %s, %v", state, err)
		}
		other := w.place(1, "carol")
		if state, err := w.cast(other, vote(other, "bob-1", true)); err != nil || state != Approved {
			w.Fatalf("another: %s, %v", state, err)
		}
		who, err := Approvers(w.Context(), w.d.Read(), []string{r.ID, other.ID, "unknown"})
		if err != nil || len(who) != 2 || who[r.ID] != "alice, bob" || who[other.ID] != "bob" {
			w.Errorf("approved by %q, %v", who, err)
		}
	})
}

func TestARejectionIsFinal(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *desk) {
		r := w.place(2, "carol")
		_, _ = w.cast(r, vote(r, "alice-1", true))
		if state, err := w.cast(r, vote(r, "bob-1", false)); err != nil || state != Rejected {
			w.Fatalf("%s, %v", state, err)
		}
		if who, err := Approvers(w.Context(), w.d.Read(), []string{r.ID}); err != nil || who[r.ID] != "alice" {
			w.Errorf("whoever rejected is named as approver: %q, %v", who, err)
		}
		err := w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { _, err := Execute(ctx, tx, r.ID, everyone); return err })
		if !errors.Is(err, db.ErrConflict) {
			w.Errorf("executed all the same: %v", err)
		}
	})
}

// APR-04
func TestAnApprovedRequestIsExecutedOnceAndNothingElseIs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *desk) {
		execute := func(r *Request) error {
			return w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { _, err := Execute(ctx, tx, r.ID, everyone); return err })
		}
		r := w.place(0, "carol") // fewer than one person is one
		if err := execute(r); !errors.Is(err, db.ErrConflict) {
			w.Errorf("while it is open: %v", err)
		}
		if state, err := w.cast(r, vote(r, "alice-1", true)); err != nil || state != Approved {
			w.Fatalf("%s, %v", state, err)
		}
		if err := execute(r); err != nil {
			w.Fatal(err)
		}
		if err := execute(r); !errors.Is(err, db.ErrConflict) {
			w.Errorf("a second time: %v", err)
		}
		w.write(func(ctx context.Context, tx db.Tx) error { return VoidAll(ctx, tx) })
		if w.state(r) != Executed {
			w.Error("a restore unmade what was executed")
		}
		if _, err := w.cast(&Request{ID: "nothing"}, Vote{}); !errors.Is(err, ErrUnknown) {
			w.Errorf("no request: %v", err)
		}
	})
}

// BKP-02
func TestARestoreVoidsWhatWaitsAndWhatWasApproved(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *desk) {
		waits, approved, closed := w.place(1, "carol"), w.place(1, "carol"), w.place(1, "carol")
		_, _ = w.cast(approved, vote(approved, "alice-1", true))
		w.write(func(ctx context.Context, tx db.Tx) error { return Close(ctx, tx, closed.ID, Expired) })
		w.write(func(ctx context.Context, tx db.Tx) error { return VoidAll(ctx, tx) })
		for r, want := range map[*Request]State{waits: Void, approved: Void, closed: Expired} {
			if got := w.state(r); got != want {
				w.Errorf("got %s, want %s", got, want)
			}
		}
		if _, err := w.cast(waits, vote(waits, "bob-1", true)); !errors.Is(err, ErrClosed) {
			w.Errorf("a vote of after: %v", err)
		}
	})
}

// APR-02: one person by two accounts, at the same moment.
func TestAPersonWhoVotesTwiceAtOnceCountsOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *desk) {
		for range 10 {
			r := w.place(2, "carol")
			var both sync.WaitGroup
			errs := make([]error, 2)
			for i, account := range []string{"alice-1", "alice-2"} {
				both.Go(func() { _, errs[i] = w.cast(r, vote(r, account, true)) })
			}
			both.Wait()
			if (errs[0] == nil) == (errs[1] == nil) || w.state(r) != Open {
				w.Fatalf("%v, %v: %s", errs[0], errs[1], w.state(r))
			}
		}
	})
}

// APR-11: two persons at the same moment, so that neither vote sees the other
// when it is cast, still count as two.
func TestTwoVotesThatDoNotSeeEachOtherCountAsTwo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *desk) {
		r := w.place(2, "carol")
		var voted, both sync.WaitGroup
		voted.Add(2)
		for _, account := range []string{"alice-1", "bob-1"} {
			both.Go(func() {
				first := true
				err := w.d.Write(context.Background(), func(ctx context.Context, tx db.Tx) error {
					_, err := Cast(ctx, tx, r.ID, vote(r, account, true), everyone)
					if first {
						first = false
						voted.Done()
						if tx.On == db.PostgreSQL { // SQLite has one writer: nothing to wait for
							voted.Wait()
						}
					}
					return err
				})
				if err != nil {
					w.Error(err)
				}
			})
		}
		both.Wait()
		if got := w.state(r); got != Approved {
			w.Errorf("after both it is %s", got)
		}
	})
}

// APR-01, APR-02: the invariant over every order of votes.
func TestNothingIsApprovedByFewerPersonsThanItNeeds(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *desk) {
		accounts := []string{"alice-1", "alice-2", "bob-1", "carol-1"}
		for n := range 24 {
			left := append([]string{}, accounts...)
			var order []string
			for k, size := n, len(left); size > 0; size-- {
				i := k % size
				order, left = append(order, left[i]), append(left[:i], left[i+1:]...)
				k /= size
			}
			r := w.place(2, "carol")
			persons := map[string]bool{}
			for _, account := range order {
				v := vote(r, account, true)
				state, err := w.cast(r, v)
				if err == nil {
					persons[v.Person] = true
				}
				if err == nil && (state == Approved) != (len(persons) >= 2) || persons["carol"] {
					w.Fatal(fmt.Sprint(order, " at ", account, ": ", state, " by ", persons))
				}
			}
			if w.state(r) != Approved || len(persons) != 2 {
				w.Fatalf("%v ends %s by %v", order, w.state(r), persons)
			}
		}
	})
}
