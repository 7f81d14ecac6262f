package db_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

var (
	setNotes  = db.NewListed("UPDATE notes AS o SET next_at = l.next_at FROM %s WHERE o.name = l.name", db.Text("name"), db.Int("next_at"))
	findNotes = db.NewListedOn("SELECT l.name, l.next_at FROM %s WHERE l.next_at > $3::bigint ORDER BY l.n", "SELECT l.name, l.next_at FROM %s WHERE l.next_at > ?2 ORDER BY l.n",
		db.Text("name"), db.Int("next_at"))
)

func TestAListedStatementTakesItsListsAsTheyAre(t *testing.T) {
	t.Parallel()
	names := db.Texts{"", "b", "a'; --", `"],["`, "\\u0000", "ö€😀", "7", "null"}
	numbers := db.Ints{0, -1, 1, 1<<63 - 1, -1 << 63, 1<<53 + 1, 7, 8}
	dbtest.BothEmpty(t, func(t *testing.T, url string) {
		d := migrated(t, url)
		for _, name := range names {
			if err := exec(d, "INSERT INTO notes (name, next_at) VALUES (?, 5)", name); err != nil {
				t.Fatal(err)
			}
		}
		set := func(names db.Texts, numbers db.Ints) error {
			return d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { return setNotes.All(ctx, tx, db.Lists{names, numbers}) })
		}
		if err := set(names, numbers); err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			var got int64
			if err := d.Read().NewSelect().Table("notes").Column("next_at").Where("name = ?", name).Scan(t.Context(), &got); err != nil || got != numbers[i] {
				t.Errorf("%q: %d, %v, want %d", name, got, err, numbers[i])
			}
		}
		if err := set(db.Texts{"b", "nobody"}, db.Ints{9, 9}); !errors.Is(err, db.ErrConflict) {
			t.Errorf("one of two: %v", err)
		}
		if err := set(nil, nil); err != nil {
			t.Errorf("of nothing: %v", err)
		}
		if err := set(names, numbers[1:]); err == nil {
			t.Error("lists of different lengths are taken")
		}
		var left, want []string
		for i, n := range numbers {
			if n > 0 {
				want = append(want, names[i])
			}
		}
		if err := d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
			rows, err := findNotes.Rows(ctx, tx, db.Lists{names, numbers}, 0)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var name string
				var n int64
				if err := rows.Scan(&name, &n); err != nil {
					return err
				}
				if i := slices.Index(names, name); i < 0 || numbers[i] != n {
					t.Errorf("%q came back with %d", name, n)
				}
				left = append(left, name)
			}
			return rows.Err()
		}); err != nil || !slices.Equal(left, want) {
			t.Errorf("found %q, %v, want %q", strings.Join(left, " "), err, strings.Join(want, " "))
		}
	})
}
