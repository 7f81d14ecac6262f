package pki_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

const (
	listLife  = time.Hour
	listEvery = 10 * time.Minute
)

func (w *office) lists(dir string) *pki.Lists {
	return w.NewLists(pki.NewMarks(dir), pki.ListSettings{Life: listLife, Every: listEvery})
}

// issue records a certificate.
func (w *office) issue(id string, life time.Duration) *pki.Issued {
	w.Helper()
	c, err := w.IssueDevice(id, "e-"+id, newKey(w.T), w.now, life)
	w.must(err)
	w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return pki.Record(ctx, tx, c) }))
	return c
}

func (w *office) revoke(id, reason string) {
	w.Helper()
	w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return pki.Revoke(ctx, tx, id, reason) }))
	w.Changed()
}

// round does a round and reads the list that is served under a name.
func (w *office) round(l *pki.Lists, name string) (*x509.RevocationList, *pki.Served) {
	w.Helper()
	w.must(l.Round(w.Context()))
	served, ok := l.Get(name)
	if !ok {
		w.Fatalf("there is no list %s", name)
	}
	crl, err := x509.ParseRevocationList(served.DER)
	w.must(err)
	return crl, served
}

func has(crl *x509.RevocationList, c *pki.Issued) (x509.RevocationListEntry, bool) {
	for _, e := range crl.RevokedCertificateEntries {
		if fmt.Sprintf("%x", e.SerialNumber) == c.Serial {
			return e, true
		}
	}
	return x509.RevocationListEntry{}, false
}

func TestAListIsMadeInTimeAndAtOnceAfterARevocation(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		l := w.lists(w.TempDir())
		good, stolen := w.issue("edge-1", 24*time.Hour), w.issue("edge-2", 24*time.Hour)
		first, served := w.round(l, "device")
		ca, err := w.Active(certs.KindDevice)
		w.must(err)
		if len(first.RevokedCertificateEntries) != 0 || first.CheckSignatureFrom(ca) != nil || !first.NextUpdate.Equal(w.now.Add(listLife)) || served.Fingerprint != certs.Fingerprint(ca.Raw) {
			w.Errorf("the first list: %+v", first)
		}
		if again, _ := w.round(l, "device"); again.Number.Cmp(first.Number) != 0 {
			w.Error("a list was made though nothing had changed")
		}
		w.now = w.now.Add(time.Second)
		w.revoke("edge-2", "keyCompromise: stolen")
		second, _ := w.round(l, served.Fingerprint)
		e, ok := has(second, stolen)
		if _, other := has(second, good); !ok || other || e.ReasonCode != 1 || !e.RevocationTime.Equal(w.now) || second.Number.Cmp(first.Number) <= 0 {
			w.Errorf("after a revocation: %+v", second)
		}
		if server, _ := w.round(l, "server"); len(server.RevokedCertificateEntries) != 0 {
			w.Errorf("the list of the server's authority: %+v", server.RevokedCertificateEntries)
		}
		for _, c := range []struct {
			after time.Duration
			made  bool
		}{{listEvery - time.Second, false}, {2 * time.Second, true}, {time.Minute, false}, {listEvery, true}} {
			w.now = w.now.Add(c.after)
			next, _ := w.round(l, "device")
			if made := next.Number.Cmp(second.Number) > 0; made != c.made || made && !next.ThisUpdate.Equal(w.now) {
				w.Errorf("%v later: %+v", c.after, next.ThisUpdate)
			}
			second = next
		}
		for _, name := range []string{"", "none", "devices", "DEVICE", "root2"} {
			if _, ok := l.Get(name); ok {
				w.Errorf("there is a list %q", name)
			}
		}
		if ends, failed := l.Freshness(); failed != nil || !ends.Equal(second.NextUpdate) {
			w.Errorf("fresh until %v, %v", ends, failed)
		}
	})
}

// RFC 5280 section 3.3: an entry stays until one list beyond the certificate's end.
func TestARevokedCertificateLeavesTheListOnlyAfterItsEndWasSaid(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		l := w.lists(w.TempDir())
		c := w.issue("edge-1", 2*time.Hour)
		w.revoke("edge-1", "lost")
		if crl, _ := w.round(l, "device"); len(crl.RevokedCertificateEntries) != 1 {
			w.Fatal("it is not on the list")
		}
		// No list is made for days, in which it ends: the next one has it still.
		w.now = c.NotAfter.Time().Add(72 * time.Hour)
		if crl, _ := w.round(l, "device"); len(crl.RevokedCertificateEntries) != 1 {
			w.Error("no list after its end ever had it")
		}
		w.now = w.now.Add(listEvery)
		if crl, _ := w.round(l, "device"); len(crl.RevokedCertificateEntries) != 0 {
			w.Error("it stays on the list for ever")
		}
	})
}

// REV-05: neither a backup of the database nor the loss of the node's own memory
// takes the numbers down, and a list of before is not served again.
func TestNumbersNeverGoDownNotEvenByARestore(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		dir := w.TempDir()
		l := w.lists(dir)
		w.round(l, "device")
		type row struct {
			AuthorityID string
			Number      int64
			List        []byte
			ThisUpdate  int64
			NextUpdate  int64
		}
		var backup []row
		w.must(w.d.Read().NewSelect().Table("revocation_lists").Column("authority_id", "number", "list", "this_update", "next_update").Scan(w.Context(), &backup))
		restore := func() {
			w.Helper()
			w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
				for _, r := range backup {
					if _, err := tx.NewUpdate().Table("revocation_lists").Set("number = ?", r.Number).Set("list = ?", r.List).Set("this_update = ?", r.ThisUpdate).
						Set("next_update = ?", r.NextUpdate).Where("authority_id = ?", r.AuthorityID).Exec(ctx); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		last := int64(0)
		for range 5 { // in one second, so that the clock is of no help
			w.Changed()
			crl, _ := w.round(l, "device")
			if crl.Number.Int64() <= last {
				w.Fatalf("number %v after %d", crl.Number, last)
			}
			last = crl.Number.Int64()
		}
		restore()
		// Its memory has the numbers: another process, nothing else to tell.
		again := w.lists(dir)
		if crl, _ := w.round(again, "device"); crl.Number.Int64() <= last {
			w.Errorf("after a restore %v, before it %d", crl.Number, last)
		} else {
			last = crl.Number.Int64()
		}
		restore()
		if crl, _ := w.round(again, "device"); crl.Number.Int64() <= last {
			w.Errorf("after a restore under a running node %v, before it %d", crl.Number, last)
		} else {
			last = crl.Number.Int64()
		}
		// Both lost: the time is above what was made before, unless many lists a second were.
		restore()
		w.now = w.now.Add(time.Minute)
		elsewhere := w.lists(w.TempDir())
		if crl, _ := w.round(elsewhere, "device"); crl.Number.Int64() <= last {
			w.Errorf("without its memory %v, before it %d", crl.Number, last)
		}
	})
}

func TestWhatANodeShowedIsRememberedBeforeItIsShown(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		l := w.lists(w.TempDir())
		w.round(l, "device")
		// A second node takes over what the first one made, and remembers it too.
		dir := w.TempDir()
		other := w.node("a secret of at least thirty-two bytes", "fleet.test")
		w.must(other.Load(w.Context()))
		second := other.NewLists(pki.NewMarks(dir), pki.ListSettings{Life: listLife, Every: listEvery})
		w.must(second.Round(w.Context()))
		w.Changed() // at the first
		crl, served := w.round(l, "device")
		w.must(second.Round(w.Context()))
		if at, ok := second.Get("device"); !ok || at.Number != served.Number {
			w.Errorf("the other node serves %+v", at)
		}
		var kept map[string]int64
		data, err := os.ReadFile(filepath.Join(dir, "list-numbers.json"))
		w.must(err)
		w.must(json.Unmarshal(data, &kept))
		if kept[served.AuthorityID] != crl.Number.Int64() {
			w.Errorf("it remembers %v, and shows %v", kept, crl.Number)
		}
		// A memory that cannot be read or written is no memory: nothing new is shown.
		w.must(os.WriteFile(filepath.Join(dir, "list-numbers.json"), []byte("{"), 0o600))
		third := other.NewLists(pki.NewMarks(dir), pki.ListSettings{Life: listLife, Every: listEvery})
		if err := third.Round(w.Context()); err == nil {
			w.Error("a memory that cannot be read is passed over")
		}
		if _, ok := third.Get("device"); ok {
			w.Error("a list is shown that was not remembered")
		}
	})
}

// REV-02, REV-05: nothing new is said of a database that is known to have forgotten
// something, and what was changed in it is not served.
func TestWhatCannotBeTrustedIsNotServed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		l := w.lists(w.TempDir())
		before, _ := w.round(l, "device")
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return tx.SetBehind(ctx, "test") }))
		w.Changed()
		if err := l.Round(w.Context()); err == nil {
			w.Error("a list was made of a database that has forgotten something")
		}
		w.now = w.now.Add(2 * listLife)
		if err := l.Round(w.Context()); err == nil {
			w.Error("later, too")
		}
		if ends, failed := l.Freshness(); failed == nil || !ends.Equal(before.NextUpdate) {
			w.Errorf("fresh until %v, %v", ends, failed)
		}
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := tx.NewEpoch(ctx, 0)
			return err
		}))
		w.round(l, "device")
		// The owner of the database writes a list of its own.
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := tx.NewUpdate().Table("revocation_lists").Set("number = number + 1000").Where("1 = 1").Exec(ctx)
			return err
		}))
		if err := l.Round(w.Context()); err == nil {
			w.Error("a list is served whose number is not the one on record")
		}
	})
}

func TestARetiredAuthorityGoesOnTelling(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		owner, err := ceremony.NewOwner(w.TempDir())
		w.must(err)
		r := w.request()
		founding, err := owner.Hold(w.Context(), r, w.now)
		w.must(err)
		w.must(w.install(founding))
		w.must(w.Load(w.Context()))
		l := w.lists(w.TempDir())
		old := w.issue("edge-1", 24*time.Hour)
		_, before := w.round(l, "device")

		next, err := w.PrepareNext(w.Context(), authz.System("test"), certs.KindDevice)
		w.must(err)
		rotation, err := owner.Rotate(w.Context(), ceremony.Request{FleetID: r.FleetID, FleetName: "Test", TrustDomain: r.TrustDomain, Authorities: next}, [][]byte{founding.FleetRoot}, nil, w.now)
		w.must(err)
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			if err := w.Publish(ctx, tx, rotation.RootCertificate, rotation.Authorities); err != nil {
				return err
			}
			_, _, err := pki.Activate(ctx, tx, certs.KindDevice)
			return err
		}))
		w.must(w.Load(w.Context()))
		fresh := w.issue("edge-2", 24*time.Hour)
		w.revoke("edge-1", "lost")
		w.revoke("edge-2", "lost")
		now, served := w.round(l, "device")
		if _, ok := has(now, fresh); !ok || len(now.RevokedCertificateEntries) != 1 || served.Fingerprint == before.Fingerprint {
			w.Errorf("the new authority's list: %+v", now)
		}
		retired, _ := w.round(l, before.Fingerprint)
		if _, ok := has(retired, old); !ok || len(retired.RevokedCertificateEntries) != 1 {
			w.Errorf("the retired authority's list: %+v", retired)
		}
		if n := len(l.All()); n != 3 {
			w.Errorf("%d lists", n)
		}
		// One that is dropped is believed by nobody, and tells nothing more.
		list, err := w.Authorities(w.Context())
		w.must(err)
		for _, a := range list {
			if a.Fingerprint == before.Fingerprint {
				w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return pki.Drop(ctx, tx, a) }))
			}
		}
		w.must(w.Load(w.Context()))
		w.must(l.Round(w.Context()))
		if _, ok := l.Get(before.Fingerprint); ok {
			w.Error("a dropped authority's list is served")
		}
	})
}

func TestTheRootsListComesFromTheCeremonyAndNeverAnOlderOne(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		f := w.sign(w.request())
		put := func(root, list []byte) error {
			return w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return pki.InstallRootList(ctx, tx, root, list) })
		}
		w.must(w.install(f))
		w.must(put(f.RootCertificate, f.RootList))
		w.must(w.Load(w.Context()))
		l := w.lists(w.TempDir())
		crl, served := w.round(l, "root")
		root, err := x509.ParseCertificate(f.RootCertificate)
		w.must(err)
		if crl.CheckSignatureFrom(root) != nil || len(crl.RevokedCertificateEntries) != 0 || served.NextUpdate.Sub(w.now) < 4*365*24*time.Hour {
			w.Errorf("the root's list: %+v", crl)
		}
		if err := put(f.RootCertificate, f.RootList); err == nil {
			w.Error("the same list was installed again")
		}
		other := w.sign(w.request2())
		if err := put(f.RootCertificate, other.RootList); err == nil {
			w.Error("another root's list was installed")
		}
		if err := put(f.RootCertificate, nil); err != nil {
			w.Errorf("a ceremony without a list: %v", err)
		}
	})
}

// request2 is a request of another fleet: what is asked for does not matter.
func (w *office) request2() ceremony.Request {
	w.Helper()
	r := w.request()
	if len(r.Authorities) == 0 {
		list, err := w.PrepareNext(w.Context(), authz.System("test"), certs.KindDevice, certs.KindServer)
		w.must(err)
		r.Authorities = list
	}
	return r
}

// REV-09: a list of 100,000 is made in good time.
func TestALongListIsMadeInGoodTime(t *testing.T) {
	t.Parallel()
	longList(t, 10_000) // the heavy suite makes one of 100,000
}

// longList is a list of n certificates, made and served.
func longList(t *testing.T, n int) {
	t.Helper()
	w := newOffice(t, "sqlite:"+filepath.Join(t.TempDir(), "db"))
	w.founded()
	c := w.issue("edge-1", 24*time.Hour)
	err := w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO certificates (fingerprint, serial, kind, device_id, enrollment_id, authority_id, der, not_before, not_after, issued_at, revoked_at, revoked_reason, key_digest)
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			SELECT 'f' || i, printf('%x', 281474976710656 + i), 'device', 'd' || i, 'e', ?, x'', 0, ?, 0, ?, 'superseded', '' FROM n`, n, c.AuthorityID, int64(c.NotAfter), int64(db.At(w.now)))
		return err
	})
	w.must(err)
	l := w.lists(t.TempDir())
	begin := time.Now()
	crl, served := w.round(l, "device")
	took := time.Since(begin)
	if len(crl.RevokedCertificateEntries) != n || served.Entries != int64(n) {
		t.Errorf("%d entries", len(crl.RevokedCertificateEntries))
	}
	t.Logf("%d entries, %d octets, made, checked, stored and read again in %v", n, len(served.DER), took.Round(time.Millisecond))
	if took > 60*time.Second { // a list holds for an hour
		t.Errorf("it took %v", took)
	}
}
