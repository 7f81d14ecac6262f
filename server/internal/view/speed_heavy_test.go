//go:build heavy

package view_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// It shows when: overview and list of 100,000 devices answer within 50 ms at p95.
// What is measured is written down; a machine that others use too is no judge, so
// the test fails only far above.
func TestListsOfALargeFleetAreFast(t *testing.T) {
	onBoth(t, func(w *window) {
		const devices = 100_000
		const n = "WITH RECURSIVE n(i) AS (SELECT CAST(? AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
		for from := 1; from < devices; from += 10_000 { // a transaction has a time limit
			w.write(func(ctx context.Context, tx db.Tx) error {
				for _, q := range []string{
					n + "INSERT INTO devices (device_id, enrollment_id, state, state_at, name, owner, sensitive, key_code, agent_version, enrolled_at) SELECT 'edge-' || (1000000 + i), 'e-' || i, 'active', 0, 'Device ' || i, 'owner ' || (i % 50), " + falseIn(w) + ", '', '1.0.' || (i % 5), 0 FROM n",
					n + "INSERT INTO device_counters (device_id, enrollment_id, fingerprint, gate, counter, seen_at, epoch) SELECT 'edge-' || (1000000 + i), 'e-' || i, 'f-' || i, 0, i, 1, 'e' FROM n",
					n + "INSERT INTO trust_verdicts (device_id, verdict, reasons, evaluated_at, holds_until) SELECT 'edge-' || (1000000 + i), CASE WHEN i % 100 = 0 THEN 'untrusted' ELSE 'trusted' END, '[]', 0, 0 FROM n",
				} {
					if _, err := tx.ExecContext(ctx, q, from, from+9_999); err != nil {
						return err
					}
				}
				return nil
			})
		}
		w.write(func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "ANALYZE")
			return err
		})
		for name, f := range map[string]func() error{
			"overview": func() error {
				_, err := view.ReadOverview(w.Context(), w.d.Read(), view.OverviewAsk{Soon: time.Hour, Quiet: time.Minute}, noon)
				return err
			},
			"list":               list(w, view.DeviceFilter{}),
			"list, far":          list(w, view.DeviceFilter{After: "edge-1090000"}),
			"list by verdict":    list(w, view.DeviceFilter{Verdict: "untrusted"}),
			"list by no verdict": list(w, view.DeviceFilter{Verdict: "reserved"}),
			"list by version":    list(w, view.DeviceFilter{Version: "1.0.3"}),
			"list by text":       list(w, view.DeviceFilter{Text: "device 99"}),
			"list by no text":    list(w, view.DeviceFilter{Text: "nowhere"}),
		} {
			took := make([]time.Duration, 0, 40)
			for range 40 {
				begin := time.Now()
				if err := f(); err != nil {
					w.Fatalf("%s: %v", name, err)
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			w.Logf("%-20s p50 %6.1f ms, p95 %6.1f ms", name, took[20].Seconds()*1000, took[38].Seconds()*1000)
			if took[20] > 2*time.Second {
				w.Errorf("%s takes %s", name, took[20])
			}
		}
	})
}

func falseIn(w *window) string {
	if w.d.Dialect() == db.SQLite {
		return "0"
	}
	return "FALSE"
}

func list(w *window, f view.DeviceFilter) func() error {
	return func() error {
		_, _, err := view.Devices(w.Context(), w.d.Read(), f, noon)
		return err
	}
}
