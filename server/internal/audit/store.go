package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Row is an entry as it is stored.
type Row struct {
	bun.BaseModel `bun:"table:audit_entries"`

	ID         string    `bun:"id,pk"`
	At         db.Micros `bun:"at"`
	ActorKind  ActorKind `bun:"actor_kind"`
	ActorID    string    `bun:"actor_id"`
	Action     string    `bun:"action"`
	ObjectKind string    `bun:"object_kind"`
	ObjectID   string    `bun:"object_id"`
	Source     string    `bun:"source"`
	RequestID  string    `bun:"request_id"`
	Result     Result    `bun:"result"`
	Reason     string    `bun:"reason"`
	Details    string    `bun:"details"` // JSON object of text
	Salts      []byte    `bun:"salts"`
	Entry      []byte    `bun:"entry"`
}

// DetailMap is Details, read.
func (r *Row) DetailMap() map[string]string {
	m := map[string]string{}
	_ = json.Unmarshal([]byte(r.Details), &m) // written by Write: always an object of text
	return m
}

// Filter chooses entries. Empty members choose all.
type Filter struct {
	ActorID    string
	Action     string
	ObjectKind string
	ObjectID   string
	Result     Result
	Since      time.Time // at or after
	Until      time.Time // before
	Limit      int       // 1 to 500; 0 takes 50
	After      string    // the Next of the page before
}

// Page is a part of the list, newest first.
type Page struct {
	Rows []Row
	Next string // "" at the end
}

// ErrCursor says that After was not made by List.
var ErrCursor = errors.New("audit: the page marker is not valid")

// List reads a page of entries, newest first. Entries that are written
// meanwhile neither shift nor repeat a page.
func List(ctx context.Context, q bun.IDB, f Filter) (Page, error) {
	if f.Limit <= 0 {
		f.Limit = 50
	}
	f.Limit = min(f.Limit, 500)
	var page Page
	sel := q.NewSelect().Model(&page.Rows).OrderExpr("at DESC, id DESC").Limit(int64(f.Limit + 1))
	for _, c := range []struct{ column, value string }{
		{"actor_id", f.ActorID}, {"action", f.Action}, {"object_kind", f.ObjectKind},
		{"object_id", f.ObjectID}, {"result", string(f.Result)},
	} {
		if c.value != "" {
			sel = sel.Where("? = ?", bun.Ident(c.column), c.value)
		}
	}
	if !f.Since.IsZero() {
		sel = sel.Where("at >= ?", db.At(f.Since))
	}
	if !f.Until.IsZero() {
		sel = sel.Where("at < ?", db.At(f.Until))
	}
	if f.After != "" {
		at, id, err := parseCursor(f.After)
		if err != nil {
			return page, err
		}
		sel = sel.Where("(at < ? OR (at = ? AND id < ?))", at, at, id)
	}
	if err := sel.Scan(ctx); err != nil {
		return page, err
	}
	if len(page.Rows) > f.Limit {
		page.Rows = page.Rows[:f.Limit]
		last := page.Rows[f.Limit-1]
		page.Next = fmt.Sprintf("%d.%s", int64(last.At), last.ID)
	}
	return page, nil
}

func parseCursor(s string) (db.Micros, string, error) {
	at, id, ok := strings.Cut(s, ".")
	n, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || len(id) != 36 {
		return 0, "", ErrCursor
	}
	return db.Micros(n), id, nil
}

func insert(ctx context.Context, tx db.Tx, rows []*Row) error {
	if _, err := tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}
