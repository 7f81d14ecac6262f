package db_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// columnsOf lists table.column of the product's own tables.
func columnsOf(t *testing.T, d *db.DB) []string {
	t.Helper()
	query := "SELECT m.name || '.' || p.name FROM sqlite_master AS m JOIN pragma_table_xinfo(m.name) AS p WHERE m.type = 'table'"
	if d.Dialect() == db.PostgreSQL {
		query = "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'"
	}
	var list []string
	if err := d.Read().NewRaw(query).Scan(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for _, c := range list {
		if !strings.HasPrefix(c, "goose_") && !strings.HasPrefix(c, "sqlite_") {
			own[c] = true
		}
	}
	return slices.Sorted(maps.Keys(own))
}

func TestBothDatabasesHaveTheSameTablesAndColumns(t *testing.T) {
	t.Parallel()
	lite := columnsOf(t, migrated(t, "sqlite:"+dbtest.EmptySQLitePath(t)))
	pg := columnsOf(t, migrated(t, dbtest.EmptyPostgresURL(t)))
	if len(lite) < 100 || !slices.Equal(lite, pg) {
		t.Errorf("sqlite has %d columns, postgres %d:\n%s\n%s", len(lite), len(pg), lite, pg)
	}
}
