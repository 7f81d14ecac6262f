package main

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/cputime"
)

func TestAFigureIsTheMedianOfItsRoundsRatios(t *testing.T) {
	t.Parallel()
	b := &bench{}
	f := b.compare(1, "cost", sqlite, "µs", 1.5)
	f.add(100, 100) // 1
	f.add(300, 100) // 3: a round in which the machine was busy elsewhere
	f.add(140, 100) // 1.4
	if f.Ratio != 1.4 || !f.Met {
		t.Errorf("%+v", f)
	}
	f.add(160, 100)
	f.add(170, 100)
	if f.Ratio != 1.6 || f.Met {
		t.Errorf("%+v", f)
	}
	least := b.compare(2, "saves", sqlite, "µs", 1.8).atLeast()
	if least.add(17, 10); least.Met {
		t.Errorf("%+v", least)
	}
	number := b.compare(5, "memory", sqlite, "MB", 48)
	if number.alone(49); number.Met || number.Ratio != 49 {
		t.Errorf("%+v", number)
	}
}

func TestAPlanIsBounded(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-lines 9", "-lines x", "-rounds 0", "-devices 0", "-devices 100001", "-bulk 5", "-databases oracle", "-window 0s"} {
		if _, err := parse(strings.Fields(args), &strings.Builder{}); err == nil {
			t.Errorf("%s was taken", args)
		}
	}
	p, err := parse([]string{"-lines", "1,4", "-short"}, &strings.Builder{})
	if err != nil || len(p.lines) != 2 || p.rounds != 1 || p.devices > 200 {
		t.Errorf("%+v %v", p, err)
	}
}

// The large database must hold rows that belong together, and the counters of
// the devices that are connected.
func TestADatabaseIsFilledWithWholeDevices(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sentinel.db")
	d, err := openSQLite(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	schema, err := filepath.Glob("../../migrations/sqlite/*.sql")
	if err != nil || len(schema) == 0 {
		t.Fatal(schema, err)
	}
	for _, file := range schema {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		if _, err := d.Exec(up); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	for _, q := range []string{
		`INSERT INTO devices (device_id, enrollment_id, state, state_at, name, owner, sensitive, key_code, enrolled_at) VALUES ('sim-00001', 'e1', 'active', 1, '', '', 0, 'k', 1), ('sim-00002', 'e2', 'active', 1, '', '', 0, 'k', 1)`,
		`INSERT INTO device_counters (device_id, enrollment_id, fingerprint, gate, counter, epoch) VALUES ('sim-00001', 'e1', 'f1', 0, 7, 'x'), ('sim-00002', 'e2', 'f2', 0, 9, 'x')`,
	} {
		if _, err := d.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := fill(t.Context(), d, sqlite, 500); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{
		"SELECT count(*) FROM devices": 500,
		"SELECT count(*) FROM device_counters JOIN devices USING (device_id, enrollment_id)":    500,
		"SELECT sum(counter) FROM device_counters WHERE device_id IN ('sim-00001','sim-00002')": 16,
		"SELECT count(DISTINCT fingerprint) FROM device_counters":                               500,
	} {
		if n := number(t, d, query); n != want {
			t.Errorf("%s: %d, not %d", query, n, want)
		}
	}
}

func number(t *testing.T, d *sql.DB, query string) (n int) {
	t.Helper()
	if err := d.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestCPUAndMemoryOfAProcessAreRead(t *testing.T) {
	t.Parallel()
	before := cputime.Of(os.Getpid())
	x := 0
	if err := until(context.Background(), time.Minute, time.Millisecond, func() bool {
		for i := range 1_000_000 {
			x += i
		}
		return cputime.Of(os.Getpid())-before > 20*time.Millisecond
	}); err != nil {
		t.Errorf("%v after %d", err, x)
	}
	if mb := residentMB(os.Getpid()); mb < 1 || mb > 10_000 {
		t.Errorf("%v MB", mb)
	}
}
