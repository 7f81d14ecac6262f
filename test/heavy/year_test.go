//go:build heavy

package heavy

import (
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/year"
)

// PKI-11, AGT-13: a year of certificates of eight hours, which is 1,752 renewals a
// device. One round has 10 devices; a thousand are a hundred rounds.
func TestAYearOfShortCertificatesLosesNoDevice(t *testing.T) {
	year.Live(t, year.Plan{Devices: min(10*rounds(t), 1000), Life: 8 * time.Hour, Span: 365 * 24 * time.Hour})
}
