package main

import (
	"testing"
	"time"
)

func TestOnlyATimeWithoutOtherFaultsIsHeldAgainstAnAgent(t *testing.T) {
	t.Parallel()
	const s = time.Second
	f := &figures{}
	f.disturbed(10*s, "agent-1")
	f.disturbed(20*s, "")
	f.disturbed(25*s, "agent-2")
	f.disturbed(90*s, "agent-1")
	for _, c := range []struct {
		accepted []time.Duration
		want     time.Duration
	}{
		{[]time.Duration{12 * s, 27 * s, 91 * s}, 7 * s},
		{[]time.Duration{50 * s, 91 * s}, 30 * s}, // of which ten do not count
		{[]time.Duration{12 * s, 27 * s}, 10 * s}, // until the end
		{[]time.Duration{12 * s, 91 * s}, 2 * s},  // it was hurt again before
		{nil, 10 * s},
	} {
		if got := f.undisturbed("agent-1", c.accepted, 100*s); got != c.want {
			t.Errorf("%v: %v, want %v", c.accepted, got, c.want)
		}
	}
}
