package audit

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Refusals gathers refusals so that a flood of them costs a bounded number of
// entries. The counts of the running window are in memory: a crash loses
// those, never the first of a kind.
type Refusals struct {
	d      *db.DB
	window time.Duration
	limit  int

	mu    sync.Mutex
	kinds map[refusalKey]*refusal
	other int // of kinds beyond the limit
	since time.Time
}

type refusalKey struct{ action, object, actor, reason string }

type refusal struct {
	who   Actor
	entry Entry
	more  int // after the one written
}

// NewRefusals gathers over windows of the given length, of at most limit kinds.
func NewRefusals(d *db.DB, window time.Duration, limit int) *Refusals {
	return &Refusals{d: d, window: window, limit: limit, kinds: map[refusalKey]*refusal{}, since: d.Now()}
}

// Note records a refusal. An error means that the first of its kind could not be
// written; the caller refuses all the same.
func (r *Refusals) Note(ctx context.Context, who Actor, e Entry) error {
	e.Result = Refused
	if !r.first(who, e) {
		return nil
	}
	return r.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return Write(ctx, tx, who, e) })
}

func (r *Refusals) first(who Actor, e Entry) bool {
	key := refusalKey{e.Action, e.ObjectKind + "/" + e.ObjectID, string(who.Kind) + "/" + who.ID, e.Reason}
	if who.Kind == Anonymous {
		// Whoever has no name is told apart by address, and names nothing that
		// could multiply the kinds.
		key.actor, key.object = who.Source, e.ObjectKind
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if seen, ok := r.kinds[key]; ok {
		seen.more++
		return false
	}
	if len(r.kinds) >= r.limit {
		r.other++
		return false
	}
	r.kinds[key] = &refusal{who: who, entry: e}
	return true
}

// Flush writes the counts of a window that is over, or of the running one when
// all is true (at the server's end).
func (r *Refusals) Flush(ctx context.Context, all bool) error {
	now := r.d.Now()
	r.mu.Lock()
	if !all && now.Sub(r.since) < r.window {
		r.mu.Unlock()
		return nil
	}
	kinds, other, since := r.kinds, r.other, r.since
	r.kinds, r.other, r.since = map[refusalKey]*refusal{}, 0, now
	r.mu.Unlock()

	err := r.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		for _, seen := range kinds {
			if seen.more == 0 {
				continue
			}
			if err := writeCount(ctx, tx, seen.who, seen.entry, seen.more, since); err != nil {
				return err
			}
		}
		if other == 0 {
			return nil
		}
		return writeCount(ctx, tx, Actor{Kind: Anonymous}, Entry{Action: Access, Result: Refused, Reason: "many-kinds"}, other, since)
	})
	if err != nil {
		r.giveBack(kinds, other, since)
	}
	return err
}

// giveBack puts counts that could not be written to those of the running window.
func (r *Refusals) giveBack(kinds map[refusalKey]*refusal, other int, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, seen := range kinds {
		if now, ok := r.kinds[key]; ok {
			now.more += seen.more // each window's first is an entry of its own
			continue
		}
		r.kinds[key] = seen
	}
	r.other, r.since = r.other+other, since
}

func writeCount(ctx context.Context, tx db.Tx, who Actor, e Entry, more int, since time.Time) error {
	who.RequestID = ""
	details := map[string]string{"repeated": strconv.Itoa(more), "since": since.UTC().Format(time.RFC3339)}
	maps.Copy(details, e.Details)
	e.Details = details
	return Write(ctx, tx, who, e)
}
