package flow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// The persons of a world. bob makes the tokens, alice and alice2 are one person.
func (w *world) carol() authz.By { return person("carol", "c1", "Carol") }
func (w *world) dave() authz.By  { return person("dave", "d1", "Dave") }

func everything(authz.Permission) bool { return true }

// asked is the newest request about a subject.
func (w *world) asked(subject string) *view.Approval {
	w.Helper()
	list, _, err := view.Approvals(w.Context(), w.d.Read(), view.ApprovalFilter{Subject: subject, For: approval.Voter{Person: "Carol", AccountID: "c1", May: everything}}, w.clock.Now())
	w.must(err)
	if len(list) == 0 {
		w.Fatalf("nothing is asked about %s", subject)
	}
	return &list[len(list)-1]
}

// vote and refuse decide on a request as it is shown.
func (w *world) vote(by authz.By, a *view.Approval) (approval.State, error) {
	return w.Decide(context.Background(), by, a.ID, flow.Decision{Approve: true, Digest: a.Digest, Reason: "fine"})
}

func (w *world) refuse(by authz.By, a *view.Approval) (approval.State, error) {
	return w.Decide(context.Background(), by, a.ID, flow.Decision{Digest: a.Digest, Reason: "no"})
}

// give has alice ask for a device back and carol agree.
func (w *world) give(ask func(context.Context, authz.By, string, string) (*approval.Request, error), device, reason string) error {
	r, err := ask(context.Background(), w.by, device, reason)
	if err != nil {
		return err
	}
	_, err = w.Decide(context.Background(), w.carol(), r.ID, flow.Decision{Approve: true, Digest: r.Digest, Reason: reason})
	return err
}

// waiting are devices of which each waits for a review.
func (w *world) waitingEnrollment(id string) (*agent, *view.Approval) {
	w.Helper()
	a := w.agent(id)
	secret, _ := w.token(enroll.NewToken{})
	w.must(a.ask(secret))
	return a, w.asked(a.enrollmentID)
}

func TestOneDoorDecidesOnEveryKind(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) {
			s.People, s.ReviewRotations = map[approval.Path]int{approval.Commands: 1}, true
		})
		a, in := w.waitingEnrollment("edge-1")
		if in.DeviceID != "edge-1" || in.Kind != "enrollment" || !in.MayVote || in.Needs != 1 {
			w.Errorf("%+v", in)
		}
		if state, err := w.vote(w.carol(), in); err != nil || state != approval.Executed {
			w.Fatalf("%s %v", state, err)
		}
		_, err := a.poll()
		w.must(err)
		if _, err := w.vote(w.dave(), in); err == nil {
			w.Error("a second time")
		}
		id := w.ask(ping("edge-1"))
		if state, err := w.refuse(w.carol(), w.asked(id)); err != nil || state != approval.Rejected || w.page(id).State != "rejected" {
			w.Errorf("%s %v", state, err)
		}
		if n := w.count("audit_entries", "action = 'approval.vote'"); n != 2 {
			w.Errorf("%d votes in the log", n)
		}
		if _, err := w.Decide(w.Context(), w.by, db.NewID(w.clock.Now()), flow.Decision{Approve: true, Reason: "x"}); !errors.Is(err, approval.ErrUnknown) {
			w.Errorf("nothing: %v", err)
		}
		if _, err := w.Decide(w.Context(), authz.By{}, db.NewID(w.clock.Now()), flow.Decision{Approve: true, Reason: "x"}); !errors.Is(err, authz.ErrDenied) {
			w.Errorf("nobody: %v", err)
		}
	})
}

// What was let in can be refused through the door until its certificate is fetched.
func TestWhatWasApprovedIsTakenBackThroughTheDoor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, in := w.waitingEnrollment("edge-1")
		_, err := w.vote(w.carol(), in)
		w.must(err)
		w.exec("UPDATE accounts SET role = 'viewer', grants = '[]' WHERE id = 'd1'")
		if _, err := w.refuse(w.dave(), in); !errors.Is(err, authz.ErrDenied) {
			w.Errorf("by one who may not: %v", err)
		}
		if state, err := w.refuse(w.carol(), in); err != nil || state != approval.Rejected {
			w.Fatalf("%s %v", state, err)
		}
		if r, err := a.poll(); err != nil || r.State != "rejected" {
			w.Errorf("%+v %v", r, err)
		}
	})
}

// APR-07: what voters are is read where their votes are counted.
func TestOnlyLiveAccountsWithTheRightVote(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		_, in := w.waitingEnrollment("edge-1")
		for what, change := range map[string]string{
			"disabled":          "UPDATE accounts SET disabled_at = 1 WHERE id = 'c1'",
			"without the right": "UPDATE accounts SET role = 'viewer', grants = '[]' WHERE id = 'c1'",
			"another person's":  "UPDATE accounts SET person = 'Bob' WHERE id = 'c1'",
		} {
			w.exec(change)
			if _, err := w.vote(w.carol(), in); !errors.Is(err, approval.ErrNotVoter) {
				w.Errorf("an account that is %s: %v", what, err)
			}
			w.exec("UPDATE accounts SET disabled_at = 0, role = 'approver', person = 'Carol' WHERE id = 'c1'")
		}
		for _, by := range []authz.By{authz.System("jobs"), authz.Host("test")} {
			if _, err := w.vote(by, in); !errors.Is(err, authz.ErrDenied) {
				w.Errorf("%s decides: %v", by.Kind, err)
			}
		}
		if state, err := w.vote(w.carol(), in); err != nil || state != approval.Executed {
			w.Errorf("%s %v", state, err)
		}
	})
}

// APR-04: the moment is that of the transaction that decides.
func TestADecisionIsInTimeOrNotToTheMillisecond(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		for name, c := range map[string]struct {
			at   time.Duration
			want error
		}{
			"before": {-time.Millisecond, nil}, "at": {0, approval.ErrExpired}, "after": {time.Millisecond, approval.ErrExpired},
		} {
			_, in := w.waitingEnrollment("edge-" + name)
			w.clock.Add(standard.ReviewTTL + c.at)
			if _, err := w.vote(w.carol(), in); !errors.Is(err, c.want) {
				w.Errorf("%s the end: %v", name, err)
			}
		}
	})
}
