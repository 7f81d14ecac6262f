package year_test

import (
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/year"
)

// PKI-11, AGT-13: a short year, with certificates of a week, lived in parts. The heavy
// suite lives a long one, with certificates of eight hours.
func TestAYearLosesNoDevice(t *testing.T) {
	t.Parallel()
	plan := year.Plan{Devices: 12, Life: 7 * 24 * time.Hour, Span: 120 * 24 * time.Hour, Dir: t.TempDir(), Chapters: 7}
	if testing.Short() {
		plan.Devices = 6
	}
	parts := 1
	for !year.Live(t, plan) {
		if parts++; parts > 10 {
			t.Fatal("a year has no end")
		}
	}
	if parts < 2 {
		t.Error("it was lived in one part")
	}
}
