package main

import (
	"slices"
	"testing"
)

func TestASeedIsASchedule(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		one, same, other := newSchedule(options{seed: 7}, database, 200), newSchedule(options{seed: 7}, database, 200), newSchedule(options{seed: 8}, database, 200)
		if !slices.Equal(one, same) {
			t.Error("the same seed brings other faults")
		}
		if slices.Equal(one, other) {
			t.Error("another seed brings the same faults")
		}
		kills := map[string]int{}
		kinds := map[string]bool{}
		total := 0
		for _, f := range one {
			kinds[f.Kind] = true
			if f.kills() {
				kills[f.Target]++
				total++
			}
		}
		if total != 200 || kills[toAgent] < 30 || kills[toServer] < 30 || (kills[toPostgres] < 20) != (database == "sqlite") {
			t.Errorf("%s: %d kills: %v", database, total, kills)
		}
		for _, kind := range []string{killNow, killAtPoint, killAtStart, killStopped, stopAwhile, pauseAt} {
			if !kinds[kind] {
				t.Errorf("%s: nothing is %s", database, kind)
			}
		}
	}
}

func TestOnlyOneTarget(t *testing.T) {
	t.Parallel()
	for _, f := range newSchedule(options{seed: 1, only: toPostgres}, "postgres", 50) {
		if f.Target != toPostgres {
			t.Error(f)
		}
	}
}
