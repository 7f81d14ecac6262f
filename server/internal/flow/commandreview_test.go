package flow_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
)

func TestACommandThatIsReviewedIsSignedAsItWasShown(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.People = map[approval.Path]int{approval.Commands: 1} })
		a := w.enrolled("edge-1")
		bob, alias := person("bob", "b1", "Bob"), person("alice2", "a2", "Alice")
		id := w.sent("edge-1")
		digest := w.page(id).Digest
		a.mustBeat()
		if len(a.answer.Commands) != 0 || w.page(id).State != "review" {
			t.Fatal("it went out without a review")
		}
		yes := flow.Decision{Approve: true, Digest: digest, Reason: "fine"}
		for who, want := range map[string]error{"alice": approval.ErrOwn, "alice2": approval.ErrOwn} {
			by := w.by
			if who == "alice2" {
				by = alias
			}
			if _, err := w.ReviewCommand(t.Context(), by, id, yes); !errors.Is(err, want) {
				t.Errorf("%s approves what Alice asked for: %v", who, err)
			}
		}
		if _, err := w.ReviewCommand(t.Context(), bob, id, flow.Decision{Approve: true, Digest: strings.Repeat("0", 64), Reason: "fine"}); !errors.Is(err, approval.ErrDigest) {
			t.Errorf("another digest: %v", err)
		}
		statement := "UPDATE commands SET statement = ?, digest = ? WHERE id = ?"
		c, err := command.Get(t.Context(), w.d.Read(), id)
		w.must(err)
		w.exec(statement, []byte(`{}`), digest, id)
		if _, err := w.ReviewCommand(t.Context(), bob, id, yes); !errors.Is(err, approval.ErrDigest) {
			t.Errorf("the statement was changed after it was asked for: %v", err)
		}
		w.exec(statement, c.Statement, digest, id)
		if state, err := w.ReviewCommand(t.Context(), bob, id, yes); err != nil || state != command.Unsigned {
			t.Fatalf("%s %v", state, err)
		}
		if _, err := w.ReviewCommand(t.Context(), bob, id, yes); !errors.Is(err, approval.ErrClosed) {
			t.Errorf("again: %v", err)
		}
		w.round()
		a.mustBeat()
		if !slices.Equal(a.given(), []string{id}) {
			t.Error("it was not delivered after its review")
		}

		second := w.sent("edge-1")
		if state, err := w.ReviewCommand(t.Context(), bob, second, flow.Decision{Digest: w.page(second).Digest, Reason: "no"}); err != nil || state != command.Rejected {
			t.Fatalf("%s %v", state, err)
		}
		w.expect(second, "edge-1", "cancelled", "rejected")
		if c := w.page(second); c.State != "rejected" || c.EndedReason != "no" {
			t.Errorf("%+v", c)
		}
		third := w.sent("edge-1")
		w.clock.Add(time.Hour)
		if _, err := w.ReviewCommand(t.Context(), bob, third, flow.Decision{Approve: true, Digest: w.page(third).Digest, Reason: "late"}); !errors.Is(err, approval.ErrExpired) {
			t.Errorf("a review after its time: %v", err)
		}
		w.round()
		w.expect(third, "edge-1", "expired", "never-delivered")
		if w.page(third).State != "expired" || w.count("approvals", "subject_id = ? AND state = 'expired'", third) != 1 {
			t.Errorf("%+v", w.page(third))
		}
	})
}
