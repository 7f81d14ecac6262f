package flow_test

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// der is a device's certificate, as it keeps it itself.
func (a *agent) der() []byte {
	a.w.Helper()
	cert, err := pki.Get(a.w.Context(), a.w.d.Read(), a.identity.Fingerprint)
	a.w.must(err)
	return cert.DER
}

// BKP-02, AGT-13: what a restore forgot of a device's certificates does not shut it out,
// and brings none back that ended: a person decides.
func TestADeviceThatRenewedSinceTheBackupComesBackByAPersonsWord(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, other, replaced := w.enrolled("edge-1"), w.enrolled("edge-2"), w.enrolled("edge-3")
		for _, one := range []*agent{a, other, replaced} {
			w.must(one.beat())
		}
		w.clock.Add(time.Hour)
		kept := replaced.renewed()
		w.must(kept.beat())
		restore := w.backup()
		w.clock.Add(24 * time.Hour)
		b := a.renewed()
		w.must(b.beat())
		w.clock.Add(time.Hour)
		c := b.renewed()
		w.must(c.beat())
		before, newest, foreign := b.der(), c.der(), other.der()
		w.clock.Add(time.Hour)
		restore()
		w.exec("DELETE FROM identity_requests WHERE device_id = 'edge-1'")
		w.exec("DELETE FROM certificates WHERE fingerprint IN (?, ?)", b.identity.Fingerprint, c.identity.Fingerprint)

		told := func(what string, who *agent, want error) {
			t.Helper()
			if err := who.beat(); !errors.Is(err, device.ErrCertificate) {
				w.Fatalf("%s: the heartbeat: %v", what, err)
			}
			if err := w.Unknown(t.Context(), who.identity, device.ErrCertificate); !errors.Is(err, want) {
				w.Errorf("%s is told %v, want %v", what, err, want)
			}
			if err := w.Ended(t.Context(), who.identity, certs.ErrExpired); !errors.Is(err, want) {
				w.Errorf("%s, expired, is told %v, want %v", what, err, want)
			}
		}
		told("before anybody said that it is a backup", c, device.ErrCertificate)
		if _, err := c.recoveryBy(c.wish(lost), newest); !errors.Is(err, flow.ErrRenewal) {
			w.Errorf("before anybody said so: %v", err)
		}
		_, err := flow.MarkRestored(t.Context(), w.d, w.outside, w.by, nil)
		w.must(err)
		told("the newest", c, device.ErrLost)
		told("the one before", b, device.ErrLost)
		told("one that is on record as superseded", replaced, device.ErrLost)
		kept.recover(kept.beat())
		told("one that is on record as superseded, by one that was heard since", replaced, device.ErrCertificate)
		w.clock.Add(time.Hour)
		made, err := w.pki.IssueDevice("edge-1", a.enrollmentID, a.key.Public(), w.clock.Now(), time.Hour)
		w.must(err)
		leaf, err := x509.ParseCertificate(made.DER)
		w.must(err)
		since, err := certs.VerifyDevice([]*x509.Certificate{leaf}, first(w.pki.Issuers(certs.KindDevice)), w.pki.TrustDomain(), w.clock.Now())
		w.must(err)
		if err := w.Unknown(t.Context(), since, device.ErrCertificate); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("one that was issued since, and is on no record: %v", err)
		}

		late, thief := *c, *c
		thief.id, thief.enrollmentID = other.id, other.enrollmentID
		late.identity.Fingerprint = b.identity.Fingerprint
		for name, send := range map[string]func() error{
			"without the certificate":  func() error { _, err := c.recovery(c.wish(lost)); return err },
			"with another's":           func() error { _, err := c.recoveryBy(c.wish(lost), foreign); return err },
			"with another of its own":  func() error { _, err := c.recoveryBy(c.wish(lost), before); return err },
			"with something else":      func() error { _, err := c.recoveryBy(c.wish(lost), []byte("x")); return err },
			"by another key":           func() error { _, err := late.recoveryBy(late.wish(lost), before); return err },
			"by one that was replaced": func() error { _, err := replaced.recoveryBy(replaced.wish(lost), replaced.der()); return err },
			"as another device":        func() error { _, err := thief.recoveryBy(thief.wish(lost), newest); return err },
			"for another's enrollment": func() error { _, err := c.recoveryBy(c.wish(lost, of(other)), newest); return err },
		} {
			if err := send(); !errors.Is(err, flow.ErrRenewal) && !errors.Is(err, flow.ErrIdentity) && !errors.Is(err, device.ErrEnrollment) {
				w.Errorf("%s: %v", name, err)
			}
		}
		wish := c.wish(lost)
		asks, err := c.recoveryBy(wish, newest)
		w.must(err)
		_, err = c.recoveryBy(wish, newest) // the answer was lost
		w.must(err)
		shown := w.waiting("edge-1")
		if shown.Lost != c.identity.Fingerprint || shown.SignedBy != a.identity.Fingerprint {
			w.Errorf("shown %+v", shown)
		}
		w.agree("edge-1")
		r, err := asks.poll()
		w.must(err)
		if r.State != protocol.EnrollIssued {
			w.Fatalf("answer %+v", r)
		}
		d := c.back(asks)
		d.counter = max(a.counter, b.counter, c.counter)
		d.recover(d.beat())
		w.must(d.beat())
		if v := w.verdict("edge-1"); v.Verdict != trust.Trusted {
			w.Errorf("verdict %+v", v)
		}
		told("the lost one afterwards", c, device.ErrLost)
		if n := w.count("certificates", "device_id = 'edge-1' AND revoked_at = 0 AND fingerprint <> ?", d.identity.Fingerprint); n != 0 {
			w.Errorf("%d certificates are in force besides", n)
		}
	})
}

// BKP-02, AGT-13: a restore of too old a backup leads a device back to the certificate
// before, and a restore of a newer one then has that as superseded.
func TestASupersededCertificateHasAWayBackUntilItsSuccessorIsHeard(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		type pair struct{ old, next *agent }
		devices := make(map[string]pair)
		for _, id := range []string{"back", "waits", "approved", "given", "revoked"} {
			a := w.enrolled(id)
			w.must(a.beat())
			b := a.renewed()
			w.must(b.beat())
			a.counter = b.counter
			devices[id] = pair{a, b}
		}
		w.clock.Add(time.Hour)
		asks := func(id string) (*agent, error) {
			old := devices[id].old
			return old.recoveryBy(old.wish(lost), old.der())
		}
		told := func(id string, want error) {
			t.Helper()
			if err := w.Unknown(t.Context(), devices[id].old.identity, device.ErrCertificate); !errors.Is(err, want) {
				w.Errorf("%s is told %v, want %v", id, err, want)
			}
		}
		told("back", device.ErrCertificate)
		if _, err := asks("back"); !errors.Is(err, flow.ErrRenewal) {
			w.Errorf("before any restore: %v", err)
		}
		w.must(w.Revoke(t.Context(), w.by, "revoked", "sold"))
		_, err := flow.MarkRestored(t.Context(), w.d, w.outside, w.by, nil)
		w.must(err)

		told("back", device.ErrLost)
		if _, err := asks("revoked"); !errors.Is(err, device.ErrRevoked) {
			w.Errorf("of a revoked device: %v", err)
		}
		waiting := make(map[string]*agent)
		for _, id := range []string{"back", "waits", "approved", "given"} {
			waiting[id], err = asks(id)
			w.must(err)
			if shown := w.waiting(id); shown.Lost != devices[id].old.identity.Fingerprint || shown.LostEnded != pki.Superseded || shown.SignedBy != devices[id].next.identity.Fingerprint {
				w.Errorf("%s: shown %+v", id, shown)
			}
		}
		w.agree("back")
		r, err := waiting["back"].poll()
		w.must(err)
		if r.State != protocol.EnrollIssued {
			w.Fatalf("answer %+v", r)
		}
		c := devices["back"].old.back(waiting["back"])
		c.recover(c.beat())
		told("back", device.ErrCertificate)

		w.agree("approved")
		w.agree("given")
		r, err = waiting["given"].poll()
		w.must(err)
		if r.State != protocol.EnrollIssued {
			w.Fatalf("answer %+v", r)
		}
		for _, id := range []string{"waits", "approved", "given"} {
			next := devices[id].next
			next.recover(next.beat())
			told(id, device.ErrCertificate)
			if _, err := asks(id); !errors.Is(err, flow.ErrRenewal) {
				w.Errorf("%s asks once the other was heard: %v", id, err)
			}
			if r, err := waiting[id].poll(); err != nil || r.State != protocol.EnrollRejected {
				w.Errorf("%s asks after what it asked for before: %+v %v", id, r, err)
			}
			if n := w.count("certificates", "device_id = ? AND revoked_at = 0", id); n != 1 {
				w.Errorf("%s: %d certificates are in force", id, n)
			}
			w.must(next.beat())
			next.falls()
			w.must(w.give(w.Resync, id, "it is ours"))
			told(id, device.ErrCertificate) // its counter begins anew, and nothing else
		}
		got := devices["given"].old.back(waiting["given"])
		got.counter += 10
		if err := got.beat(); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("what was given before the other was heard: %v", err)
		}
		c.falls()
		_, err = flow.MarkRestored(t.Context(), w.d, w.outside, w.by, nil)
		w.must(err)
		told("waits", device.ErrLost) // a resync before its heartbeat
		w.must(w.give(w.Resync, "back", "it is ours"))
		told("back", device.ErrLost) // and one of a device that was not heard since
	})
}

// BKP-02: a person who rejects a request in the moment in which its device is heard does
// not have the heartbeats beside it refused.
func TestARejectionUnderWayRefusesNoHeartbeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dbtest.PostgresURL(t), nil) // SQLite has one writer
	a := w.enrolled("edge-1")
	w.must(a.beat())
	b := a.renewed()
	w.must(b.beat())
	w.clock.Add(time.Hour)
	_, err := flow.MarkRestored(t.Context(), w.d, w.outside, w.by, nil)
	w.must(err)
	_, err = a.recoveryBy(a.wish(lost), a.der())
	w.must(err)
	var e *flow.EpochError
	if err := b.beat(); !errors.As(err, &e) {
		t.Fatalf("the first in the epoch: %v", err)
	}
	b.epoch, b.beatNonce, b.receipt = e.Epoch, e.Nonce, ""
	beaten := make(chan error, 1)
	var once sync.Once
	w.must(w.d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
		if err := execute("UPDATE identity_requests SET state = 'rejected' WHERE device_id = 'edge-1' AND state = 'pending'")(ctx, tx); err != nil {
			return err
		}
		once.Do(func() { go func() { beaten <- b.beat() }() })
		return w.untilOneWaits(ctx)
	}))
	w.must(<-beaten)
}

// falls has a device held, as one whose counter went back.
func (a *agent) falls() {
	a.w.Helper()
	stale := *a
	for range device.HoldAfter {
		stale.counter -= 2 // beat adds one
		if err := stale.beat(); !errors.Is(err, device.ErrStale) {
			a.w.Fatalf("a counter that went back: %v", err)
		}
	}
}

// BKP-02: the record ends what it takes for unused, and what the device used after the
// backup is among that.
func TestACertificateOnRecordAsUnusedHasAWayBackAndARevokedOneHasNone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.enrolled("edge-1"), w.enrolled("edge-2")
		w.must(a.beat())
		w.must(b.beat())
		used, revoked := a.renewed(), b.renewed()
		w.clock.Add(48 * time.Hour)
		w.must(w.ExpireIdentities(t.Context()))
		w.exec("UPDATE certificates SET revoked_reason = 'stolen', revoked_at = 1 WHERE fingerprint = ?", revoked.identity.Fingerprint)
		_, err := flow.MarkRestored(t.Context(), w.d, w.outside, w.by, nil)
		w.must(err)
		if err := w.Unknown(t.Context(), revoked.identity, device.ErrCertificate); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("a revoked one is told %v", err)
		}
		if _, err := revoked.recoveryBy(revoked.wish(lost), revoked.der()); !errors.Is(err, flow.ErrRenewal) {
			w.Errorf("a revoked one asks: %v", err)
		}
		if err := w.Unknown(t.Context(), used.identity, device.ErrCertificate); !errors.Is(err, device.ErrLost) {
			w.Errorf("one on record as unused is told %v", err)
		}
		asks, err := used.recoveryBy(used.wish(lost), used.der())
		w.must(err)
		if shown := w.waiting("edge-1"); shown.LostEnded != pki.Unused {
			w.Errorf("shown %+v", shown)
		}
		w.agree("edge-1")
		_, err = asks.poll()
		w.must(err)
		back := used.back(asks)
		back.recover(back.beat())
	})
}

// BKP-02: whoever kept the key of an earlier certificate does not stand in the way of the
// one that was lost, or that is on record: neither before nor after a person agreed.
func TestASupersededCertificateWaitsForTheOthersOfItsDevice(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(a.beat())
		b := a.renewed()
		w.must(b.beat())
		restore := w.backup()
		w.clock.Add(time.Hour)
		c := b.renewed()
		w.must(c.beat())
		old, newest := a.der(), c.der()
		restore()
		w.exec("UPDATE certificates SET revoked_reason = '' WHERE revoked_at = 0")
		w.exec("DELETE FROM identity_requests WHERE device_id = 'edge-1'")
		w.exec("DELETE FROM certificates WHERE fingerprint = ?", c.identity.Fingerprint)
		w.clock.Add(time.Hour)
		_, err := flow.MarkRestored(t.Context(), w.d, w.outside, w.by, nil)
		w.must(err)

		_, err = a.recoveryBy(a.wish(lost), old)
		w.must(err)
		_, err = a.recoveryBy(a.wish(lost), old) // begins anew, with another key
		w.must(err)
		asks, err := c.recoveryBy(c.wish(lost), newest)
		w.must(err)
		for _, then := range []func(){func() {}, func() { w.agree("edge-1") }, func() {
			_, err := asks.poll()
			w.must(err)
		}} {
			then()
			if _, err := a.recoveryBy(a.wish(lost), old); !errors.Is(err, identity.ErrTurn) {
				w.Errorf("the superseded one asks: %v", err)
			}
		}
		d := c.back(asks)
		d.recover(d.beat())
	})
}

func first[T any](v T, _ int) T { return v }

// of has a wish speak for another enrollment.
func of(other *agent) func(*wish) { return func(w *wish) { w.EnrollmentID = other.enrollmentID } }
