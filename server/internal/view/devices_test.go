package view

import (
	"context"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// A search that reads every device takes a person's patience in a large fleet.
func TestASearchGoesByItsIndex(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), db.Options{URL: dbtest.PostgresURL(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	sel, err := choose(d.Read().NewSelect().TableExpr("devices AS d").ColumnExpr("d.device_id"), DeviceFilter{Text: "Gate 7"})
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	err = d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
		if _, err := tx.ExecContext(ctx, "SET LOCAL enable_seqscan = off"); err != nil { // as if the table were large
			return err
		}
		return tx.NewRaw("EXPLAIN "+sel.String()).Scan(ctx, &steps)
	})
	if err != nil {
		t.Fatal(err)
	}
	if plan := strings.Join(steps, "\n"); !strings.Contains(plan, "on devices_search") {
		t.Errorf("it goes by\n%s", plan)
	}
}
