package flow_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// rules is what package approval's documentation says, written once more and without
// a database: one request, the accounts, and what becomes of it.
type rules struct {
	state     approval.State
	needs     int
	requester string // account
	left      time.Duration
	due       time.Duration // until it takes effect, of what is approved
	changed   bool          // its subject is not what it was
	votes     []ballot
	accounts  map[string]*voter
	done      int
}

type ballot struct {
	person, account string
	struck          bool
}

type voter struct {
	person string
	active bool
}

func (m *rules) waits() bool { return m.state == approval.Open || m.state == approval.Approved }

// count is how many approvals stand; those that do not are struck where it says so.
func (m *rules) count(strike bool) (n int) {
	for i := range m.votes {
		v := &m.votes[i]
		if a := m.accounts[v.account]; !a.active && strike {
			v.struck = true
		}
		if !v.struck && m.accounts[v.account].active {
			n++
		}
	}
	return n
}

func (m *rules) lapses() bool {
	return m.waits() && (!m.accounts[m.requester].active || m.changed || m.state == approval.Approved && m.count(false) < m.needs)
}

// vote says whether it is heard as done.
func (m *rules) vote(account string, approve bool, delay time.Duration) bool {
	v := m.accounts[account]
	switch {
	case m.lapses():
		m.state = approval.Void
		return false
	case m.state == approval.Approved && !approve && v.active: // anyone who may vote cancels
		m.state = approval.Rejected
		return true
	case m.state != approval.Open || m.left <= 0 || !v.active || v.person == m.accounts[m.requester].person,
		slices.ContainsFunc(m.votes, func(b ballot) bool { return b.person == v.person }):
		return false
	}
	if !approve {
		m.state = approval.Rejected
		return true
	}
	m.count(true)
	m.votes = append(m.votes, ballot{person: v.person, account: account})
	if m.count(false) >= m.needs {
		m.state, m.due = approval.Approved, delay
		if delay == 0 {
			m.state, m.done = approval.Executed, m.done+1
		}
	}
	return true
}

// round is what time does.
func (m *rules) round() {
	switch {
	case m.state == approval.Open && m.left <= 0:
		m.state = approval.Expired
	case m.state != approval.Approved || m.due > 0:
	case m.lapses():
		m.state = approval.Void
	default:
		m.state, m.done = approval.Executed, m.done+1
	}
}

// close is an account that is disabled as the server does it: what rests on it ends.
func (m *rules) close(account string) {
	m.accounts[account].active = false
	for i := range m.votes {
		if m.votes[i].account == account {
			m.votes[i].struck = true
		}
	}
	if account == m.requester && m.waits() {
		m.state = approval.Void
	}
}

// APR-11: over random schedules, what becomes of a request is what the rules say,
// step by step.
func TestWhatBecomesOfARequestIsWhatTheRulesSay(t *testing.T) {
	t.Parallel()
	followRules(t, 20, 20)
}

// followRules takes n schedules from the first on, enough that each end comes about.
func followRules(t *testing.T, first, n uint64) {
	t.Helper()
	for _, delay := range []time.Duration{0, time.Hour} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			dbtest.Both(t, func(t *testing.T, url string) {
				w := newWorld(t, url, delayed(delay))
				ends := map[approval.State]int{}
				for seed := range n {
					ends[w.schedule(first+seed, delay)]++
				}
				for _, s := range []approval.State{approval.Executed, approval.Rejected, approval.Void, approval.Expired} {
					if ends[s] == 0 {
						t.Errorf("no schedule ends %s: %v", s, ends)
					}
				}
			})
		})
	}
}

var humans = map[string]string{"a1": "Alice", "a2": "Alice", "b1": "Bob", "c1": "Carol", "d1": "Dave"}

func (w *world) schedule(seed uint64, delay time.Duration) approval.State {
	w.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	subject := w.recruit(fmt.Sprintf("eve-%d-%d", seed, int(delay.Hours())))
	ids := []string{"a1", "a2", "b1", "c1", "d1"}
	m := &rules{state: approval.Open, needs: 1 + rng.IntN(3), requester: "a1", left: standard.ReviewTTL, accounts: map[string]*voter{}}
	for _, id := range ids {
		m.accounts[id] = &voter{humans[id], true}
		w.exec("UPDATE accounts SET disabled_at = 0 WHERE id = ?", id)
	}
	shown := w.promote(w.by, subject.ID)
	w.exec("UPDATE approvals SET required = ? WHERE id = ?", m.needs, shown.ID)
	story := ""
	for step := range 20 {
		id := ids[rng.IntN(len(ids))]
		var what string
		switch n := rng.IntN(20); {
		case n < 11:
			approve := n > 0
			what = fmt.Sprintf("%s votes %t", id, approve)
			want := m.vote(id, approve, delay)
			_, err := w.Decide(context.Background(), person(id, id, humans[id]), shown.ID, flow.Decision{Approve: approve, Digest: shown.Digest, Reason: "x"})
			if (err == nil) != want {
				w.Fatalf("seed %d:%s; step %d, %s: %v, and the rules say %t", seed, story, step, what, err, want)
			}
		case n == 11:
			what = id + " is disabled"
			if m.accounts[id].active {
				m.close(id)
				yes := true
				w.alter(id, admin.Change{Disabled: &yes})
			}
		case n == 12:
			what = id + " is disabled, and nobody notices"
			m.accounts[id].active = false
			w.exec("UPDATE accounts SET disabled_at = 1 WHERE id = ?", id)
		case n < 15:
			what = id + " is back"
			m.accounts[id].active = true
			w.exec("UPDATE accounts SET disabled_at = 0 WHERE id = ?", id)
		case n < 17:
			what = "half of the time passes"
			m.left, m.due = m.left-standard.ReviewTTL/2, m.due-standard.ReviewTTL/2
			w.clock.Add(standard.ReviewTTL / 2)
		case n == 17 && rng.IntN(4) == 0:
			what = "the subject changes, and nobody notices"
			m.changed = m.state != approval.Executed
			w.exec("UPDATE accounts SET person = person || 'x' WHERE id = ?", subject.ID)
		default:
			what = "a round of upkeep"
			m.round()
			w.must(w.ExpireApprovals(w.Context()))
			w.must(w.ExecuteDue(w.Context()))
		}
		story += " " + what + ","
		r, err := approval.Get(w.Context(), w.d.Read(), shown.ID)
		w.must(err)
		done := w.count("audit_entries", "action = 'approval.execute' AND details LIKE ?", "%"+shown.ID+"%")
		if r.State != m.state || done != m.done || m.done > 1 {
			w.Fatalf("seed %d:%s it is %s and was carried out %d times; the rules say %s, %d times", seed, story, r.State, done, m.state, m.done)
		}
		if role := w.account(subject.ID).Role; (role == authz.Approver) != (m.done == 1) {
			w.Fatalf("seed %d:%s the account is %s", seed, story, role)
		}
	}
	w.checkShown(shown.ID, m)
	return m.state
}

// checkShown holds what people are told to what they may do.
func (w *world) checkShown(id string, m *rules) {
	w.Helper()
	for account, a := range m.accounts {
		v, err := view.ApprovalOf(w.Context(), w.d.Read(), id, approval.Voter{Person: a.person, AccountID: account, May: func(authz.Permission) bool { return a.active }}, w.clock.Now())
		w.must(err)
		after := *m
		after.votes, after.changed = slices.Clone(m.votes), false
		lapsed := m.lapses()
		if may := after.vote(account, true, 0); v.MayVote != may && !lapsed {
			w.Errorf("%s is told %t of %s, and the rules say %t (%s)", account, v.MayVote, m.state, may, v.WhyNot)
		}
	}
}
