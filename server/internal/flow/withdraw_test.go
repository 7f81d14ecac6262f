package flow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// rejected demands that a device is told that it was refused, and got nothing.
func (a *agent) rejected(reason string) {
	a.w.Helper()
	r, err := a.poll()
	if err != nil || r.State != protocol.EnrollRejected || r.Reason != reason || r.Certificates != nil {
		a.w.Errorf("%s gets %+v, %v; want a refusal because %q", a.id, r, err, reason)
	}
	if n := a.w.count("certificates", "device_id = ?", a.id); n != 0 {
		a.w.Errorf("%s has %d certificates", a.id, n)
	}
	if n := a.w.count("audit_entries", "action = ? AND object_id = ? AND reason = ?", audit.EnrollReject, a.id, reason); n != 1 {
		a.w.Errorf("%d entries about the refusal of %s", n, a.id)
	}
}

// window opens one for an hour.
func (w *world) window() {
	w.Helper()
	_, err := w.enroll.OpenWindow(w.Context(), w.by, time.Hour, "roll-out")
	w.must(err)
}

// ENR-06: whoever notices a wrong approval before the device came back is in time.
func TestAnApprovalIsTakenBackBeforeTheDeviceFetchedItsCertificate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		reject := func(a *agent, reason string) (protocol.EnrollState, error) {
			return w.Review(w.Context(), w.by, a.enrollmentID, flow.Decision{Reason: reason})
		}
		secret, _ := w.token(enroll.NewToken{Uses: 10})
		reviewed, unreviewed, fetched := w.agent("edge-1"), w.agent("edge-2"), w.agent("edge-3")
		w.must(reviewed.ask(secret))
		w.approve(reviewed)
		w.must(fetched.ask(secret))
		w.approve(fetched)
		w.window()
		w.must(unreviewed.ask(secret))
		if _, err := reject(reviewed, ""); !errors.Is(err, approval.ErrNoReason) {
			w.Errorf("without a reason: %v", err)
		}
		for _, a := range []*agent{reviewed, unreviewed} {
			if state, err := reject(a, "wrong machine"); err != nil || state != protocol.EnrollRejected {
				w.Fatalf("%s: %s, %v", a.id, state, err)
			}
			a.rejected("wrong machine")
			if _, err := reject(a, "again"); !errors.Is(err, enroll.ErrState) {
				w.Errorf("%s a second time: %v", a.id, err)
			}
		}
		_, err := fetched.poll()
		w.must(err)
		if _, err := reject(fetched, "too late"); !errors.Is(err, enroll.ErrState) {
			w.Errorf("after it fetched its certificate: %v", err)
		}
		w.must(fetched.beat())
	})
}

// ENR-09: what rests on a token ends with it; what a person agreed to stays.
func TestARevokedTokenTakesWhatRestsOnItAlong(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		secret, id := w.token(enroll.NewToken{Uses: 10})
		other, _ := w.token(enroll.NewToken{Uses: 10})
		waits, agreed, elsewhere, unreviewed := w.agent("edge-1"), w.agent("edge-2"), w.agent("edge-3"), w.agent("edge-4")
		w.must(waits.ask(secret))
		w.must(agreed.ask(secret))
		w.must(elsewhere.ask(other))
		w.approve(agreed)
		digest := w.review(waits.enrollmentID).Digest
		w.window()
		w.must(unreviewed.ask(secret))
		w.must(w.enroll.RevokeToken(w.Context(), w.by, id, "leaked"))

		waits.rejected("the enrollment token was revoked")
		unreviewed.rejected("the enrollment token was revoked")
		if n := w.count("approvals", "subject_id = ? AND state = ?", waits.enrollmentID, approval.Void); n != 1 {
			w.Error("what nobody decided can still be decided")
		}
		if _, err := w.Review(w.Context(), w.by, waits.enrollmentID, flow.Decision{Approve: true, Digest: digest, Reason: "x"}); !errors.Is(err, enroll.ErrState) {
			w.Errorf("an approval afterwards: %v", err)
		}
		if r, err := agreed.poll(); err != nil || r.State != protocol.EnrollIssued {
			w.Errorf("one that a person agreed to: %+v, %v", r, err)
		}
		if r, err := elsewhere.poll(); err != nil || r.State != protocol.EnrollPending {
			w.Errorf("one of another token: %+v, %v", r, err)
		}
	})
}

// ENR-02: a window that is closed lets in nobody who did not fetch a certificate.
func TestAClosedWindowTakesWhatRestsOnItAlong(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		secret, _ := w.token(enroll.NewToken{Uses: 10})
		agreed, unreviewed, inside := w.agent("edge-1"), w.agent("edge-2"), w.agent("edge-3")
		w.must(agreed.ask(secret))
		w.approve(agreed)
		w.window()
		w.must(unreviewed.ask(secret))
		w.must(inside.ask(secret))
		_, err := inside.poll()
		w.must(err)
		w.must(w.enroll.CloseWindow(w.Context(), w.by, "strangers came"))

		unreviewed.rejected("the enrollment window was closed")
		if r, err := agreed.poll(); err != nil || r.State != protocol.EnrollIssued {
			w.Errorf("one that a person agreed to: %+v, %v", r, err)
		}
		w.must(inside.beat())
	})
}

// ENR-09: whatever an enrollment's row says, nobody but the token spoke for a
// device that was not reviewed. The token is asked again when it is let in.
func TestADeviceWithoutAReviewNeedsItsTokenToTheEnd(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		secret, id := w.token(enroll.NewToken{Uses: 10})
		agreed, unreviewed := w.agent("edge-1"), w.agent("edge-2")
		w.must(agreed.ask(secret))
		w.approve(agreed)
		w.window()
		w.must(unreviewed.ask(secret))
		// Only the token is ended, as by someone at the database.
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE enroll_tokens SET revoked_at = 1, revoked_by = 'x' WHERE id = ?", id)
			return err
		}))
		if _, err := unreviewed.poll(); !errors.Is(err, enroll.ErrTokenRevoked) {
			w.Errorf("without a review: %v", err)
		}
		if n := w.count("devices", "device_id = 'edge-2'"); n != 0 {
			w.Error("it is let in")
		}
		if r, err := agreed.poll(); err != nil || r.State != protocol.EnrollIssued {
			w.Errorf("with a review: %+v, %v", r, err)
		}
	})
}

// REV-07: what a device asked for goes with it, however far it came, so that nobody is
// left to decide about it and nothing of it can be fetched.
func TestWhatARevokedDeviceAskedForEndsWithIt(t *testing.T) {
	t.Parallel()
	for name, reach := range map[string]func(w *world, a *agent, r *wish){
		"waiting":  func(*world, *agent, *wish) {},
		"approved": func(w *world, _ *agent, _ *wish) { w.agree("edge-1") },
		"issued": func(w *world, a *agent, r *wish) {
			w.agree("edge-1")
			answer, err := a.renew(r)
			if w.must(err); answer.State != protocol.EnrollIssued {
				w.Fatalf("answer %+v", answer)
			}
		},
	} {
		dbtest.Both(t, func(t *testing.T, url string) {
			t.Log(name)
			w := newWorld(t, url, func(s *flow.Settings) { s.ReviewRotations = true })
			a, other := w.enrolled("edge-1"), w.enrolled("edge-2")
			r := a.wish()
			for _, ask := range []func() (*protocol.RenewAnswer, error){func() (*protocol.RenewAnswer, error) { return a.renew(r) }, func() (*protocol.RenewAnswer, error) { return other.renew(other.wish()) }} {
				_, err := ask()
				w.must(err)
			}
			reach(w, a, r)
			w.must(w.Revoke(t.Context(), w.by, "edge-1", "stolen"))
			if n := w.count("identity_requests", "device_id = 'edge-1' AND state = 'rejected' AND reason = 'the device was revoked'"); n != 1 {
				w.Error("its request is not closed")
			}
			if w.count("identity_requests", "state IN ('pending', 'approved', 'issued')") != 1 || w.count("approvals", "state = 'open'") != 1 {
				w.Error("what is open is not the other device's alone")
			}
			if w.count("device_counters", "device_id = 'edge-1' AND next_fingerprint <> ''") != 0 {
				w.Error("a certificate waits for its first use")
			}
			if w.count("certificates", "device_id = 'edge-1' AND revoked_at = 0") != 0 || w.count("certificates", "device_id = 'edge-1' AND revoked_reason <> 'stolen'") != 0 {
				w.Error("a certificate of it ended otherwise, or not")
			}
			if n := w.count("audit_entries", "action = ? AND object_id = 'edge-1'", audit.IdentityReject); n != 1 {
				w.Errorf("%d entries", n)
			}
		})
	}
}
