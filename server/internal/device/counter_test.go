package device_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// open is a migrated database whose clock stands still.
func open(t testing.TB, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{URL: url, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if _, err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Begin(t.Context(), "trial"); err != nil {
		t.Fatal(err)
	}
	return d
}

// write runs f in a transaction that must succeed.
func write(t *testing.T, d *db.DB, f func(ctx context.Context, tx db.Tx) error) {
	t.Helper()
	if err := d.Write(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// HBT-01, HBT-02, HBT-04, HBT-06, HBT-07: a beat that is wrong in every way is
// refused for the first; put right one by one, it meets the next.
func TestEachRefusalOfABeatHasItsReasonInOrder(t *testing.T) {
	t.Parallel()
	row := &device.Counter{EnrollmentID: "e1", Fingerprint: "f1", Gate: device.GateSuspended, Counter: 100, Epoch: "old", BootID: "b1", BootFirst: 90}
	in := db.Instance{Epoch: "new", BehindSince: 1}
	b := device.Beat{EnrollmentID: "e2", Fingerprint: "f2", Counter: 100, Epoch: "old", BootID: "b2", NonceFor: -1, Receipt: 101}
	if err := device.Judge(nil, in, b); !errors.Is(err, device.ErrUnknown) {
		t.Errorf("a device that is not there: %v", err)
	}
	for _, step := range []struct {
		want  error
		right func()
	}{
		{device.ErrSuspended, func() { row.Gate = device.GateHeld }},
		{device.ErrHeld, func() { row.Gate = device.GateRevoked }},
		{device.ErrRevoked, func() { row.Gate = 99 }},
		{device.ErrRevoked, func() { row.Gate = device.GateOpen }},
		{device.ErrEnrollment, func() { b.EnrollmentID = "e1" }},
		{device.ErrCertificate, func() { row.NextFingerprint, row.NextUntil, b.At = "f2", 5, 5 }},
		{device.ErrCertificate, func() { b.Fingerprint = "f1" }},
		{device.ErrBehind, func() { in.BehindSince = 0 }},
		{device.ErrEpoch, func() { b.Epoch = "new" }},
		{device.ErrBehind, func() { b.Receipt = 100 }},
		{device.ErrNonce, func() { b.NonceFor = 99 }},
		{device.ErrNonce, func() { b.NonceFor = 101 }},
		{device.ErrNonce, func() { b.NonceFor = 100 }},
		{device.ErrClone, func() { b.Counter = 90 }},
		{device.ErrClone, func() { b.Counter = 89 }},
		{device.ErrStale, func() { b.Counter, b.BootID = 100, "b1" }},
		{device.ErrStale, func() { b.Counter = 1 }},
		{device.ErrStale, func() { b.Counter = 100 + protocol.MaxCounterJump + 1 }},
		{device.ErrJump, func() { b.Counter = 100 + protocol.MaxCounterJump }},
		{device.ErrRace, func() {}}, // nothing is wrong with it
	} {
		if err := device.Judge(row, in, b); !errors.Is(err, step.want) {
			t.Fatalf("got %v, want %v", err, step.want)
		}
		step.right()
	}
}

func TestABeatInTheSameEpochNeedsNoNonceAndAFirstOneNoBoot(t *testing.T) {
	t.Parallel()
	row := &device.Counter{Epoch: "new", Counter: 7}
	b := device.Beat{Epoch: "new", Counter: 8, NonceFor: -1, BootID: "b1"}
	if err := device.Judge(row, db.Instance{Epoch: "new"}, b); !errors.Is(err, device.ErrRace) {
		t.Errorf("a higher counter: %v", err)
	}
	b.Counter = 7
	if err := device.Judge(row, db.Instance{Epoch: "new"}, b); !errors.Is(err, device.ErrStale) {
		t.Errorf("a stale counter of a device without a boot on record: %v", err)
	}
}

func TestOneStaleCounterHoldsNobodyTwoInARowDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		refusal error
		inARow  int
		want    bool
	}{
		{device.ErrStale, 1, false},
		{device.ErrStale, 2, true},
		{device.ErrStale, 3, true},
		{device.ErrClone, 1, true},
		{device.ErrJump, 5, false},
		{device.ErrEpoch, 5, false},
		{device.ErrNonce, 5, false},
		{device.ErrRevoked, 5, false},
		{nil, 5, false},
	} {
		if got := device.Holds(c.refusal, c.inARow); got != c.want {
			t.Errorf("%v, %d in a row: %v", c.refusal, c.inARow, got)
		}
	}
}

// meeting is a counter row and a beat that comes to it.
type meeting struct {
	row  device.Counter
	beat device.Beat
}

// meetings is every combination of what one condition or another looks at.
func meetings(epoch string) []meeting {
	const stored = 1000
	m := []meeting{{
		row:  device.Counter{EnrollmentID: "e1", Fingerprint: "f1", Counter: stored, BootID: "b1"},
		beat: device.Beat{EnrollmentID: "e1", Fingerprint: "f1", BootID: "b1", At: db.At(now)},
	}}
	each := func(n int, set func(m *meeting, i int)) {
		var out []meeting
		for _, one := range m {
			for i := range n {
				next := one
				set(&next, i)
				out = append(out, next)
			}
		}
		m = out
	}
	each(4, func(m *meeting, i int) { m.row.Gate = device.Gate(i) })
	each(2, func(m *meeting, i int) { m.beat.EnrollmentID = []string{"e1", "e2"}[i] })
	each(2, func(m *meeting, i int) {
		m.row.NextFingerprint, m.row.NextUntil = "f2", db.At(now).Add(time.Duration(i)*time.Microsecond)
	})
	each(3, func(m *meeting, i int) { m.beat.Fingerprint = []string{"f1", "f2", "f3"}[i] })
	each(2, func(m *meeting, i int) { m.row.Epoch = []string{epoch, "another"}[i] })
	each(2, func(m *meeting, i int) { m.beat.Epoch = []string{epoch, "another"}[i] })
	each(2, func(m *meeting, i int) { m.beat.NonceFor = []int64{stored, stored - 1}[i] })
	each(2, func(m *meeting, i int) { m.beat.Receipt = []int64{stored, stored + 1}[i] })
	each(5, func(m *meeting, i int) {
		m.beat.Counter = []int64{1, stored, stored + 1, stored + protocol.MaxCounterJump, stored + protocol.MaxCounterJump + 1}[i]
	})
	each(2, func(m *meeting, i int) { m.beat.BootID = []string{"b1", "b2"}[i] })
	for i := range m {
		m[i].row.DeviceID = "d" + string(rune('a'+i/26/26/26%26)) + string(rune('a'+i/26/26%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i%26))
		m[i].beat.DeviceID = m[i].row.DeviceID
	}
	return m
}

// HBT-01 to HBT-09: what the one statement lets through and what Judge finds
// nothing wrong with are the same beats, on both databases.
func TestTheStatementAcceptsExactlyWhatJudgeDoes(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d := open(t, url)
		in, err := d.Instance(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := meetings(in.Epoch)
		const atOnce = 1000 // a transaction has a time limit
		for part := range slices.Chunk(all, atOnce) {
			write(t, d, func(ctx context.Context, tx db.Tx) error {
				var devices []device.Device
				var rows []device.Counter
				for _, m := range part {
					devices = append(devices, device.Device{DeviceID: m.row.DeviceID, EnrollmentID: m.row.DeviceID, State: device.Active, Facts: "{}"})
					rows = append(rows, m.row)
				}
				if _, err := tx.NewInsert().Model(&devices).Exec(ctx); err != nil {
					return err
				}
				_, err := tx.NewInsert().Model(&rows).Exec(ctx)
				return err
			})
		}
		raise := func() map[string]device.Raised {
			accepted := map[string]device.Raised{}
			for part := range slices.Chunk(all, atOnce) {
				var beats []device.Beat
				for _, m := range part {
					beats = append(beats, m.beat)
				}
				write(t, d, func(ctx context.Context, tx db.Tx) error {
					raised, err := device.Raise(ctx, tx, beats)
					maps.Copy(accepted, raised)
					return err
				})
			}
			return accepted
		}

		write(t, d, func(ctx context.Context, tx db.Tx) error { return tx.SetBehind(ctx, "a receipt") })
		if accepted := raise(); len(accepted) != 0 {
			t.Fatalf("a database that is known to be old took %d beats", len(accepted))
		}
		write(t, d, func(ctx context.Context, tx db.Tx) error {
			_, err := tx.NewUpdate().Table("instance").Set("behind_since = 0").Where("id = 1").Exec(ctx)
			return err
		})
		accepted := raise()
		if len(accepted) == 0 || len(accepted) == len(all) {
			t.Fatalf("%d of %d accepted", len(accepted), len(all))
		}
		var stored []device.Counter
		if err := d.Read().NewSelect().Model(&stored).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := map[string]device.Counter{}
		for _, c := range stored {
			after[c.DeviceID] = c
		}
		wrong := 0
		for _, m := range all {
			judged := device.Judge(&m.row, in, m.beat)
			raised, taken := accepted[m.row.DeviceID]
			want, fingerprint := m.row.Counter, m.row.Fingerprint
			if taken {
				want, fingerprint = m.beat.Counter, m.beat.Fingerprint
			}
			first := taken && m.beat.Fingerprint == m.row.NextFingerprint
			if taken != errors.Is(judged, device.ErrRace) || after[m.row.DeviceID].Counter != want ||
				after[m.row.DeviceID].Fingerprint != fingerprint || raised.First != first {
				if wrong++; wrong <= 3 {
					t.Errorf("accepted %v, judged %q, stored %d\nrow  %+v\nbeat %+v", taken, judged, after[m.row.DeviceID].Counter, m.row, m.beat)
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%d of %d differ", wrong, len(all))
		}
	})
}
