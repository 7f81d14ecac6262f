//go:build heavy

package admin

import (
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// heavyRounds are ten thousand races in a full run, HEAVY_ROUNDS=40.
const heavyRounds = 250

// ADM-01, ADM-08, ADM-12, at length.
func TestNothingOneTimeWorksTwiceAtLength(t *testing.T) {
	t.Parallel()
	for name, race := range races {
		t.Run(name, func(t *testing.T) { t.Parallel(); raceOf(t, race, rounds.Of(t)*heavyRounds) })
	}
}
