package pki

import (
	"strings"
	"testing"

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
	var steps []struct {
		ID, Parent, Notused int
		Detail              string
	}
	query := revoking(d.Read(), 1, "edge-1", Superseded).Where("fingerprint <> ?", "f")
	if err := d.Read().NewRaw("EXPLAIN QUERY PLAN "+query.String()).Scan(t.Context(), &steps); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 1 || !strings.Contains(steps[0].Detail, "certificates_live (device_id=?)") {
		t.Errorf("it goes by %v", steps)
	}
}
