package assertion

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a key that was published so long after noon.
func at(id string, after time.Duration) Key { return Key{ID: id, PublishedAt: db.At(noon.Add(after))} }

func retired(k Key) Key { k.RetiredAt = k.PublishedAt + 1; return k }

func stands(keys []Key, after time.Duration) string {
	var list []string
	for _, s := range Stand(keys, noon.Add(after)) {
		list = append(list, fmt.Sprintf("%s %s", s.ID, s.State))
	}
	return strings.Join(list, ", ")
}

func TestAKeySignsOnlyAfterOthersCouldHaveFetchedIt(t *testing.T) {
	t.Parallel()
	const second = time.Second
	one, two := at("one", 0), at("two", time.Hour)
	for _, c := range []struct {
		name  string
		keys  []Key
		after time.Duration
		want  string
	}{
		{"none", nil, 0, ""},
		{"the first, at once", []Key{one}, 0, "one signs"},
		{"the next, published now", []Key{two, one}, time.Hour, "one signs, two published"},
		{"just before its turn", []Key{one, two}, time.Hour + Lead - second, "one signs, two published"},
		{"its turn", []Key{one, two}, time.Hour + Lead, "one former, two signs"},
		{"the last assertion of the one before may still be valid", []Key{one, two}, time.Hour + Lead + MaxLife, "one former, two signs"},
		{"just before all of them have ended", []Key{one, two}, time.Hour + Lead + MaxLife + Lead - second, "one former, two signs"},
		{"all of them have ended", []Key{one, two}, time.Hour + Lead + MaxLife + Lead, "one over, two signs"},
		{"the one that signed was stolen", []Key{retired(one), two}, time.Hour, "one retired, two signs"},
		{"the next one was stolen", []Key{one, retired(two)}, 10 * time.Hour, "one signs, two retired"},
		{"all were", []Key{retired(one)}, time.Hour, "one retired"},
		{"a third", []Key{one, two, at("three", 2*time.Hour)}, 2*time.Hour + Lead, "one former, two former, three signs"},
		{"a clock that is behind", []Key{one, two}, -time.Hour, "one signs, two published"},
	} {
		if got := stands(c.keys, c.after); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	list := Stand([]Key{one, two}, noon.Add(time.Hour))
	if !list[1].Until.Equal(noon.Add(time.Hour+Lead)) || !list[0].Until.IsZero() {
		t.Errorf("%+v", list)
	}
}

// Whenever something was signed, its key is in the set until it has ended, and was in
// the set for long enough before: at every minute of two changes.
func TestNothingThatIsValidLosesItsKey(t *testing.T) {
	t.Parallel()
	keys := []Key{at("one", 0), at("two", 90*time.Minute), at("three", 4*time.Hour)}
	published := map[string]time.Duration{"one": 0, "two": 90 * time.Minute, "three": 4 * time.Hour}
	known := func(after time.Duration) (list []Key) { // those that are published by then
		for _, k := range keys {
			if published[k.ID] <= after {
				list = append(list, k)
			}
		}
		return list
	}
	in := func(id string, after time.Duration) bool {
		for _, s := range Stand(known(after), noon.Add(after)) {
			if s.ID == id {
				return s.served()
			}
		}
		return false
	}
	for signed := time.Duration(0); signed < 8*time.Hour; signed += time.Minute {
		signers := 0
		for _, s := range Stand(known(signed), noon.Add(signed)) {
			if s.State != Signs {
				continue
			}
			signers++
			if s.ID != "one" && signed-published[s.ID] < Lead {
				t.Errorf("%s signs %v after it was published", s.ID, signed-published[s.ID])
			}
			for verified := signed; verified <= signed+MaxLife; verified += time.Minute {
				// Also by whoever fetched the set the longest time ago that is allowed.
				if !in(s.ID, verified) || verified-MaxAge > published[s.ID] && !in(s.ID, verified-MaxAge) {
					t.Fatalf("what %s signed after %v cannot be verified after %v", s.ID, signed, verified)
				}
			}
		}
		if signers != 1 {
			t.Fatalf("after %v %d keys sign", signed, signers)
		}
	}
}
