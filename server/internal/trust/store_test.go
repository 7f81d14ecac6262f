package trust

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

func TestAVerdictIsStoredOncePerDeviceAndFoundWhenItLapses(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d, err := db.Open(t.Context(), db.Options{URL: url, Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := d.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		put := func(id string, decision Decision) {
			t.Helper()
			if err := d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
				if _, err := tx.ExecContext(ctx, `INSERT INTO devices (device_id, enrollment_id, state, state_at, name, owner, sensitive, key_code, enrolled_at)
					VALUES (?, ?, 'active', 0, '', '', ?, '', 0) ON CONFLICT (device_id) DO NOTHING`, id, id, false); err != nil {
					return err
				}
				return Put(ctx, tx, Decided{id, decision})
			}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Get(t.Context(), d.Read(), "edge-1"); !errors.Is(err, ErrUnknown) {
			t.Fatalf("before: %v", err)
		}
		put("edge-1", Decision{Verdict: Trusted, Reasons: []Reason{{Code: "x", Weight: For}}, HoldsUntil: noon.Add(time.Hour)})
		second := Decision{Verdict: Untrusted, Reasons: []Reason{{Code: "revoked", Text: "it is revoked: ö", Advice: "a", Weight: Against}}}
		put("edge-1", second)
		got, err := Get(t.Context(), d.Read(), "edge-1")
		if err != nil || !reflect.DeepEqual(got.Decision, second) || got.EvaluatedAt != db.At(noon) {
			t.Errorf("got %+v, %v", got, err)
		}
		put("at-now", Decision{Verdict: Trusted, HoldsUntil: noon})
		put("just-before", Decision{Verdict: Trusted, HoldsUntil: noon.Add(-time.Microsecond)})
		put("just-after", Decision{Verdict: Trusted, HoldsUntil: noon.Add(time.Microsecond)})
		if ids, err := Lapsed(t.Context(), d.Read(), db.At(noon), 10); err != nil || !slices.Equal(ids, []string{"just-before", "at-now"}) {
			t.Errorf("lapsed: %v, %v", ids, err)
		}
		if ids, err := Lapsed(t.Context(), d.Read(), db.At(noon), 1); err != nil || !slices.Equal(ids, []string{"just-before"}) {
			t.Errorf("one of the lapsed: %v, %v", ids, err)
		}
		// The clock was a minute ahead when all of it was decided.
		if ids, err := Lapsed(t.Context(), d.Read(), db.At(noon.Add(-time.Minute)), 3); err != nil || len(ids) != 3 {
			t.Errorf("decided too early: %v, %v", ids, err)
		}
	})
}
