//go:build heavy

package heavy

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"
)

// operation is one heartbeat as its sender saw it: it took effect at some instant
// between begin and end.
type operation struct {
	counter    int64
	begin, end time.Duration
	accepted   bool // or refused as not higher than the stored one
}

// explain says why no order of instants explains a history of one counter that
// accepts only what is higher than itself, starting from 0; nil if one does.
//
// The accepted must have taken effect in the order of their counters. Placing
// each as early as it can be is the best for all that follow, and for the
// refused: each needs an instant at which its counter or a higher one had been
// accepted.
func explain(history []operation) error {
	var rising []operation
	for _, o := range history {
		if o.accepted {
			rising = append(rising, o)
		}
	}
	slices.SortFunc(rising, func(a, b operation) int { return cmp.Compare(a.counter, b.counter) })
	earliest := make([]time.Duration, len(rising))
	for i, o := range rising {
		earliest[i] = o.begin
		if i > 0 {
			if o.counter == rising[i-1].counter {
				return fmt.Errorf("%d was accepted twice", o.counter)
			}
			earliest[i] = max(o.begin, earliest[i-1])
		}
		if earliest[i] > o.end {
			return fmt.Errorf("%d was accepted after a higher one", o.counter)
		}
	}
	for _, o := range history {
		if o.accepted {
			continue
		}
		i, _ := slices.BinarySearchFunc(rising, o.counter, func(r operation, c int64) int { return cmp.Compare(r.counter, c) })
		if i == len(rising) || earliest[i] > o.end {
			return fmt.Errorf("%d was refused though nothing as high had been accepted", o.counter)
		}
	}
	return nil
}

func TestAHistoryIsExplainedOrNot(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for name, c := range map[string]struct {
		history []operation
		ok      bool
	}{
		"nothing happened":                    {nil, yes},
		"one after the other":                 {[]operation{{1, 0, 1, true}, {2, 2, 3, true}}, yes},
		"at once, in either order":            {[]operation{{2, 0, 5, true}, {1, 1, 4, true}}, yes},
		"the same twice, one of them refused": {[]operation{{1, 0, 2, true}, {1, 0, 2, false}}, yes},
		"the refused one ended first":         {[]operation{{1, 1, 9, true}, {1, 0, 2, false}}, yes},
		"the same accepted twice":             {[]operation{{1, 0, 2, true}, {1, 0, 2, true}}, no},
		"a lower one accepted later":          {[]operation{{2, 0, 1, true}, {1, 2, 3, true}}, no},
		"a lower one later, two steps away":   {[]operation{{3, 0, 9, true}, {2, 5, 6, true}, {1, 7, 8, true}}, no},
		"refused before the first was sent":   {[]operation{{1, 2, 3, true}, {1, 0, 1, false}}, no},
		"refused, and nothing accepted":       {[]operation{{1, 0, 1, false}}, no},
		"refused though only lower ones were": {[]operation{{1, 0, 1, true}, {2, 2, 3, false}}, no},
	} {
		if err := explain(c.history); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
