package audit

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestPagesShowEveryEntryOnceWhateverIsWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		const entries = 25
		for i := range entries / 5 { // five share a moment
			var five []Entry
			for k := range 5 {
				five = append(five, Entry{Action: SignOut, ObjectID: fmt.Sprint(5*i + k)})
			}
			w.put(person("alice"), five...)
			w.pass(time.Microsecond)
		}
		for _, limit := range []int{3, 24, 25} {
			seen := map[string]bool{}
			f := Filter{Limit: limit, Action: SignOut}
			last := ""
			for {
				page, err := List(w.Context(), w.d.Read(), f)
				if err != nil {
					w.Fatal(err)
				}
				for _, r := range page.Rows {
					key := fmt.Sprintf("%020d.%s", int64(r.At), r.ID)
					if seen[r.ID] || last != "" && key >= last {
						w.Fatalf("limit %d: %s after %s", limit, key, last)
					}
					seen[r.ID], last = true, key
				}
				w.pass(time.Microsecond)
				w.put(person("bob"), Entry{Action: SignOut, ObjectID: "meanwhile"})
				if f.After = page.Next; page.Next == "" {
					break
				}
			}
			if len(seen) < entries {
				w.Errorf("limit %d: %d entries seen", limit, len(seen))
			}
			for _, r := range w.list(Filter{ActorID: "alice", Limit: 500}) {
				if !seen[r.ID] {
					w.Errorf("limit %d: %s is missing", limit, r.ObjectID)
				}
			}
		}
	})
}

func TestAPageHasItsLimit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		w.put(person("alice"), slices.Repeat([]Entry{{Action: SignOut}}, 60)...)
		for limit, want := range map[int]int{0: 50, -3: 50, 10: 10, 60: 60, 1 << 40: 60} {
			if got := w.list(Filter{Limit: limit}); len(got) != want {
				w.Errorf("limit %d: %d entries", limit, len(got))
			}
		}
	})
}

func TestFiltersChooseExactlyAndTogether(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		w.put(person("alice"), Entry{Action: DeviceSuspend, ObjectKind: "device", ObjectID: "edge-1"})
		w.pass(time.Second)
		w.put(person("alice"), Entry{Action: DeviceSuspend, ObjectKind: "device", ObjectID: "edge-2"})
		w.pass(time.Second)
		w.put(person("bob"), Entry{Action: SignIn, ObjectKind: "session", ObjectID: "edge-1", Result: Refused})
		for name, c := range map[string]struct {
			f    Filter
			want int
		}{
			"nothing":                  {Filter{}, 3},
			"actor":                    {Filter{ActorID: "alice"}, 2},
			"part of an actor":         {Filter{ActorID: "ali"}, 0},
			"actor in another case":    {Filter{ActorID: "Alice"}, 0},
			"action":                   {Filter{Action: DeviceSuspend}, 2},
			"kind of object":           {Filter{ObjectKind: "session"}, 1},
			"object":                   {Filter{ObjectID: "edge-1"}, 2},
			"object and kind":          {Filter{ObjectID: "edge-1", ObjectKind: "device"}, 1},
			"result":                   {Filter{Result: Refused}, 1},
			"what nobody did":          {Filter{ActorID: "bob", Action: DeviceSuspend}, 0},
			"since, itself included":   {Filter{Since: noon.Add(time.Second)}, 2},
			"until, itself left out":   {Filter{Until: noon.Add(time.Second)}, 1},
			"between":                  {Filter{Since: noon.Add(time.Second), Until: noon.Add(2 * time.Second)}, 1},
			"a pattern is no pattern":  {Filter{ActorID: "%"}, 0},           // RBA-07
			"SQL is no SQL":            {Filter{ActorID: "' OR '1'='1"}, 0}, // RBA-07
			"a quote is only a quote":  {Filter{ObjectID: "'"}, 0},
			"a placeholder is no such": {Filter{ObjectID: "?"}, 0},
		} {
			if got := w.list(c.f); len(got) != c.want {
				w.Errorf("%s: %d entries, want %d", name, len(got), c.want)
			}
		}
	})
}

func TestAMarkerThatNoPageGaveIsRefused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		w.put(person("alice"), Entry{Action: SignOut})
		for _, after := range []string{
			"x", ".", "1.", "1.x", ".0195a5c0-0000-7000-8000-000000000001", "9999999999999999999999.0195a5c0-0000-7000-8000-000000000001",
			"1 .0195a5c0-0000-7000-8000-000000000001", "0195a5c0-0000-7000-8000-000000000001", "0x1.0195a5c0-0000-7000-8000-000000000001",
		} {
			if _, err := List(w.Context(), w.d.Read(), Filter{After: after}); !errors.Is(err, ErrCursor) {
				w.Errorf("%q: %v", after, err)
			}
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	f.Add("1772366400000000.0195a5c0-0000-7000-8000-000000000001")
	f.Add("-1.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		at, id, err := parseCursor(s)
		if err == nil && (len(id) != 36 || int64(at) == 0 && s[0] != '0' && s[0] != '-' && s[0] != '+') {
			t.Fatalf("%q was read as %d and %q", s, at, id)
		}
	})
}
