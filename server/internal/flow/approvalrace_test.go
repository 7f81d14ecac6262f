package flow_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// barrier lets all of them begin at the same moment.
func barrier(all ...func()) {
	var ready, done sync.WaitGroup
	ready.Add(len(all))
	for _, f := range all {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			f()
		})
	}
	done.Wait()
}

// suspended asks that a suspended device is resumed, by alice, anew.
func (w *world) suspended(id string) *view.Approval {
	w.Helper()
	if w.state(id) == "active" {
		w.must(w.Suspend(w.Context(), w.by, id, "lost"))
	}
	r, err := w.Resume(w.Context(), w.by, id, "found")
	w.must(err)
	shown, err := view.ApprovalOf(w.Context(), w.d.Read(), r.ID, approval.Voter{}, w.clock.Now())
	w.must(err)
	return shown
}

// holds checks, of a request that many decided on at once, that what happened is
// what the rules allow.
func (w *world) holds(what string, a *view.Approval) string {
	w.Helper()
	r, err := approval.Get(w.Context(), w.d.Read(), a.ID)
	w.must(err)
	votes, err := approval.Votes(w.Context(), w.d.Read(), a.ID)
	w.must(err)
	persons := map[string]bool{}
	for _, v := range votes[a.ID] {
		if v.Person == r.Requester || persons[v.Person] {
			w.Fatalf("%s: %s voted on their own, or twice", what, v.Person)
		}
		if v.Approve && v.StruckAt == 0 {
			persons[v.Person] = true
		}
	}
	done := w.count("audit_entries", "action = 'device.resume' AND object_id = ? AND details LIKE ?", r.SubjectID, "%"+a.ID+"%")
	if want := map[bool]int{true: 1, false: 0}[r.State == approval.Executed]; done != want {
		w.Fatalf("%s: it is %s and was carried out %d times", what, r.State, done)
	}
	if r.State == approval.Executed && len(persons) < r.Required {
		w.Fatalf("%s: carried out with %d approvals of %d", what, len(persons), r.Required)
	}
	if r.State == approval.Approved {
		w.Fatalf("%s: approved and not carried out", what)
	}
	return string(r.State)
}

// races has people decide at once, on two nodes, round after round, while at times
// something that the decision rests on changes in the same moment.
func races(w, node *world, rounds int, seed uint64) (ends map[string]int) {
	w.Helper()
	rng := rand.New(rand.NewPCG(seed, seed))
	yes, no := true, false
	ends = map[string]int{}
	nodes := []*world{w, node}
	voters := []authz.By{person("bob", "b1", "Bob"), person("carol", "c1", "Carol"), person("dave", "d1", "Dave"), person("carol", "c1", "Carol"), person("alice2", "a2", "Alice")}
	for round := range rounds {
		id := fmt.Sprintf("edge-%d", round%4+1)
		a := w.suspended(id)
		var all []func()
		var crowd string
		for range 2 + rng.IntN(3) {
			who, at, approve := voters[rng.IntN(len(voters))], nodes[rng.IntN(2)], rng.IntN(8) > 0
			crowd += fmt.Sprintf(" %s:%t", who.ID, approve)
			all = append(all, func() {
				_, _ = at.Decide(context.Background(), who, a.ID, flow.Decision{Approve: approve, Digest: a.Digest, Reason: "race"})
			})
		}
		twist := rng.IntN(8)
		switch twist {
		case 0: // an approver is disabled
			crowd += " carol is disabled"
			all = append(all, func() { node.alter("c1", admin.Change{Disabled: &yes}) })
		case 1: // whoever asked is
			crowd += " alice is disabled"
			all = append(all, func() { node.alter("a1", admin.Change{Disabled: &yes}) })
		case 2: // the target changes
			crowd += " the device is suspended"
			all = append(all, func() { _ = node.Suspend(context.Background(), w.maker, id, "again") })
		}
		barrier(all...)
		what := fmt.Sprintf("seed %d, round %d,%s", seed, round, crowd)
		end := w.holds(what, a)
		ends[end]++
		if device := w.state(id); end != "executed" && device == "active" || end == "executed" && device != "active" && twist != 2 {
			w.Fatalf("%s: the request is %s, the device %s", what, end, device)
		}
		switch twist {
		case 0:
			w.alter("c1", admin.Change{Disabled: &no})
		case 1:
			w.alter("a1", admin.Change{Disabled: &no})
		}
		if end == "open" { // for the next round
			if _, err := w.refuse(w.dave(), a); err != nil {
				if _, err := w.refuse(w.maker, a); err != nil {
					w.must(w.try("UPDATE approvals SET state = 'void' WHERE id = ?", a.ID))
				}
			}
		}
	}
	return ends
}

// raceNodes are two nodes over one database, with devices, where a resumption takes
// so many people.
func raceNodes(t *testing.T, people int) (w, node *world) {
	t.Helper()
	settings := func(s *flow.Settings) { s.People = map[approval.Path]int{approval.Certificates: people} }
	w = newWorld(t, dbtest.PostgresURL(t), settings)
	node = w.sibling()
	node.Flow = node.flow(flow.Settings{People: map[approval.Path]int{approval.Certificates: people}, ReviewTTL: standard.ReviewTTL})
	node.people.OnRights(node.Flow)
	for i := range 4 {
		w.enrolled(fmt.Sprintf("edge-%d", i+1))
	}
	return w, node
}

// APR-02, APR-11: whoever decides at once, on whichever node, an act is carried out
// once at most, and never by fewer people than it needs.
func TestPeopleWhoDecideAtOnceDecideOnce(t *testing.T) {
	t.Parallel()
	for people := 1; people <= 2; people++ {
		t.Run(fmt.Sprint(people), func(t *testing.T) {
			t.Parallel()
			w, node := raceNodes(t, people)
			if ends := races(w, node, 25, uint64(people)); ends["executed"] == 0 {
				t.Errorf("the races ended in %v", ends)
			}
		})
	}
}

// One of two who approve at once on two nodes does it; the other hears that it is
// decided.
func TestOneOfTwoWhoApproveAtOnceCarriesItOut(t *testing.T) {
	t.Parallel()
	w, node := raceNodes(t, 1)
	for range 5 {
		a := w.suspended("edge-1")
		var errs [2]error
		barrier(func() { _, errs[0] = w.vote(w.carol(), a) }, func() { _, errs[1] = node.vote(w.dave(), a) })
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("%v, %v", errs[0], errs[1])
		}
		if err := errors.Join(errs[0], errs[1]); !errors.Is(err, approval.ErrClosed) {
			t.Errorf("%v", err)
		}
		w.holds("two at once", a)
	}
}

// A number that is raised in the moment of a vote is met, or was not in force yet.
func TestANumberRaisedDuringAVoteIsMetOrCameAfter(t *testing.T) {
	t.Parallel()
	w, node := raceNodes(t, 1)
	for range 5 {
		a := w.suspended("edge-1")
		barrier(func() { _, _ = w.vote(w.carol(), a) }, func() { w.must(node.raise(2)) })
		w.holds("a number is raised", a)
		if w.asked("edge-1").State == "open" {
			if w.asked("edge-1").Needs != 2 {
				t.Error("what is open needs fewer than the number in force")
			}
			if state, err := node.vote(w.dave(), a); err != nil || state != approval.Executed {
				t.Errorf("%s %v", state, err)
			}
		}
		w.exec("DELETE FROM approval_quorums")
	}
}

// raise brings a higher number into force, as a node with that setting does.
func (w *world) raise(people int) error {
	f := w.flow(flow.Settings{People: map[approval.Path]int{approval.Certificates: people, approval.Identities: 1}})
	return f.AdoptQuorums(context.Background())
}
