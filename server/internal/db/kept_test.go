package db_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

var addNotes = db.NewListed("UPDATE notes AS o SET next_at = o.next_at + l.next_at FROM %s WHERE o.name = l.name", db.Text("name"), db.Int("next_at"))

// plans runs a statement whose text never changes, and says how many plans its
// connection keeps.
func plans(d *db.DB, name string) (n int, err error) {
	err = d.Batch(context.Background(), func(ctx context.Context, tx db.Tx) error {
		if err := addNotes.All(ctx, tx, db.Lists{db.Texts{name}, db.Ints{1}}); err != nil {
			return err
		}
		return tx.NewRaw("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'UPDATE notes%'").Scan(ctx, &n)
	})
	return n, err
}

func TestAStatementWhoseTextNeverChangesIsPlannedOnce(t *testing.T) {
	t.Parallel()
	d := migrated(t, dbtest.EmptyPostgresURL(t))
	if err := exec(d, "INSERT INTO notes (name, next_at) VALUES ('a', 0)"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := plans(d, "a"); n != 1 || err != nil {
			t.Errorf("%d plans are kept: %v", n, err)
		}
	}
}

// A pooler that hands each transaction another connection costs time, and no
// transaction: neither one whose statement was prepared elsewhere nor one that prepares
// what another had prepared.
func TestBehindAPoolerThatKnowsNoPreparedStatementEachTransactionCounts(t *testing.T) {
	t.Parallel()
	url := dbtest.PooledURL(t, 3)
	const nodes, clients, rounds = 2, 3, 20
	var all sync.WaitGroup
	first := open(t, url)
	if err := exec(first, "CREATE TABLE notes (name TEXT PRIMARY KEY, next_at BIGINT NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	for node := range nodes {
		d := first
		if node > 0 {
			d = open(t, url)
		}
		for n := range clients {
			name := fmt.Sprintf("%d-%d", node, n)
			if err := exec(d, "INSERT INTO notes (name, next_at) VALUES (?, 0)", name); err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				for range rounds {
					if _, err := plans(d, name); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	if n, err := first.Read().NewSelect().Table("notes").Where("next_at = ?", rounds).Count(t.Context()); n != nodes*clients || err != nil {
		t.Errorf("%d of %d counted each round once: %v", n, nodes*clients, err)
	}
}
