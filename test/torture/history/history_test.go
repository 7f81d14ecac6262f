package history

import (
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

func beats(list ...record.Op) []record.Op {
	for i := range list {
		list[i].Kind, list[i].Device, list[i].Epoch = record.Heartbeat, "edge-1", "e"
	}
	return list
}

func at(counter int64, begin, end time.Duration, result string) record.Op {
	return record.Op{Counter: counter, Begin: begin, End: end, Result: result}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	const ok, stale, lost = record.OK, "counter-stale", record.Unknown
	for name, c := range map[string]struct {
		history   []record.Op
		explained bool
	}{
		"one after the other":                          {beats(at(1, 0, 1, ok), at(2, 2, 3, ok)), true},
		"at once in either order":                      {beats(at(2, 0, 5, ok), at(1, 1, 4, ok)), true},
		"the same twice, one refused":                  {beats(at(1, 0, 2, ok), at(1, 0, 2, stale)), true},
		"lost, and it never happened":                  {beats(at(1, 0, 1, lost), at(1, 2, 3, ok)), true},
		"lost, and it did happen":                      {beats(at(1, 0, 1, lost), at(1, 2, 3, stale)), true},
		"lost, and it happened late":                   {beats(at(2, 0, 1, lost), at(1, 2, 3, ok), at(2, 4, 5, stale)), true},
		"suspended meanwhile":                          {beats(at(1, 0, 1, ok), at(2, 2, 3, "device-suspended"), at(3, 4, 5, ok)), true},
		"PLANTED: the same accepted twice":             {beats(at(1, 0, 2, ok), at(1, 0, 2, ok)), false},
		"PLANTED: a lower one accepted later":          {beats(at(2, 0, 1, ok), at(1, 2, 3, ok)), false},
		"PLANTED: refused, and nothing was accepted":   {beats(at(1, 0, 1, stale)), false},
		"PLANTED: refused though only lower ones were": {beats(at(1, 0, 1, ok), at(2, 2, 3, stale)), false},
		"PLANTED: lost cannot explain a higher one":    {beats(at(1, 0, 1, lost), at(2, 2, 3, stale)), false},
	} {
		if r := Counters(c.history); (len(r.Broken) == 0) != c.explained || r.Undecided > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A fault far into a long life is seen, and so is a long life without one explained.
func TestALongLife(t *testing.T) {
	t.Parallel()
	var life []record.Op
	for i := range 5000 {
		result, begin := record.OK, time.Duration(10*i)
		if i%7 == 0 {
			result = record.Unknown
		}
		life = append(life, at(int64(i+1), begin, begin+12, result))
	}
	if r := Counters(beats(life...)); len(r.Broken) > 0 || r.Undecided > 0 || r.Operations != len(life) {
		t.Errorf("%+v", r)
	}
	planted := append(life, at(4000, 48_000, 48_001, record.OK))
	if r := Counters(beats(planted...)); len(r.Broken) != 1 {
		t.Errorf("planted: %+v", r)
	}
}

func asks(uses int, list ...record.Op) []record.Op {
	for i := range list {
		list[i].Kind, list[i].Token = record.Enroll, "t"
	}
	return append(list, record.Op{Kind: record.Token, Token: "t", Uses: uses, Result: record.OK})
}

func who(id string, begin, end time.Duration, result string) record.Op {
	return record.Op{Enrollment: id, Begin: begin, End: end, Result: result}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	const ok, full, lost = record.OK, "token-used-up", record.Unknown
	for name, c := range map[string]struct {
		history   []record.Op
		explained bool
	}{
		"one of two":                           {asks(1, who("a", 0, 5, ok), who("b", 1, 4, full)), true},
		"asked again":                          {asks(1, who("a", 0, 1, ok), who("a", 2, 3, ok)), true},
		"two uses":                             {asks(2, who("a", 0, 5, ok), who("b", 1, 4, ok), who("c", 6, 7, full)), true},
		"lost, and it took the use":            {asks(1, who("a", 0, 1, lost), who("b", 2, 3, full)), true},
		"lost, and it did not":                 {asks(1, who("a", 0, 1, lost), who("b", 2, 3, ok)), true},
		"lost, and asked again":                {asks(1, who("a", 0, 1, lost), who("a", 2, 3, ok), who("b", 4, 5, full)), true},
		"PLANTED: two with one use":            {asks(1, who("a", 0, 1, ok), who("b", 2, 3, ok)), false},
		"PLANTED: used up before anybody":      {asks(1, who("b", 0, 1, full), who("a", 2, 3, ok)), false},
		"PLANTED: counted twice when lost":     {asks(2, who("a", 0, 1, lost), who("a", 2, 3, ok), who("b", 4, 5, full)), false},
		"PLANTED: refused to who is in":        {asks(1, who("a", 0, 1, ok), who("a", 2, 3, full)), false},
		"PLANTED: room, and nobody was let in": {asks(3, who("a", 0, 1, ok), who("b", 2, 3, full)), false},
	} {
		if r := Tokens(c.history); (len(r.Broken) == 0) != c.explained || r.Undecided > 0 || r.Histories != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
