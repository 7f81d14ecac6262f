package pki

import (
	"fmt"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// PKI-11: a year of eight-hour certificates is over a thousand of a device. Ending the
// one before must not read them all.
func TestTheHistoryOfADeviceIsNotReadToEndACertificate(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), db.Options{URL: "sqlite:" + dbtest.SQLitePath(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	for _, n := range []int{1, 3, 300} {
		devices, kept := make([]string, n), make([]string, n)
		for i := range n {
			devices[i], kept[i] = fmt.Sprintf("edge-%d", i), fmt.Sprintf("f%d", i)
		}
		var steps []struct {
			ID, Parent, Notused int
			Detail              string
		}
		query := revoking(d.Read(), 1, devices, Superseded).Where("fingerprint NOT IN (?)", bun.List(kept))
		if err := d.Read().NewRaw("EXPLAIN QUERY PLAN "+query.String()).Scan(t.Context(), &steps); err != nil {
			t.Fatal(err)
		}
		if len(steps) != 1 || !strings.Contains(steps[0].Detail, "certificates_live (device_id=?)") {
			t.Errorf("of %d devices it goes by %v", n, steps)
		}
	}
}
