//go:build heavy

package flow_test

import (
	"fmt"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// APR-02, APR-11: many races, half of them where one person is enough and half
// where it takes two.
func TestHeavyPeopleWhoDecideAtOnce(t *testing.T) {
	t.Parallel()
	many := 250 * rounds.Of(t) // 40 rounds make ten thousand
	for people := 1; people <= 2; people++ {
		t.Run(fmt.Sprint(people), func(t *testing.T) {
			t.Parallel()
			w, node := raceNodes(t, people)
			t.Logf("%d rounds ended in %v", many/2, races(w, node, many/2, uint64(1000+people)))
		})
	}
}

// APR-11, with other schedules than the short test has: a thousand at fifty rounds.
func TestHeavyWhatBecomesOfARequest(t *testing.T) {
	t.Parallel()
	followRules(t, 100, uint64(20*rounds.Of(t)))
}
