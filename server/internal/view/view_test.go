package view_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// window is a fleet to look at.
type window struct {
	*testing.T
	d       *db.DB
	tokenID string
}

func onBoth(t *testing.T, f func(w *window)) {
	t.Helper()
	dbtest.Both(t, func(t *testing.T, url string) {
		d, err := db.Open(t.Context(), db.Options{URL: url, Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		if _, err := d.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := &window{T: t, d: d, tokenID: db.NewID(noon)}
		w.write(func(ctx context.Context, tx db.Tx) error {
			_, err := tx.NewInsert().Model(&enroll.Token{ID: w.tokenID, Hash: []byte{1}, MaxUses: 1, Labels: "{}"}).Exec(ctx)
			return err
		})
		f(w)
	})
}

func (w *window) write(f func(ctx context.Context, tx db.Tx) error) {
	w.Helper()
	if err := w.d.Write(w.Context(), f); err != nil {
		w.Fatal(err)
	}
}

// add lets a device in, trusted for an hour.
func (w *window) add(d device.Device, labels map[string]string) {
	w.Helper()
	w.write(func(ctx context.Context, tx db.Tx) error {
		d.EnrollmentID = tx.NewID()
		e := &enroll.Enrollment{ID: d.EnrollmentID, TokenID: w.tokenID, DeviceID: d.DeviceID, State: protocol.EnrollIssued, CSR: []byte{1}, Facts: "{}", Source: "192.0.2.9", CreatedAt: tx.At()}
		if err := enroll.Insert(ctx, tx, e); err != nil {
			return err
		}
		if err := device.Add(ctx, tx, &d, labels, "f-"+d.DeviceID, "e"); err != nil {
			return err
		}
		return trust.Put(ctx, tx, trust.Decided{DeviceID: d.DeviceID, Decision: trust.Decision{Verdict: trust.Trusted, Reasons: []trust.Reason{{Code: "reviewed", Weight: trust.For}}, HoldsUntil: noon.Add(time.Hour)}})
	})
}

func (w *window) ids(f view.DeviceFilter) []string {
	w.Helper()
	rows, _, err := view.Devices(w.Context(), w.d.Read(), f, noon)
	if err != nil {
		w.Fatal(err)
	}
	ids := []string{}
	for _, r := range rows {
		ids = append(ids, r.DeviceID)
	}
	return ids
}

// RBA-07
func TestAFilterMeansItsTextAndNoPattern(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *window) {
		w.add(device.Device{DeviceID: "a-percent", Name: "100% sure"}, nil)
		w.add(device.Device{DeviceID: "b_line", Name: "under_score", Owner: "Ops Team"}, map[string]string{"site": "b", "tier": "%"})
		w.add(device.Device{DeviceID: "c-back", Name: `back\slash`}, map[string]string{"site": "c"})
		w.add(device.Device{DeviceID: "d-plain", Name: "under-score", Owner: "it's"}, map[string]string{"site": "b", "note": "a=b"})
		all := []string{"a-percent", "b_line", "c-back", "d-plain"}
		for name, c := range map[string]struct {
			f    view.DeviceFilter
			want []string
		}{
			"nothing":                    {view.DeviceFilter{}, all},
			"a percent sign":             {view.DeviceFilter{Text: "%"}, all[:1]},
			"a percent sign inside":      {view.DeviceFilter{Text: "1%s"}, nil},
			"an underscore":              {view.DeviceFilter{Text: "_"}, all[1:2]},
			"an underscore inside":       {view.DeviceFilter{Text: "under_score"}, all[1:2]},
			"a backslash":                {view.DeviceFilter{Text: `\`}, all[2:3]},
			"a backslash before a sign":  {view.DeviceFilter{Text: `\%`}, nil},
			"a quote":                    {view.DeviceFilter{Text: "'"}, all[3:]},
			"SQL":                        {view.DeviceFilter{Text: "' OR '1'='1"}, nil},
			"a placeholder":              {view.DeviceFilter{Text: "?0"}, nil},
			"part of an id":              {view.DeviceFilter{Text: "-PLAIN"}, all[3:]},
			"a name in another case":     {view.DeviceFilter{Text: "UNDER"}, []string{"b_line", "d-plain"}},
			"an owner":                   {view.DeviceFilter{Text: "ops t"}, all[1:2]},
			"a label":                    {view.DeviceFilter{Label: "site=b"}, []string{"b_line", "d-plain"}},
			"a label without a value":    {view.DeviceFilter{Label: "site="}, nil},
			"a label whose value is =":   {view.DeviceFilter{Label: "note=a=b"}, all[3:]},
			"a label is no pattern":      {view.DeviceFilter{Label: "site=%"}, nil},
			"a label that holds a sign":  {view.DeviceFilter{Label: "tier=%"}, all[1:2]},
			"a state":                    {view.DeviceFilter{State: "active"}, all},
			"a state that none has":      {view.DeviceFilter{State: "revoked"}, nil},
			"a verdict":                  {view.DeviceFilter{Verdict: "trusted"}, all},
			"a verdict that none has":    {view.DeviceFilter{Verdict: "untrusted"}, nil},
			"text, label and verdict":    {view.DeviceFilter{Text: "under", Label: "site=b", Verdict: "trusted", After: "b_line"}, all[3:]},
			"after one that is not here": {view.DeviceFilter{After: "c"}, all[2:]},
		} {
			if got := w.ids(c.f); !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
				w.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		for _, label := range []string{"site", "%"} {
			if _, _, err := view.Devices(w.Context(), w.d.Read(), view.DeviceFilter{Label: label}, noon); !errors.Is(err, view.ErrLabel) {
				w.Errorf("label %q: %v", label, err)
			}
		}
	})
}

func TestDevicesComeInPagesOfAtMostFiveHundred(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *window) {
		for i := range 7 {
			w.add(device.Device{DeviceID: fmt.Sprint("edge-", i)}, nil)
		}
		var got []string
		f := view.DeviceFilter{Limit: 3}
		pages := 0
		for {
			rows, next, err := view.Devices(w.Context(), w.d.Read(), f, noon)
			if err != nil {
				w.Fatal(err)
			}
			pages++
			for _, r := range rows {
				got = append(got, r.DeviceID)
			}
			if f.After = next; next == "" {
				break
			}
		}
		if pages != 3 || !slices.IsSorted(got) || len(slices.Compact(got)) != 7 {
			w.Errorf("%d pages: %v", pages, got)
		}
		for _, limit := range []int{0, -1, 1 << 40} {
			if got := w.ids(view.DeviceFilter{Limit: limit}); len(got) != 7 {
				w.Errorf("limit %d: %d devices", limit, len(got))
			}
		}
	})
}

func TestAVerdictThatRanOutIsNotShownAsItWas(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *window) {
		w.add(device.Device{DeviceID: "edge-1", Name: "One"}, map[string]string{"site": "b"})
		if _, err := view.DevicePage(w.Context(), w.d.Read(), "edge-2", noon); !errors.Is(err, device.ErrUnknown) {
			w.Errorf("no such device: %v", err)
		}
		for at, want := range map[time.Duration]trust.Verdict{time.Hour - 1: trust.Trusted, time.Hour: trust.Untrusted, 2 * time.Hour: trust.Untrusted} {
			page, err := view.DevicePage(w.Context(), w.d.Read(), "edge-1", noon.Add(at))
			if err != nil {
				w.Fatal(err)
			}
			if page.Trust.Verdict != want || (page.Trust.Reasons[0].Code == "lapsed") != (want == trust.Untrusted) {
				w.Errorf("after %v: %+v", at, page.Trust)
			}
			if page.Source != "192.0.2.9" || page.Labels["site"] != "b" || page.Facts == nil {
				w.Errorf("the page is %+v", page)
			}
		}
	})
}

// ENR-06: a reviewer is shown the very bytes that are approved.
func TestAReviewShowsWhatIsApproved(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *window) {
		place := func(deviceID string) string {
			w.Helper()
			id := ""
			w.write(func(ctx context.Context, tx db.Tx) error {
				id = tx.NewID()
				action, err := enroll.Action{EnrollmentID: id, DeviceID: deviceID, CSRDigest: "c", KeyCode: "CODE", Name: "Name", Owner: "Owner", Labels: map[string]string{"site": "b"}, Sensitive: true}.Bytes()
				if err != nil {
					return err
				}
				ask, err := approval.Place(ctx, tx, approval.Ask{Kind: approval.Enrollment, SubjectID: id, Action: action, TTL: time.Hour})
				if err != nil {
					return err
				}
				return enroll.Insert(ctx, tx, &enroll.Enrollment{ID: id, TokenID: w.tokenID, DeviceID: deviceID, State: protocol.EnrollPending, CSR: []byte{1}, KeyCode: "CODE", Facts: `{"os":"linux"}`, ApprovalID: ask.ID, CreatedAt: tx.At(), ExpiresAt: tx.At() + 1})
			})
			return id
		}
		first, second := place("edge-1"), place("edge-1")
		other := place("edge-2")
		r, err := view.ReviewOf(w.Context(), w.d.Read(), first)
		if err != nil {
			w.Fatal(err)
		}
		if r.DeviceID != "edge-1" || r.Name != "Name" || r.Owner != "Owner" || r.Labels["site"] != "b" || !r.Sensitive || r.KeyCode != "CODE" || len(r.Digest) != 64 || r.Facts["os"] != "linux" || r.Rivals != 1 {
			w.Errorf("shown %+v", r)
		}
		if _, err := view.ReviewOf(w.Context(), w.d.Read(), "nothing"); !errors.Is(err, enroll.ErrUnknown) {
			w.Errorf("no such enrollment: %v", err)
		}
		// Someone who may write to the database changes the row beside the action.
		w.write(func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE enrollments SET device_id = 'edge-9', key_code = 'FAKE' WHERE id = ?", first)
			return err
		})
		if r, err := view.ReviewOf(w.Context(), w.d.Read(), first); err != nil || r.DeviceID != "edge-1" || r.KeyCode != "CODE" {
			w.Errorf("the changed row is shown: %+v, %v", r, err)
		}
		// Or the action itself: then nothing of it is shown, and its digest approves nothing.
		w.write(func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE approvals SET action = ? WHERE subject_id = ?", []byte(`{"name":"Trust me"}`), second)
			return err
		})
		if r, err := view.ReviewOf(w.Context(), w.d.Read(), second); err != nil || r.Name != "" || r.Owner != "" {
			w.Errorf("the changed action is shown: %+v, %v", r, err)
		}
		seen := []string{}
		after := ""
		for {
			list, next, err := view.Reviews(w.Context(), w.d.Read(), "pending", 2, after)
			if err != nil {
				w.Fatal(err)
			}
			for _, r := range list {
				seen = append(seen, r.EnrollmentID)
			}
			if after = next; next == "" {
				break
			}
		}
		slices.Sort(seen)
		want := []string{first, second, other}
		slices.Sort(want)
		if !slices.Equal(seen, want) {
			w.Errorf("pages show %v, want %v", strings.Join(seen, " "), want)
		}
		if list, _, err := view.Reviews(w.Context(), w.d.Read(), "' OR 1=1 --", 2, ""); err != nil || len(list) != 0 {
			w.Errorf("a state that is SQL: %v, %v", list, err)
		}
	})
}
