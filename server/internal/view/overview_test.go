package view_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

func TestAnOverviewCountsWhatIsThere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *window) {
		ask := view.OverviewAsk{Soon: time.Hour, Quiet: time.Minute}
		read := func(now time.Time) *view.Overview {
			w.Helper()
			o, err := view.ReadOverview(w.Context(), w.d.Read(), ask, now)
			if err != nil {
				w.Fatal(err)
			}
			return o
		}
		if o := read(noon); o.Devices != 0 || o.Waiting.All() != 0 || len(o.Beats) != 0 || o.Silent != 0 {
			w.Errorf("of nothing: %+v", o)
		}
		for i := range 4 {
			w.add(device.Device{DeviceID: fmt.Sprint("edge-", i), AgentVersion: fmt.Sprint("1.0.", i%2)}, nil)
		}
		w.write(func(ctx context.Context, tx db.Tx) error {
			for _, n := range []device.BeatCount{{At: db.At(noon), Accepted: 2, Refused: 1}, {At: db.At(noon), Accepted: 3}, {At: db.At(noon.Add(-48 * time.Hour)), Accepted: 9}} {
				if err := device.AddBeats(ctx, tx, n); err != nil {
					return err
				}
			}
			if err := device.ForgetBeats(ctx, tx, db.At(noon.Add(-50*time.Hour))); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE device_counters SET seen_at = ? WHERE device_id = 'edge-0'", db.At(noon))
			return err
		})
		o := read(noon)
		if o.Devices != 4 || o.Verdicts["trusted"] != 4 || o.Silent != 3 || o.Held != 0 || o.Gone != 0 {
			w.Errorf("of four: %+v", o)
		}
		if len(o.Beats) != 1 || o.Beats[0].Accepted != 5 || o.Beats[0].Refused != 1 || o.Beats[0].At != db.At(noon) {
			w.Errorf("heartbeats: %+v", o.Beats)
		}
		if o := read(noon.Add(2 * time.Hour)); o.Verdicts["untrusted"] != 4 {
			w.Errorf("after the verdicts ran out: %+v", o.Verdicts)
		}
		if got := w.ids(view.DeviceFilter{Version: "1.0.1"}); len(got) > 4 {
			w.Errorf("by version: %v", got)
		}
	})
}
