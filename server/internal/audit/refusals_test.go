package audit

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// DOS-02
func TestTheFirstRefusalIsWrittenAtOnceAndTheRestAsOneCount(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		r := NewRefusals(w.d, time.Minute, 100)
		who := Actor{Kind: Device, ID: "edge-1", Source: "192.0.2.9", RequestID: "r1"}
		e := Entry{Action: Heartbeat, ObjectKind: "device", ObjectID: "edge-1", Reason: "stale", Details: map[string]string{"epoch": "e1"}}
		note := func() {
			w.Helper()
			if err := r.Note(w.Context(), who, e); err != nil {
				w.Fatal(err)
			}
		}
		note()
		first := w.list(Filter{})
		if len(first) != 1 || first[0].Result != Refused || first[0].Reason != "stale" || first[0].RequestID != "r1" || first[0].Source != "192.0.2.9" {
			w.Fatalf("at once: %+v", first)
		}
		for range 10_000 {
			note()
		}
		if err := r.Flush(w.Context(), false); err != nil || len(w.list(Filter{})) != 1 {
			w.Fatalf("within the window: %d entries, %v", len(w.list(Filter{})), err)
		}
		w.pass(time.Minute)
		if err := r.Flush(w.Context(), false); err != nil {
			w.Fatal(err)
		}
		rows := w.list(Filter{})
		d := rows[0].DetailMap()
		if len(rows) != 2 || d["repeated"] != "10000" || d["since"] != noon.Format(time.RFC3339) || d["epoch"] != "e1" || rows[0].RequestID != "" || rows[0].Result != Refused {
			w.Fatalf("%d entries, the count is %+v", len(rows), rows[0])
		}
		w.pass(time.Second)
		note() // of the next window
		if got := w.list(Filter{}); len(got) != 3 {
			w.Fatalf("the first of the next window: %d entries", len(got))
		}
		if err := r.Flush(w.Context(), true); err != nil || len(w.list(Filter{})) != 3 {
			w.Errorf("one that came once was counted: %d entries, %v", len(w.list(Filter{})), err)
		}
		note()
		note()
		w.pass(time.Second)
		if err := r.Flush(w.Context(), true); err != nil || w.list(Filter{})[0].DetailMap()["repeated"] != "1" {
			w.Errorf("at the server's end: %v, %v", w.list(Filter{})[0].DetailMap(), err)
		}
	})
}

// DOS-02: made-up names and objects multiply nothing.
func TestManyKindsOfRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		r := NewRefusals(w.d, time.Minute, 10)
		for i := range 500 {
			who := Actor{Kind: Device, ID: fmt.Sprint("edge-", i)}
			if err := r.Note(w.Context(), who, Entry{Action: Heartbeat, Reason: "stale"}); err != nil {
				w.Fatal(err)
			}
		}
		if got := w.list(Filter{Limit: 500}); len(got) != 10 {
			w.Errorf("%d entries of 500 kinds", len(got))
		}
		if n := len(r.kinds); n != 10 {
			w.Errorf("%d kinds in memory", n)
		}
		w.pass(time.Minute)
		if err := r.Flush(w.Context(), false); err != nil {
			w.Fatal(err)
		}
		rows := w.list(Filter{Limit: 500})
		if len(rows) != 11 || rows[0].Reason != "many-kinds" || rows[0].DetailMap()["repeated"] != "490" {
			w.Errorf("%d entries, the last is %+v", len(rows), rows[0])
		}
		if len(r.kinds) != 0 || r.other != 0 {
			w.Error("the window did not begin anew")
		}
	})
}

func TestStrangersAreToldApartByAddressAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		r := NewRefusals(w.d, time.Minute, 100)
		for i := range 50 {
			for _, source := range []string{"192.0.2.1", "192.0.2.2"} {
				who := Actor{Kind: Anonymous, ID: fmt.Sprint("made-up-", i), Source: source}
				if err := r.Note(w.Context(), who, Entry{Action: Access, ObjectKind: "route", ObjectID: fmt.Sprint("/", i), Reason: "unauthenticated"}); err != nil {
					w.Fatal(err)
				}
			}
		}
		if got := w.list(Filter{Limit: 500}); len(got) != 2 {
			w.Errorf("%d entries of two addresses", len(got))
		}
		known := Actor{Kind: Person, ID: "alice", Source: "192.0.2.1"}
		for _, object := range []string{"/a", "/b"} {
			if err := r.Note(w.Context(), known, Entry{Action: Access, ObjectKind: "route", ObjectID: object, Reason: "forbidden"}); err != nil {
				w.Fatal(err)
			}
		}
		if got := w.list(Filter{ActorID: "alice"}); len(got) != 2 {
			w.Errorf("%d entries of what a known person tried", len(got))
		}
	})
}

func TestARefusalThatCannotBeWrittenIsHeardOf(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		r := NewRefusals(w.d, time.Minute, 100)
		if err := w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "ALTER TABLE audit_entries RENAME TO audit_gone")
			return err
		}); err != nil {
			w.Fatal(err)
		}
		if r.Note(w.Context(), person("alice"), Entry{Action: Access}) == nil {
			w.Error("nothing was written and nobody told")
		}
	})
}

// DOS-02: a count that could not be written is not lost with its window.
func TestCountsThatCouldNotBeWrittenAreWrittenLater(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		r := NewRefusals(w.d, time.Minute, 2)
		note := func(id string, times int) {
			w.Helper()
			for range times {
				if err := r.Note(w.Context(), Actor{Kind: Device, ID: id}, Entry{Action: Heartbeat, Reason: "stale"}); err != nil {
					w.Fatal(err)
				}
			}
		}
		rename := func(from, to string) {
			w.Helper()
			if err := w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
				_, err := tx.ExecContext(ctx, "ALTER TABLE "+from+" RENAME TO "+to)
				return err
			}); err != nil {
				w.Fatal(err)
			}
		}
		note("edge-1", 4) // one is written, three are counted
		note("edge-2", 1)
		note("edge-3", 5) // a kind too many
		w.pass(time.Minute)
		rename("audit_entries", "audit_gone")
		if err := r.Flush(w.Context(), false); err == nil {
			w.Fatal("it says that it wrote")
		}
		rename("audit_gone", "audit_entries")
		note("edge-1", 1)
		note("edge-3", 1)
		if err := r.Flush(w.Context(), false); err != nil {
			w.Fatal(err)
		}
		got := map[string]string{}
		for _, row := range w.list(Filter{}) {
			if d := row.DetailMap(); d["repeated"] != "" {
				got[row.ActorID] = d["repeated"] + " since " + d["since"]
			}
		}
		since := " since " + noon.Format(time.RFC3339)
		if len(got) != 2 || got["edge-1"] != "4"+since || got[""] != "6"+since {
			w.Errorf("counted %v", got)
		}
	})
}

// A window that began while the counts of the one before could not be written has
// written a first of its own: every refusal is one entry's or one count's.
func TestCountsGivenBackJoinThoseOfTheRunningWindow(t *testing.T) {
	t.Parallel()
	key := refusalKey{action: Heartbeat, actor: "device/edge-1"}
	r := &Refusals{kinds: map[refusalKey]*refusal{key: {more: 2}}, other: 1, since: noon.Add(time.Minute)}
	r.giveBack(map[refusalKey]*refusal{key: {more: 3}, {action: Access}: {more: 7}}, 4, noon)
	if r.kinds[key].more != 5 || r.kinds[refusalKey{action: Access}].more != 7 || r.other != 5 || !r.since.Equal(noon) {
		t.Errorf("%+v, %+v, %d since %v", r.kinds[key], r.kinds[refusalKey{action: Access}], r.other, r.since)
	}
}
