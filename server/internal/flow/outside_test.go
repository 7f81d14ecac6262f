package flow_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca/extcatest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// elsewhere is a world whose devices come with certificates of another authority.
type elsewhere struct {
	*world
	other *extcatest.CA
}

func onBothElsewhere(t *testing.T, change func(*flow.Settings), f func(w *elsewhere)) {
	t.Helper()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) {
			s.Outside = true
			if change != nil {
				change(s)
			}
		})
		f(&elsewhere{w, extcatest.NewRoot(t, "Other", w.clock.Now(), nil)})
	})
}

// comes is a device with a certificate of the other authority.
func (w *elsewhere) comes(id string) *agent {
	w.Helper()
	a := w.agent(id)
	a.epoch = a.boot // of nobody's: it has not heard of one
	w.show(a, a.key)
	return a
}

// show gives a device another certificate of the other authority, for a key.
func (w *elsewhere) show(a *agent, key *ecdsa.PrivateKey) {
	w.Helper()
	a.key = key
	w.showThat(a, w.other.Issue(w.T, a.id, key.Public(), w.clock.Now(), nil))
}

func (w *elsewhere) showThat(a *agent, leaf *x509.Certificate) {
	w.Helper()
	spki, err := x509.MarshalPKIXPublicKey(leaf.PublicKey)
	w.must(err)
	a.identity = certs.Identity{DeviceID: a.id, Fingerprint: certs.Fingerprint(leaf.Raw), SPKI: spki, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		Outside: &certs.Outside{Certificate: leaf, Issuer: w.other.Certificate, Chain: []*x509.Certificate{leaf, w.other.Certificate}}}
}

// knocks sends a heartbeat as the device API does: what is refused is introduced.
func (w *elsewhere) knocks(a *agent) error {
	w.Helper()
	h := a.heartbeat()
	err := a.send(h)
	var epoch *flow.EpochError
	if errors.As(err, &epoch) {
		a.epoch, a.beatNonce, a.counter = epoch.Epoch, epoch.Nonce, max(a.counter, epoch.Counter)
		h = a.heartbeat()
		err = a.send(h)
	}
	if err != nil {
		err = w.Introduce(w.Context(), "192.0.2.9", "", a.identity, h, err)
	}
	return err
}

// letIn is a device whose certificate a person let in, and that was heard under it.
func (w *elsewhere) letIn(id string) *agent {
	w.Helper()
	a := w.comes(id)
	w.waits("first", w.knocks(a))
	w.approve(a)
	w.must(w.knocks(a))
	return a
}

func (w *elsewhere) waits(what string, err error) *flow.ReviewError {
	w.Helper()
	review, ok := errors.AsType[*flow.ReviewError](err)
	if !ok {
		w.Fatalf("%s: %v", what, err)
	}
	return review
}

// C1: the whole way, with nothing let in before a person agreed.
func TestADeviceOfAnotherAuthorityIsLetInByItsReview(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a := w.comes("edge-1")
		w.waits("the first heartbeat", w.knocks(a))
		w.waits("the second", w.knocks(a))
		if n := w.count("enrollments", "state = 'pending'"); n != 1 || w.count("devices", "1=1") != 0 || w.count("certificates", "kind = 'device'") != 0 {
			t.Fatalf("%d reviews", n)
		}
		r := w.review(a.enrollmentID)
		if code, _ := certs.KeyCode(a.key.Public()); r.KeyCode != code || r.Certificate != a.identity.Fingerprint || r.Authority != certs.Fingerprint(w.other.Certificate.Raw) || r.DeviceID != "edge-1" {
			t.Errorf("the reviewer is shown %+v", r)
		}
		w.approve(a)
		w.must(w.knocks(a))
		w.must(a.beat())
		if v := w.verdict("edge-1"); v.Verdict != trust.Trusted {
			t.Errorf("%+v", v)
		}
		if w.count("certificates", "fingerprint = ? AND device_id = 'edge-1' AND revoked_at = 0", a.identity.Fingerprint) != 1 {
			t.Error("the certificate is not on record")
		}
		for action, n := range map[string]int{audit.EnrollRequest: 1, audit.EnrollApprove: 1, audit.CertPin: 1, audit.CertIssue: 0} {
			if got := w.count("audit_entries", "action = ?", action); got != n {
				t.Errorf("%s: %d entries, want %d", action, got, n)
			}
		}
		// What hangs on authorities goes on beside one that is not ours.
		w.must(w.pki.Load(t.Context()))
		if issuers, _ := w.pki.Issuers(certs.KindDevice); len(issuers) != 1 {
			t.Errorf("%d authorities of ours", len(issuers))
		}
		w.must(w.Revoke(t.Context(), w.by, "edge-1", "lost"))
		if err := w.knocks(a); !errors.Is(err, device.ErrRevoked) {
			t.Errorf("revoked: %v", err)
		}
	})
}

// C1: neither a setting nor a window lets such a device in without a person.
func TestNoSettingLetsACertificateInUnseen(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, func(s *flow.Settings) { s.RequireReview = false }, func(w *elsewhere) {
		_, err := w.enroll.OpenWindow(t.Context(), w.by, time.Hour, "a delivery")
		w.must(err)
		a := w.comes("edge-1")
		w.waits("with a window", w.knocks(a))
		w.waits("again", w.knocks(a))
		if w.count("devices", "1=1") != 0 {
			t.Error("it was let in")
		}
	})
}

func TestADeviceIsAnsweredByPollsToo(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a, thief := w.comes("edge-1"), w.comes("edge-2")
		a.nonce = w.waits("the first heartbeat", w.knocks(a)).Nonce
		poll := func(a *agent) (*protocol.EnrollResult, error) {
			return w.Poll(t.Context(), "192.0.2.9", "", a.enrollmentID, a.pollBody())
		}
		r, err := poll(a)
		if err != nil || r.State != protocol.EnrollPending || r.Certificates != nil || r.FleetRoots != nil {
			t.Fatalf("%+v %v", r, err)
		}
		thief.enrollmentID, thief.nonce = a.enrollmentID, a.nonce
		if _, err := poll(thief); !errors.Is(err, flow.ErrPoll) {
			t.Errorf("by another key: %v", err)
		}
		w.approve(a)
		if r, err = poll(a); err != nil || r.State != protocol.EnrollIssued || len(r.FleetRoots) == 0 || len(r.PolicyBundle) == 0 {
			t.Fatalf("%+v %v", r, err)
		}
		if certs.Fingerprint(r.Certificates[0]) != a.identity.Fingerprint {
			t.Error("it is told of another certificate")
		}
	})
}

func TestThisServerIssuesNothingToSuchDevices(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		secret, _ := w.token(enroll.NewToken{})
		if err := w.agent("edge-1").ask(secret); !errors.Is(err, flow.ErrIssuedElsewhere) {
			t.Errorf("by a token: %v", err)
		}
		a := w.letIn("edge-2")
		if _, err := w.Renew(t.Context(), "192.0.2.9", "", a.identity, []byte("{}")); !errors.Is(err, flow.ErrIssuedElsewhere) {
			t.Errorf("by a renewal: %v", err)
		}
	})
}

// C1: reviews are keyed by the public key, capped, and end with their time.
func TestReviewsOfCertificatesAreCappedAndEnd(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, func(s *flow.Settings) { s.MaxPending = 2 }, func(w *elsewhere) {
		a, b, c := w.comes("edge-1"), w.comes("edge-2"), w.comes("edge-3")
		w.waits("first", w.knocks(a))
		w.waits("second", w.knocks(b))
		if err := w.knocks(c); !errors.Is(err, enroll.ErrFull) {
			t.Errorf("beyond the cap: %v", err)
		}
		// One key under another name waits for nothing of its own.
		again := w.comes("edge-9")
		again.key = a.key
		w.show(again, a.key)
		if err := w.knocks(again); !errors.Is(err, enroll.ErrConflict) {
			t.Errorf("one key, two names: %v", err)
		}
		// A device that lost its state comes back with another id, and takes its own place.
		a.enrollmentID = w.agent("x").enrollmentID
		if r := w.waits("at once", w.knocks(a)); r.Nonce != "" {
			t.Error("it may poll for another's enrollment")
		}
		w.clock.Add(2 * time.Minute)
		w.waits("a while later", w.knocks(a))
		if n := w.count("enrollments", "state = 'pending'"); n != 2 || w.count("approvals", "state = 'open'") != 2 {
			t.Errorf("%d reviews", n)
		}
		w.clock.Add(standard.ReviewTTL)
		w.show(c, c.key)
		w.waits("after the others' time", w.knocks(c))
		w.must(w.ExpireEnrollments(t.Context()))
		w.show(a, a.key)
		w.waits("anew", w.knocks(a))
		w.approve(a)
		w.must(w.knocks(a))
	})
}

func TestARejectedCertificateStaysOutForAWhile(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a := w.comes("edge-1")
		w.waits("first", w.knocks(a))
		_, err := w.Review(t.Context(), w.by, a.enrollmentID, flow.Decision{Digest: w.review(a.enrollmentID).Digest, Reason: "not known"})
		w.must(err)
		if err := w.knocks(a); !errors.Is(err, flow.ErrNotLetIn) {
			t.Errorf("rejected: %v", err)
		}
		a.enrollmentID = w.agent("x").enrollmentID // another state directory does not help
		w.clock.Add(standard.ReviewTTL - time.Hour)
		if err := w.knocks(a); !errors.Is(err, flow.ErrNotLetIn) {
			t.Errorf("two days later: %v", err)
		}
		w.clock.Add(2 * time.Hour)
		w.show(a, a.key)
		w.waits("three days later", w.knocks(a))
	})
}

// ENR-06: what was shown is what is let in, and nothing that is over.
func TestWhatIsLetInIsWhatWasShown(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a := w.comes("edge-1")
		w.waits("first", w.knocks(a))
		if _, err := w.Review(t.Context(), w.by, a.enrollmentID, flow.Decision{Approve: true, Digest: "00", Reason: "x"}); !errors.Is(err, approval.ErrDigest) {
			t.Errorf("another digest: %v", err)
		}
		w.clock.Add(25 * time.Hour) // the certificate ends before the review does
		_, err := w.Review(t.Context(), w.by, a.enrollmentID, flow.Decision{Approve: true, Digest: w.review(a.enrollmentID).Digest, Reason: "x"})
		if !errors.Is(err, enroll.ErrState) || w.count("devices", "1=1") != 0 {
			t.Errorf("an expired certificate: %v", err)
		}
		b := w.comes("edge-2")
		w.waits("second", w.knocks(b))
		if err := w.StopIssuing(t.Context(), w.by, "keyCompromise"); err != nil {
			t.Fatal(err)
		}
		_, err = w.Review(t.Context(), w.by, b.enrollmentID, flow.Decision{Approve: true, Digest: w.review(b.enrollmentID).Digest, Reason: "x"})
		if !errors.Is(err, pki.ErrStopped) {
			t.Errorf("while issuing is stopped: %v", err)
		}
	})
}

// One serial number is one certificate: what the authority says of the one would be
// taken for the other.
func TestASerialNumberIsUsedOnce(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a, b := w.comes("edge-1"), w.comes("edge-2")
		w.waits("first", w.knocks(a))
		w.approve(a)
		w.showThat(b, w.other.Issue(t, "edge-2", b.key.Public(), w.clock.Now(), func(c *x509.Certificate) { c.SerialNumber = a.identity.Outside.Certificate.SerialNumber }))
		if err := w.knocks(b); !errors.Is(err, pki.ErrSerial) {
			t.Errorf("the same serial number: %v", err)
		}
		// One of ours may well have it.
		if w.count("certificates", "serial = ?", new(big.Int).Set(a.identity.Outside.Certificate.SerialNumber).Text(16)) != 0 {
			t.Error("it is in the way of our own serial numbers")
		}
	})
}

// REV-02: a certificate that was let in and that its authority revoked before it was used
// does not stand in the way of the next one.
func TestALetInCertificateThatIsRevokedElsewhereIsInNobodysWay(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a := w.letIn("edge-1")
		next, third := *a, *a
		w.show(&next, extcatest.Key(t))
		w.waits("another", w.knocks(&next))
		w.agree("edge-1")
		w.must(w.RevokedElsewhere(t.Context(), a.identity.Fingerprint, "superseded"))
		if n := w.count("identity_requests", "state = 'issued'"); n != 1 {
			t.Fatalf("%d wait for their first use after another certificate was revoked", n)
		}
		w.must(w.RevokedElsewhere(t.Context(), next.identity.Fingerprint, "keyCompromise"))
		if n := w.count("device_counters", "next_fingerprint <> ''"); n != 0 {
			t.Error("it waits for its first use")
		}
		if n := w.count("audit_entries", "action = ?", audit.IdentityReject); n != 1 {
			t.Errorf("%d entries", n)
		}
		w.show(&third, extcatest.Key(t))
		w.waits("the next one", w.knocks(&third))
	})
}

// C1: another certificate of the same authority is reviewed, and the one of before is
// good until then.
func TestAnotherCertificateIsReviewed(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a := w.letIn("edge-1")

		before, next := a.identity, *a
		w.show(&next, extcatest.Key(t))
		with := func(id certs.Identity) error { a.identity = id; return w.knocks(a) }
		w.waits("another key", with(next.identity))
		w.waits("again", with(next.identity))
		w.must(with(before))
		if n := w.count("identity_requests", "state = 'pending' AND kind = 'outside'"); n != 1 {
			t.Fatalf("%d reviews", n)
		}
		third := *a
		w.show(&third, extcatest.Key(t))
		if err := with(third.identity); !errors.Is(err, identity.ErrConflict) {
			t.Errorf("a third one: %v", err)
		}
		q := w.waiting("edge-1")
		if q.Kind != "outside" || q.Certificate != next.identity.Fingerprint || q.SignedBy != before.Fingerprint {
			t.Errorf("the reviewer is shown %+v", q)
		}
		w.agree("edge-1")
		w.must(with(before)) // until the new one is used
		w.must(with(next.identity))
		if err := with(before); !errors.Is(err, device.ErrCertificate) {
			t.Errorf("the one of before: %v", err)
		}
		if w.count("certificates", "device_id = 'edge-1' AND revoked_at = 0") != 1 {
			t.Error("two certificates are in force")
		}

		// A new certificate for the same key is another one, and reviewed, too.
		same := *a
		w.show(&same, a.key)
		w.waits("the same key", with(same.identity))
		_, err := w.IdentityReview(t.Context(), w.by, "edge-1", flow.Decision{Digest: w.waiting("edge-1").Digest, Reason: "why"})
		w.must(err)
		if err := with(same.identity); !errors.Is(err, flow.ErrNotLetIn) {
			t.Errorf("rejected: %v", err)
		}
		w.must(with(next.identity))
	})
}

// A device that was let in by our own authority goes over by the same review.
func TestADeviceGoesOverToAnotherAuthority(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, nil)
		a := w.enrolled("edge-1")
		w.must(a.beat())
		settings := standard
		settings.Outside = true
		w.Flow = w.flow(settings)
		w.run()
		x := &elsewhere{w, extcatest.NewRoot(t, "Other", w.clock.Now(), nil)}
		w.must(a.beat()) // what it has stays good
		own := a.identity
		x.show(a, extcatest.Key(t))
		x.waits("another authority's", x.knocks(a))
		outside := a.identity
		a.identity = own
		w.must(a.beat())
		w.agree("edge-1")
		a.identity = outside
		w.must(x.knocks(a))
		a.identity = own
		if err := a.beat(); !errors.Is(err, device.ErrCertificate) {
			t.Errorf("ours: %v", err)
		}
	})
}

// ENR-11: whoever is held, suspended or of another enrollment opens no review.
func TestWhoMayNotHaveAnotherCertificateOpensNoReview(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a := w.letIn("edge-1")
		next := *a
		w.show(&next, extcatest.Key(t))
		next.enrollmentID = w.agent("x").enrollmentID
		if err := w.knocks(&next); !errors.Is(err, device.ErrEnrollment) {
			t.Errorf("of another enrollment: %v", err)
		}
		next.enrollmentID = a.enrollmentID
		h := next.heartbeat()
		h.DeviceID = "edge-2"
		if err := w.Introduce(t.Context(), "", "", next.identity, h, flow.ErrIdentity); !errors.Is(err, flow.ErrIdentity) {
			t.Errorf("as another device: %v", err)
		}
		// What has changed since the heartbeat was judged counts, too.
		now := next.heartbeat()
		now.EnrollmentID = w.agent("x").enrollmentID
		if err := w.Introduce(t.Context(), "", "", next.identity, now, device.ErrCertificate); !errors.Is(err, device.ErrEnrollment) {
			t.Errorf("of another enrollment, meanwhile: %v", err)
		}
		w.must(w.Suspend(t.Context(), w.by, "edge-1", "x"))
		if err := w.Introduce(t.Context(), "", "", next.identity, next.heartbeat(), device.ErrCertificate); !errors.Is(err, device.ErrSuspended) {
			t.Errorf("suspended meanwhile: %v", err)
		}
		if err := w.knocks(&next); !errors.Is(err, device.ErrSuspended) {
			t.Errorf("suspended: %v", err)
		}
		if w.count("identity_requests", "1=1") != 0 {
			t.Error("a review was opened")
		}
	})
}

// C1: however many come at once, one key has one review.
func TestOneKeyHasOneReviewAtOnce(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a := w.comes("edge-1")
		var all sync.WaitGroup
		for range 8 {
			b := *a
			b.enrollmentID = w.agent("edge-1").enrollmentID
			all.Go(func() {
				h := b.heartbeat()
				_ = w.Introduce(w.Context(), "192.0.2.9", "", b.identity, h, device.ErrUnknown)
			})
		}
		all.Wait()
		if n := w.count("enrollments", "state = 'pending'"); n != 1 || w.count("approvals", "state = 'open'") != 1 {
			t.Errorf("%d reviews", n)
		}
	})
}

// A9: what its authority says is written down, and its device is not trusted any more.
func TestARevocationElsewhereIsWrittenDown(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a := w.letIn("edge-1")
		for range 2 { // said again, nothing changes
			w.must(w.RevokedElsewhere(t.Context(), a.identity.Fingerprint, "its authority revoked the certificate (reason 1)"))
		}
		if v := w.verdict("edge-1"); v.Verdict == trust.Trusted {
			t.Errorf("%+v", v)
		}
		if n := w.count("audit_entries", "action = ?", audit.CertRevoke); n != 1 {
			t.Errorf("%d entries", n)
		}
		w.must(w.RevokedElsewhere(t.Context(), "00", "of nobody's"))
	})
}

// A8, AGT-13: no way back leads from a certificate of another authority to one of ours,
// whichever key signs for it, and however it ended.
func TestADeviceOfAnotherAuthorityRecoversNothing(t *testing.T) {
	t.Parallel()
	onBothElsewhere(t, nil, func(w *elsewhere) {
		a := w.letIn("edge-1")
		for _, when := range []string{"in date", "expired"} {
			for name, r := range map[string]*wish{"with its key": a.wish(lost), "with another certificate": a.wish(lost, func(r *wish) { r.Current = certs.Fingerprint([]byte("another")) })} {
				if _, err := a.recoveryBy(r, a.identity.Outside.Certificate.Raw); !errors.Is(err, flow.ErrRenewal) {
					t.Errorf("%s, %s: %v", when, name, err)
				}
			}
			w.clock.Add(48 * time.Hour)
		}
		if n := w.count("identity_requests", "1 = 1"); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// A restore may have forgotten that a device had a certificate of ours, and know it by
// one of another authority: that one is its way in, and no other.
func TestALostCertificateOfOursLeadsNowhereFromAnothers(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, nil)
		ours := w.enrolled("edge-1")
		w.must(ours.beat())
		x := &elsewhere{w, extcatest.NewRoot(t, "Other", w.clock.Now(), nil)}
		leaf := x.other.Issue(t, "edge-1", extcatest.Key(t).Public(), w.clock.Now(), nil)
		w.must(w.d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
			authority, err := pki.KeepOutside(ctx, tx, x.other.Certificate)
			if err != nil {
				return err
			}
			cert, err := pki.FromOutside(leaf.Raw, authority, "edge-1", ours.enrollmentID, tx.Now)
			if err != nil {
				return err
			}
			return pki.Record(ctx, tx, cert)
		}))
		der := ours.der()
		w.clock.Add(time.Hour)
		w.backup()() // as it would stand in an older one:
		w.exec("DELETE FROM certificates WHERE fingerprint = ?", ours.identity.Fingerprint)
		w.exec("UPDATE device_counters SET fingerprint = ? WHERE device_id = 'edge-1'", certs.Fingerprint(leaf.Raw))
		_, err := flow.MarkRestored(t.Context(), w.d, w.outside, w.by, nil)
		w.must(err)
		if err := w.Unknown(t.Context(), ours.identity, device.ErrCertificate); !errors.Is(err, device.ErrCertificate) {
			t.Errorf("it is told %v", err)
		}
		if _, err := ours.recoveryBy(ours.wish(lost), der); !errors.Is(err, flow.ErrRenewal) {
			t.Errorf("%v", err)
		}
		if n := w.count("identity_requests", "1 = 1"); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// PKI-11: our own authorities change beside one that is not ours, and nobody is cut off.
func TestOurAuthoritiesChangeBesideAnother(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, nil)
		ours := w.enrolled("edge-1")
		w.must(ours.beat())
		first := w.active(certs.KindDevice)
		settings := standard
		settings.Outside = true
		w.Flow = w.flow(settings)
		w.run()
		x := &elsewhere{w, extcatest.NewRoot(t, "Other", w.clock.Now(), nil)}
		theirs := x.comes("edge-2")
		x.waits("the other authority's", x.knocks(theirs))
		w.approve(theirs)
		w.must(x.knocks(theirs))
		both := func(when string) {
			w.Helper()
			if err := errors.Join(ours.beat(), theirs.beat()); err != nil {
				w.Errorf("%s: %v", when, err)
			}
		}
		w.must(w.install(w.rotation(nil, certs.KindDevice), false))
		both("published")
		w.must(w.activate(certs.KindDevice, false))
		both("activated")
		var needed *flow.NeededError
		if err := w.install(w.rotation([]string{first}), false); !errors.As(err, &needed) || needed.Devices != 1 {
			t.Errorf("an authority that a device goes by was dropped: %v", err)
		}
		next := ours.renewed() // this server's own devices renew as before
		next.counter, next.beatNonce, next.receipt = ours.counter, ours.beatNonce, ours.receipt
		w.must(next.beat())
		ours = next
		w.must(w.install(w.rotation([]string{first}), false))
		both("the one of before dropped")
		if err := ours.believed(); err != nil {
			t.Error(err)
		}
	})
}
