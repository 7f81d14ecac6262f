package audit

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// book is an audit log on a database, with a clock that only the test moves.
type book struct {
	*testing.T
	d *db.DB

	mu  sync.Mutex
	now time.Time
}

func onBoth(t *testing.T, f func(w *book)) {
	t.Helper()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := &book{T: t, now: noon}
		var err error
		if w.d, err = db.Open(t.Context(), db.Options{URL: url, Now: w.clock}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.d.Close() })
		if _, err := w.d.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		f(w)
	})
}

func (w *book) clock() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }

func (w *book) pass(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

// put writes entries in one transaction, so that they share a moment.
func (w *book) put(who Actor, entries ...Entry) {
	w.Helper()
	if err := w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
		for _, e := range entries {
			if err := Write(ctx, tx, who, e); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		w.Fatal(err)
	}
}

func (w *book) list(f Filter) []Row {
	w.Helper()
	page, err := List(w.Context(), w.d.Read(), f)
	if err != nil {
		w.Fatal(err)
	}
	return page.Rows
}

func person(name string) Actor {
	return Actor{Kind: Person, ID: name, Source: "192.0.2.1", RequestID: "r1"}
}
