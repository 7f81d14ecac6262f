//go:build heavy

package heavy

import (
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/year"
)

// PKI-11, AGT-13: certificates of eight hours, which is 1,752 renewals a device in a
// year. One round has 10 devices and a third of a year; from two on it is a whole
// one, and a thousand devices are a hundred rounds.
func TestAYearOfShortCertificatesLosesNoDevice(t *testing.T) {
	span := 365 * 24 * time.Hour
	if rounds.Of(t) == 1 {
		span /= 3
	}
	year.Live(t, year.Plan{Devices: min(10*rounds.Of(t), 1000), Life: 8 * time.Hour, Span: span})
}
