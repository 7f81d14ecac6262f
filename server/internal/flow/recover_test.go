package flow_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func lost(w *wish) { w.Recovery = true }

// recovery asks for the way back, and returns how it is asked after.
func (a *agent) recovery(r *wish) (*agent, error) { return a.recoveryBy(r, nil) }

// recoveryBy sends a certificate with it.
func (a *agent) recoveryBy(r *wish, certificate []byte) (*agent, error) {
	a.w.Helper()
	answer, err := a.w.Recover(context.Background(), "192.0.2.9", "", &protocol.EnrollRequest{
		Protocol: 1, EnrollmentID: r.RequestID, DeviceID: a.id, Recovery: r.body(a.w), Certificate: certificate})
	if err != nil {
		return nil, err
	}
	asks := *a
	asks.key, asks.enrollmentID, asks.nonce = r.next.(*ecdsa.PrivateKey), r.RequestID, answer.Nonce
	return &asks, nil
}

// back is the device after its recovery: what it enrolled as and counted stays.
func (a *agent) back(asks *agent) *agent {
	b := *asks
	b.enrollmentID, b.counter, b.boot = a.enrollmentID, a.counter, a.boot
	return &b
}

// AGT-13: an expired device comes back as itself, by a person's word.
func TestAnExpiredDeviceRecoversByAPersonsWord(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		for range 3 {
			w.must(a.beat())
		}
		w.clock.Add(30 * 24 * time.Hour)
		w.must(w.Reevaluate(t.Context()))
		wish := a.wish(lost)
		asks, err := a.recovery(wish)
		w.must(err)
		if r, err := asks.poll(); err != nil || r.State != protocol.EnrollPending || r.Certificates != nil {
			w.Fatalf("before the review: %+v %v", r, err)
		}
		if shown := w.waiting("edge-1"); shown.Kind != "recovery" || shown.ExpiredAt.Time() != a.identity.NotAfter {
			w.Fatalf("shown %+v", shown)
		}
		w.agree("edge-1")
		r, err := asks.poll()
		w.must(err)
		again, err := asks.poll()
		w.must(err)
		if r.State != protocol.EnrollIssued || len(r.FleetRoots) == 0 || len(r.PolicyBundle) == 0 || string(r.Certificates[0]) != string(again.Certificates[0]) {
			w.Fatalf("answer %+v", r)
		}
		if v := w.verdict("edge-1"); v.Verdict != trust.Untrusted {
			w.Errorf("trusted before the certificate is used: %+v", v)
		}
		b := a.back(asks)
		stale := b.heartbeat()
		stale.Counter = 3
		if err := b.send(stale); !errors.Is(err, device.ErrStale) {
			w.Errorf("an old counter: %v", err)
		}
		b.counter = 3
		w.must(b.beat())
		if c := w.counter("edge-1"); c.Counter != 4 || c.Fingerprint != b.identity.Fingerprint || c.EnrollmentID != a.enrollmentID {
			w.Errorf("counter %+v", c)
		}
		if v := w.verdict("edge-1"); v.Verdict != trust.Trusted {
			w.Errorf("verdict %+v", v)
		}
		b.renewed() // and goes on as any other
	})
}

// AGT-13, ENR-07: no way back for whom there is none, and none beside the rules.
func TestARecoveryIsRefusedWhereRulesSaySo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		day := 24 * time.Hour
		stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		w.must(err)
		gone := func(id string, act func() error) *agent {
			a := w.enrolled(id)
			w.must(a.beat())
			w.must(act())
			return a
		}
		revoked := gone("revoked", func() error { return w.Revoke(t.Context(), w.by, "revoked", "test") })
		suspended := gone("suspended", func() error { return w.Suspend(t.Context(), w.by, "suspended", "test") })
		a, b := w.enrolled("edge-1"), w.enrolled("edge-2")
		if _, err := a.recovery(a.wish(lost)); !errors.Is(err, identity.ErrInDate) {
			w.Errorf("in date: %v", err)
		}
		w.clock.Add(8 * day)
		before := w.count("identity_requests", "1 = 1")
		for name, c := range map[string]struct {
			who  *agent
			wish *wish
			want error
		}{
			"revoked":                    {revoked, revoked.wish(lost), device.ErrRevoked},
			"suspended":                  {suspended, suspended.wish(lost), device.ErrSuspended},
			"a renewal":                  {a, a.wish(), flow.ErrRenewal},
			"another's id":               {a, b.wish(lost), flow.ErrIdentity},
			"another's certificate":      {a, a.wish(lost, func(r *wish) { r.Current = b.identity.Fingerprint }), flow.ErrRenewal},
			"another's key":              {a, a.wish(lost, func(r *wish) { r.current = b.key }), flow.ErrRenewal},
			"a stranger's key":           {a, a.wish(lost, func(r *wish) { r.current = stranger }), flow.ErrRenewal},
			"another's enrollment":       {a, a.wish(lost, func(r *wish) { r.EnrollmentID = b.enrollmentID }), device.ErrEnrollment},
			"the key that it has":        {a, a.wish(lost, func(r *wish) { r.CSR, _ = certs.NewRequest("edge-1", a.key) }), flow.ErrRenewal},
			"a key that another has":     {a, a.wish(lost, func(r *wish) { r.next = b.key }), identity.ErrKeyUsed},
			"a device that is not there": {&agent{w: w, id: "nobody"}, a.wish(lost, func(r *wish) { r.DeviceID = "nobody" }), flow.ErrRenewal},
		} {
			if _, err := c.who.recovery(c.wish); !errors.Is(err, c.want) {
				w.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if _, err := w.Recover(t.Context(), "", "", &protocol.EnrollRequest{DeviceID: "edge-1", EnrollmentID: a.enrollmentID, Recovery: a.wish(lost).body(t)}); !errors.Is(err, flow.ErrRenewal) {
			w.Errorf("under another request_id: %v", err)
		}
		if n := w.count("identity_requests", "1 = 1"); n != before {
			w.Errorf("%d requests stored by refusals", n-before)
		}
		w.clock.Add(identity.Window - day - time.Second)
		if _, err := a.recovery(a.wish(lost)); err != nil {
			w.Errorf("on the last day: %v", err)
		}
		w.clock.Add(time.Second)
		if _, err := b.recovery(b.wish(lost)); !errors.Is(err, identity.ErrLate) {
			w.Errorf("too late: %v", err)
		}
		digest := w.waiting("edge-1").Digest
		if _, err := w.IdentityReview(t.Context(), w.by, "edge-1", flow.Decision{Approve: true, Digest: digest, Reason: "it is ours"}); !errors.Is(err, identity.ErrLate) {
			w.Errorf("agreed to too late: %v", err)
		}
	})
}

// ENR-07: between approval and fetching, a device can be stopped.
func TestAnApprovedRecoveryIsCheckedAgainWhenItIsFetched(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.clock.Add(8 * 24 * time.Hour)
		asks, err := a.recovery(a.wish(lost))
		w.must(err)
		w.agree("edge-1")
		w.must(w.Suspend(t.Context(), w.by, "edge-1", "test"))
		if _, err := asks.poll(); !errors.Is(err, device.ErrSuspended) {
			w.Errorf("suspended: %v", err)
		}
		w.must(w.Revoke(t.Context(), w.by, "edge-1", "test"))
		if _, err := asks.poll(); !errors.Is(err, device.ErrRevoked) {
			w.Errorf("revoked: %v", err)
		}
		if _, err := w.IdentityReview(t.Context(), w.by, "edge-1", flow.Decision{Approve: true, Reason: "x"}); !errors.Is(err, identity.ErrState) {
			w.Errorf("approved again: %v", err)
		}
		if n := w.count("certificates", "kind = 'device'"); n != 1 {
			w.Errorf("%d certificates", n)
		}
	})
}

// Only the key that asks learns how it stands, and an enrollment's way is not a
// recovery's.
func TestARecoveryIsAskedAfterByItsOwnKeyOnly(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.clock.Add(8 * 24 * time.Hour)
		asks, err := a.recovery(a.wish(lost))
		w.must(err)
		w.agree("edge-1")
		thief := *asks
		thief.key = a.key
		if _, err := thief.poll(); !errors.Is(err, flow.ErrPoll) {
			w.Errorf("by the old key: %v", err)
		}
		stale := *asks
		stale.nonce = a.nonce
		if _, err := stale.poll(); !errors.Is(err, flow.ErrPollNonce) {
			w.Errorf("with another nonce: %v", err)
		}
		_, err = asks.poll()
		w.must(err)

		// A renewal's id is nothing to ask after.
		b := w.enrolled("edge-2")
		wish := b.wish()
		_, err = b.renew(wish)
		w.must(err)
		other := *b
		other.enrollmentID, other.key = wish.RequestID, wish.next.(*ecdsa.PrivateKey)
		if _, err := other.poll(); !errors.Is(err, enroll.ErrUnknown) {
			w.Errorf("a renewal: %v", err)
		}
	})
}

// DOS-02: what waits is bounded per device and in all.
func TestRecoveriesThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.MaxPending = 2 })
		a, b, c := w.enrolled("edge-1"), w.enrolled("edge-2"), w.enrolled("edge-3")
		w.clock.Add(8 * 24 * time.Hour)
		first, err := a.recovery(a.wish(lost))
		w.must(err)
		second, err := a.recovery(a.wish(lost))
		w.must(err)
		if r, err := first.poll(); err != nil || r.State != protocol.EnrollRejected {
			w.Errorf("the one that was replaced: %+v %v", r, err)
		}
		_, err = b.recovery(b.wish(lost))
		w.must(err)
		if _, err := c.recovery(c.wish(lost)); !errors.Is(err, enroll.ErrFull) {
			w.Errorf("a third device: %v", err)
		}
		w.clock.Add(standard.ReviewTTL)
		w.must(w.ExpireIdentities(t.Context()))
		if n := w.count("approvals", "kind = 'identity' AND state = 'open'"); n != 0 {
			w.Errorf("%d approvals are open after their requests", n)
		}
		second.nonce = w.PollNonce(second.enrollmentID)
		if r, err := second.poll(); err != nil || r.State != protocol.EnrollExpired {
			w.Errorf("after its time: %+v %v", r, err)
		}
		_, err = c.recovery(c.wish(lost))
		w.must(err)
	})
}

// A certificate that was issued and not used in time does not stand in the way.
func TestARecoveryFollowsARenewalThatWasNeverUsed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(a.beat())
		unused := a.renewed()
		w.clock.Add(20 * 24 * time.Hour) // nothing ran meanwhile, no upkeep either
		unused.counter = a.counter
		if err := unused.beat(); !errors.Is(err, device.ErrCertificate) {
			w.Fatalf("the unused one: %v", err)
		}
		if _, err := unused.recovery(unused.wish(lost)); !errors.Is(err, flow.ErrRenewal) {
			w.Errorf("by a certificate that was never accepted: %v", err)
		}
		asks, err := a.recovery(a.wish(lost))
		w.must(err)
		w.agree("edge-1")
		_, err = asks.poll()
		w.must(err)
		b := a.back(asks)
		w.must(b.beat())
	})
}

// BKP-02: nothing that waited at the time of a backup waits after its restore.
func TestARestoreVoidsWhatDevicesAskedFor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.enrolled("edge-1"), w.enrolled("edge-2")
		w.clock.Add(8 * 24 * time.Hour)
		asks, err := a.recovery(a.wish(lost))
		w.must(err)
		w.agree("edge-1")
		old := *b
		b2, err := b.recovery(b.wish(lost))
		w.must(err)
		w.agree("edge-2")
		_, err = b2.poll()
		w.must(err)
		_, err = flow.MarkRestored(t.Context(), w.d, w.outside, w.by, nil)
		w.must(err)
		if r, err := asks.poll(); err != nil || r.State != protocol.EnrollExpired {
			w.Errorf("an approved recovery after the restore: %+v %v", r, err)
		}
		next := old.back(b2)
		if err := next.beat(); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("an unused certificate after the restore: %v", err)
		}
		if w.count("identity_requests", "state IN ('pending', 'approved', 'issued')") != 0 ||
			w.count("certificates", "fingerprint = ? AND revoked_reason = 'restored'", next.identity.Fingerprint) != 1 {
			w.Error("something of before is open")
		}
		_, err = old.recovery(old.wish(lost))
		w.must(err)
	})
}

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
