//go:build heavy

package admin

import (
	"os"
	"strconv"
	"testing"
)

// heavyRounds are ten thousand races in a full run, HEAVY_ROUNDS=40.
const heavyRounds = 250

// ADM-01, ADM-08, ADM-12, at length.
func TestNothingOneTimeWorksTwiceAtLength(t *testing.T) {
	t.Parallel()
	times := 1
	if said := os.Getenv("HEAVY_ROUNDS"); said != "" {
		n, err := strconv.Atoi(said)
		if err != nil || n < 1 {
			t.Fatalf("HEAVY_ROUNDS must be a whole number from 1, not %q", said)
		}
		times = n
	}
	for name, race := range races {
		t.Run(name, func(t *testing.T) { t.Parallel(); raceOf(t, race, times*heavyRounds) })
	}
}
