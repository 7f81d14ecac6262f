//go:build heavy

package flow_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// APR-02, APR-11: many races, half of them where one person is enough and half
// where it takes two.
func TestHeavyPeopleWhoDecideAtOnce(t *testing.T) {
	t.Parallel()
	rounds := 250 // times HEAVY_ROUNDS: 40 make ten thousand
	if said := os.Getenv("HEAVY_ROUNDS"); said != "" {
		n, err := strconv.Atoi(said)
		if err != nil || n < 1 {
			t.Fatalf("HEAVY_ROUNDS must be a whole number from 1, not %q", said)
		}
		rounds *= n
	}
	for people := 1; people <= 2; people++ {
		t.Run(fmt.Sprint(people), func(t *testing.T) {
			t.Parallel()
			w, node := raceNodes(t, people)
			t.Logf("%d rounds ended in %v", rounds/2, races(w, node, rounds/2, uint64(1000+people)))
		})
	}
}
