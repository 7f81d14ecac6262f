package flow_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
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
		if r, err := asks.poll(); err != nil || r.State != protocol.EnrollRejected || r.Certificates != nil {
			w.Errorf("revoked: %+v, %v", r, err)
		}
		if _, err := a.recovery(a.wish(lost)); !errors.Is(err, device.ErrRevoked) {
			w.Errorf("revoked, and asks again: %v", err)
		}
		if _, err := w.IdentityReview(t.Context(), w.by, "edge-1", flow.Decision{Approve: true, Reason: "x"}); !errors.Is(err, identity.ErrNone) {
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
