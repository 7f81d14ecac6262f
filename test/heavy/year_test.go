//go:build heavy

package heavy

import (
	"os"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/year"
)

// PKI-11, AGT-13: certificates of eight hours, which is 1,752 renewals a device in a
// year. One round has 5 devices and a third of a year; from two on there are ten more
// a round and it is a whole one: a thousand devices are a hundred rounds. That takes
// hours: YEAR_DIR keeps it after each chapter, and a run that names it again goes on.
func TestAYearOfShortCertificatesLosesNoDevice(t *testing.T) {
	plan := year.Plan{Devices: min(10*rounds.Of(t), 1000), Life: 8 * time.Hour, Span: 365 * 24 * time.Hour, Dir: os.Getenv("YEAR_DIR")}
	if rounds.Of(t) == 1 {
		plan.Devices, plan.Span = 5, plan.Span/3
	}
	year.Live(t, plan)
}
