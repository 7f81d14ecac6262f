package view_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// HBT-08: the list says of a verdict that ran out what the device's page says.
func TestAListShowsNoVerdictThatRanOut(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *window) {
		for _, id := range []string{"edge-1", "edge-2", "edge-3"} {
			w.add(device.Device{DeviceID: id}, nil) // until an hour from noon
		}
		for id, until := range map[string]db.Micros{"edge-2": db.At(noon.Add(2 * time.Hour)), "edge-3": 0} {
			w.write(func(ctx context.Context, tx db.Tx) error {
				_, err := tx.ExecContext(ctx, "UPDATE trust_verdicts SET holds_until = ? WHERE device_id = ?", until, id)
				return err
			})
		}
		for at, want := range map[time.Duration]string{
			0: "edge-1 trusted, edge-2 trusted, edge-3 trusted", time.Hour - time.Microsecond: "edge-1 trusted, edge-2 trusted, edge-3 trusted",
			time.Hour: "edge-1 untrusted, edge-2 trusted, edge-3 trusted", 2 * time.Hour: "edge-1 untrusted, edge-2 untrusted, edge-3 trusted",
		} {
			list := func(verdict string) (all string, n int) {
				w.Helper()
				rows, _, err := view.Devices(w.Context(), w.d.Read(), view.DeviceFilter{Verdict: verdict}, noon.Add(at))
				if err != nil {
					w.Fatal(err)
				}
				for i, r := range rows {
					if i > 0 {
						all += ", "
					}
					all += r.DeviceID + " " + r.Verdict
					if verdict != "" && r.Verdict != verdict {
						w.Errorf("after %v the filter %s finds %+v", at, verdict, r)
					}
				}
				return all, len(rows)
			}
			all, _ := list("")
			_, trusted := list("trusted")
			_, untrusted := list("untrusted")
			if all != want || trusted+untrusted != 3 {
				w.Errorf("after %v: %s (%d trusted, %d not), want %s", at, all, trusted, untrusted, want)
			}
		}
	})
}

// ENR-06: whoever enrolls chooses the enrollment's id, and not its place in the list.
func TestReviewsComeInTheOrderInWhichTheyWereAskedFor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *window) {
		var want []string
		for i := range 7 {
			// The highest ids first, and two of one moment.
			id := fmt.Sprintf("%08x-0000-7000-8000-000000000000", 0xffffffff-i)
			at := noon.Add(time.Duration(i) * time.Second)
			if i == 4 {
				at = at.Add(-time.Second)
			}
			w.write(func(ctx context.Context, tx db.Tx) error {
				return enroll.Insert(ctx, tx, &enroll.Enrollment{ID: id, TokenID: w.tokenID, DeviceID: "edge-1", State: protocol.EnrollPending, CSR: []byte{1}, Facts: "{}", CreatedAt: db.At(at), ExpiresAt: db.At(at.Add(time.Hour))})
			})
			want = append(want, id)
		}
		want[3], want[4] = want[4], want[3] // of one moment: by id
		for _, limit := range []int{1, 2, 3, 7} {
			var got []string
			for after := ""; ; {
				list, next, err := view.Reviews(w.Context(), w.d.Read(), "pending", limit, after)
				if err != nil || len(list) > limit {
					w.Fatalf("%d in a page of %d, %v", len(list), limit, err)
				}
				for _, r := range list {
					got = append(got, r.EnrollmentID)
				}
				if after = next; next == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				w.Errorf("in pages of %d: %v, want %v", limit, got, want)
			}
		}
		for _, marker := range []string{"x", ".", "1.", want[0], "." + want[0], "1." + want[0] + "0", "1 OR 1=1." + want[0], "99999999999999999999." + want[0]} {
			if _, _, err := view.Reviews(w.Context(), w.d.Read(), "", 2, marker); !errors.Is(err, view.ErrCursor) {
				w.Errorf("the marker %q: %v", marker, err)
			}
		}
	})
}
