package view_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

func (w *window) request(ask approval.Ask) *approval.Request {
	w.Helper()
	var r *approval.Request
	w.write(func(ctx context.Context, tx db.Tx) (err error) {
		if ask.TTL == 0 {
			ask.TTL = time.Hour
		}
		if ask.Action == nil {
			ask.Action = []byte(`{"device_id":"edge-1"}`)
		}
		r, err = approval.Place(ctx, tx, ask)
		return err
	})
	return r
}

func reviewer(p authz.Permission) bool { return p == authz.EnrollmentReview }

// What a person is told of a request is what a vote of theirs would meet.
func TestAPersonIsToldWhatIsTheirsToDecideAndWhyNot(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *window) {
		w.write(func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO accounts (id, name, person, role, password_hash, created_at, created_by, password_at)
				VALUES ('a1', 'alice', 'alice', 'approver', '', 0, '', 0)`)
			return err
		})
		open := w.request(approval.Ask{Kind: approval.Enrollment, SubjectID: "open", Requester: "device:edge-1", Required: 2})
		own := w.request(approval.Ask{Kind: approval.Enrollment, SubjectID: "own", Requester: "alice"})
		made := w.request(approval.Ask{Kind: approval.Enrollment, SubjectID: "made", Requester: "device:edge-1", Excluded: "alice"})
		voted := w.request(approval.Ask{Kind: approval.Enrollment, SubjectID: "voted", Requester: "device:edge-1", Required: 2})
		foreign := w.request(approval.Ask{Kind: approval.Command, SubjectID: "foreign", Requester: "alice"})
		other := w.request(approval.Ask{Kind: approval.Command, SubjectID: "other", Requester: "bob"})
		late := w.request(approval.Ask{Kind: approval.Enrollment, SubjectID: "late", Requester: "device:edge-1", TTL: time.Nanosecond})
		w.write(func(ctx context.Context, tx db.Tx) error {
			_, err := approval.Cast(ctx, tx, voted.ID, approval.Vote{Person: "alice", AccountID: "a1", Approve: true, Digest: voted.Digest, Reason: "x"},
				func(context.Context, db.Tx, approval.Kind, []string) (map[string]string, error) {
					return map[string]string{"a1": "alice"}, nil
				})
			return err
		})
		who := approval.Voter{Person: "alice", AccountID: "a1", May: reviewer}
		for r, want := range map[*approval.Request]string{
			open: "", own: approval.ErrOwn.Error(), made: approval.ErrOwn.Error(), foreign: approval.ErrOwn.Error(), voted: approval.ErrVoted.Error(),
			other: approval.ErrNotVoter.Error(), late: approval.ErrExpired.Error(),
		} {
			v, err := view.ApprovalOf(w.Context(), w.d.Read(), r.ID, who, noon)
			if err != nil || v.WhyNot != want || v.MayVote != (want == "") {
				w.Errorf("%s: %+v %v, want %q", r.SubjectID, v, err, want)
			}
			if reject := r == open || r == made; v.MayReject != reject {
				w.Errorf("%s: may reject is %t", r.SubjectID, v.MayReject)
			}
			if string(v.Action) != string(r.Action) || approval.Digest(v.Action) != v.Digest || v.DeviceID != "edge-1" {
				w.Errorf("%s is shown as something else: %+v", r.SubjectID, v)
			}
		}
		subjects := func(f view.ApprovalFilter) string {
			w.Helper()
			var all []string
			for f.For, f.Limit = who, 2; ; {
				list, next, err := view.Approvals(w.Context(), w.d.Read(), f, noon)
				if err != nil {
					w.Fatal(err)
				}
				for _, v := range list {
					all = append(all, v.SubjectID)
				}
				if f.After = next; next == "" {
					slices.Sort(all)
					return strings.Join(all, " ")
				}
			}
		}
		for want, f := range map[string]view.ApprovalFilter{
			"foreign late made open other own voted": {}, "foreign made open other own voted": {Waiting: true}, "open": {Mine: true}, "own": {Subject: "own"}, "": {State: "executed"},
		} {
			if got := subjects(f); got != want {
				w.Errorf("%+v: %q, want %q", f, got, want)
			}
		}
		nobody := approval.Voter{Person: "eve", AccountID: "e1", May: func(authz.Permission) bool { return false }}
		if list, _, err := view.Approvals(w.Context(), w.d.Read(), view.ApprovalFilter{Mine: true, For: nobody}, noon); err != nil || len(list) != 0 {
			w.Errorf("%v %v", list, err)
		}
	})
}

// What is told of an action is bounded, whatever is in it.
func TestTheFieldsOfAnActionAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 5000)
	var b strings.Builder
	b.WriteString(`{"a":{"b":[1,"x",null,true]},"long":"` + long + `"`)
	for i := range 500 {
		fmt.Fprintf(&b, `,"m%d":%d`, i, i)
	}
	fields := view.Fields([]byte(b.String() + "}"))
	want := []view.ApprovalField{{Name: "a.b.1", Value: "1"}, {Name: "a.b.2", Value: "x"}, {Name: "a.b.4", Value: "true"}}
	if len(fields) != 101 || !slices.Equal(fields[:3], want) || fields[100].Name != "and more" || len(fields[3].Value) > 1010 {
		t.Errorf("%d fields: %v", len(fields), fields[:4])
	}
	for _, bad := range []string{"", "{", "null", "[", strings.Repeat("[", 20000)} {
		if got := view.Fields([]byte(bad)); len(got) != 0 {
			t.Errorf("%.10q: %v", bad, got)
		}
	}
}
