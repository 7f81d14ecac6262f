package enroll

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func open(t *testing.T, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{URL: url, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if _, err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func token(t *testing.T, d *db.DB, change func(*Token)) string {
	t.Helper()
	made := &Token{ID: db.NewID(noon), MaxUses: 2, CreatedAt: db.At(noon), ExpiresAt: db.At(noon) + 1, Labels: "{}"}
	made.Hash = []byte(made.ID)
	if change != nil {
		change(made)
	}
	if err := d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { return insertToken(ctx, tx, made) }); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// ENR-01, ENR-09: the statement that takes a use rests on nothing read before.
func TestTheConsumingStatementChecksTheTokenItself(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d := open(t, url)
		take := func(id string) error {
			return d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { return Take(ctx, tx, id, "edge-1") })
		}
		for name, change := range map[string]func(*Token){
			"used up":     func(k *Token) { k.Uses = 2 },
			"at its end":  func(k *Token) { k.ExpiresAt = db.At(noon) },
			"revoked":     func(k *Token) { k.RevokedAt = db.At(noon) },
			"not a token": func(k *Token) {},
		} {
			id := token(t, d, change)
			if name == "not a token" {
				id = "nothing"
			}
			if err := take(id); !errors.Is(err, db.ErrConflict) {
				t.Errorf("%s: %v", name, err)
			}
		}
		id := token(t, d, nil)
		for use := range 3 {
			if err := take(id); errors.Is(err, db.ErrConflict) != (use == 2) || use < 2 && err != nil {
				t.Errorf("use %d: %v", use+1, err)
			}
		}
		got, err := TokenByID(t.Context(), d.Read(), id)
		if err != nil || got.Uses != 2 || got.LastUsedBy != "edge-1" || got.LastUsedAt != db.At(noon) {
			t.Errorf("afterwards: %+v, %v", got, err)
		}
	})
}

func enrollment(t *testing.T, d *db.DB, tokenID string, change func(*Enrollment)) string {
	t.Helper()
	e := &Enrollment{
		ID: db.NewID(noon), TokenID: tokenID, DeviceID: "edge-1", State: protocol.EnrollPending, CSR: []byte{1}, Facts: "{}",
		CreatedAt: db.At(noon), ExpiresAt: db.At(noon) + 1,
	}
	if change != nil {
		change(e)
	}
	if err := d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { return Insert(ctx, tx, e) }); err != nil {
		t.Fatal(err)
	}
	return e.ID
}

// ENR-13, ENR-07
func TestACertificateIsTiedToAnEnrollmentOnce(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d := open(t, url)
		tokenID := token(t, d, nil)
		issued := func(id, fingerprint string) error {
			return d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { return Issued(ctx, tx, id, fingerprint) })
		}
		for _, state := range []protocol.EnrollState{protocol.EnrollPending, protocol.EnrollRejected, protocol.EnrollExpired, protocol.EnrollIssued} {
			id := enrollment(t, d, tokenID, func(e *Enrollment) { e.State = state })
			if err := issued(id, "f"); !errors.Is(err, db.ErrConflict) {
				t.Errorf("one that is %s: %v", state, err)
			}
		}
		late := enrollment(t, d, tokenID, func(e *Enrollment) { e.State, e.ExpiresAt = protocol.EnrollApproved, db.At(noon) })
		if err := issued(late, "f"); !errors.Is(err, db.ErrConflict) {
			t.Errorf("one whose time is over: %v", err)
		}
		good := enrollment(t, d, tokenID, func(e *Enrollment) { e.State = protocol.EnrollApproved })
		if err := issued(good, "f1"); err != nil {
			t.Fatal(err)
		}
		if err := issued(good, "f2"); !errors.Is(err, db.ErrConflict) {
			t.Errorf("a second certificate: %v", err)
		}
		if e, err := Get(t.Context(), d.Read(), good); err != nil || e.Fingerprint != "f1" || e.State != protocol.EnrollIssued {
			t.Errorf("afterwards: %+v, %v", e, err)
		}
	})
}

// DOS-02
func TestWaitingEnrollmentsAreCountedUpToALimitWhileTheyWait(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d := open(t, url)
		tokenID := token(t, d, nil)
		for i := range 5 {
			enrollment(t, d, tokenID, func(e *Enrollment) { e.DeviceID = "edge-" + strconv.Itoa(i) })
		}
		enrollment(t, d, tokenID, func(e *Enrollment) { e.ExpiresAt = db.At(noon) })
		enrollment(t, d, tokenID, func(e *Enrollment) { e.State = protocol.EnrollApproved })
		for limit, want := range map[int]int{3: 3, 5: 5, 10: 5} {
			got := 0
			if err := d.Write(t.Context(), func(ctx context.Context, tx db.Tx) (err error) {
				got, err = Pending(ctx, tx, limit)
				return err
			}); err != nil || got != want {
				t.Errorf("limit %d: %d, %v", limit, got, err)
			}
		}
	})
}
