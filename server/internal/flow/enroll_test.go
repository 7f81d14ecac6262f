package flow_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func (w *world) identify(der []byte) certs.Identity {
	w.Helper()
	cert, err := x509.ParseCertificate(der)
	w.must(err)
	issuers, _ := w.pki.Issuers(certs.KindDevice)
	id, err := certs.VerifyDevice([]*x509.Certificate{cert}, issuers, "fleet.test", w.clock.Now())
	w.must(err)
	return id
}

func TestADeviceIsLetInAfterAReview(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.agent("edge-1")
		secret, tokenID := w.token(enroll.NewToken{DeviceName: "Edge one", Owner: "ops", Labels: map[string]string{"site": "b"}, Sensitive: true})
		w.must(a.ask(secret))
		if r, err := a.poll(); err != nil || r.State != protocol.EnrollPending || r.Certificates != nil {
			w.Fatalf("before the review: %+v, %v", r, err)
		}
		if w.count("devices", "1 = 1") != 0 {
			w.Fatal("a device stands in the registry before its review")
		}
		review := w.review(a.enrollmentID)
		if review.Name != "Edge one" || review.Owner != "ops" || review.Labels["site"] != "b" || !review.Sensitive {
			w.Fatalf("the review does not show what the token gives: %+v", review)
		}
		code, err := certs.KeyCode(a.key.Public())
		w.must(err)
		if review.KeyCode != code {
			w.Fatalf("key code %s, the device prints %s", review.KeyCode, code)
		}
		w.approve(a)
		r, err := a.poll()
		w.must(err)
		if _, err := signing.VerifyRootChain([][]byte{r.FleetRoots[0]}, ""); err != nil {
			w.Fatal(err)
		}
		if a.identity.DeviceID != "edge-1" {
			w.Fatalf("the certificate is of %q", a.identity.DeviceID)
		}
		w.must(a.beat())
		token, err := enroll.TokenByID(w.Context(), w.d.Read(), tokenID)
		w.must(err)
		if token.Uses != 1 || token.LastUsedBy != "edge-1" || token.LastUsedAt == 0 {
			w.Errorf("the token does not say who used it: %+v", token)
		}
		for action, n := range map[string]int{audit.EnrollRequest: 1, audit.EnrollApprove: 1, audit.CertIssue: 1, audit.TokenCreate: 1} {
			if got := w.count("audit_entries", "action = ?", action); got != n {
				w.Errorf("%d entries of %s, want %d", got, action, n)
			}
		}
	})
}

// ENR-13: an answer is lost after the commit, and the device asks again.
func TestALostAnswerCostsNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.agent("edge-1")
		secret, tokenID := w.token(enroll.NewToken{Uses: 2})
		r := a.request(secret)
		for range 5 {
			answer, err := w.Enroll(w.Context(), "", "", r)
			w.must(err)
			a.nonce = answer.Nonce
		}
		w.approve(a)
		var first []byte
		for range 5 {
			r, err := a.poll()
			w.must(err)
			if first == nil {
				first = r.Certificates[0]
			}
			if string(first) != string(r.Certificates[0]) {
				w.Fatal("another poll gave another certificate")
			}
		}
		token, err := enroll.TokenByID(w.Context(), w.d.Read(), tokenID)
		w.must(err)
		if token.Uses != 1 {
			w.Errorf("%d uses taken for one device", token.Uses)
		}
		if n := w.count("certificates", "kind = 'device'"); n != 1 {
			w.Errorf("%d certificates", n)
		}
	})
}

// ENR-13, REL-01: an agent that is killed before it hears the answer makes its
// request again, with the same key and another signature.
func TestADeviceKilledBeforeItHeardGoesOn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.agent("edge-1")
		secret, tokenID := w.token(enroll.NewToken{Uses: 1})
		w.must(a.ask(secret))
		again := a.request(secret)
		if bytes.Equal(again.CSR, a.request(secret).CSR) {
			w.Fatal("its signatures are not random")
		}
		answer, err := w.Enroll(w.Context(), "", "", again)
		w.must(err)
		a.nonce = answer.Nonce
		w.approve(a)
		if r, err := a.poll(); err != nil || r.State != protocol.EnrollIssued {
			w.Fatalf("%+v %v", r, err)
		}
		token, err := enroll.TokenByID(w.Context(), w.d.Read(), tokenID)
		w.must(err)
		if token.Uses != 1 || w.count("enrollments", "1 = 1") != 1 {
			w.Errorf("%d uses taken for one device", token.Uses)
		}
	})
}

// ENR-01: one use, many devices at the same instant.
func TestAOneTimeTokenLetsOneDeviceIn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		for round := range 3 {
			secret, _ := w.token(enroll.NewToken{Uses: 1})
			var in, usedUp atomic.Int32
			var wg sync.WaitGroup
			start := make(chan struct{})
			for i := range 20 {
				a := w.agent(fmt.Sprintf("edge-%d-%d", round, i))
				r := a.request(secret)
				wg.Go(func() {
					<-start
					switch _, err := w.Enroll(context.Background(), "", "", r); {
					case err == nil:
						in.Add(1)
					case errors.Is(err, enroll.ErrTokenUsedUp):
						usedUp.Add(1)
					default:
						w.Errorf("refused for another reason: %v", err)
					}
				})
			}
			close(start)
			wg.Wait()
			if in.Load() != 1 || usedUp.Load() != 19 {
				w.Fatalf("%d let in, %d refused", in.Load(), usedUp.Load())
			}
		}
	})
}

func TestATokenIsRefusedWithItsOwnReason(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		secret, _ := w.token(enroll.NewToken{Uses: 3, Life: time.Hour})
		w.clock.Add(time.Hour - time.Microsecond)
		w.must(w.agent("in-time").ask(secret))
		w.clock.Add(time.Microsecond)
		if err := w.agent("late").ask(secret); !errors.Is(err, enroll.ErrTokenExpired) {
			w.Errorf("at its expiry: %v", err)
		}
		secret, id := w.token(enroll.NewToken{Uses: 3})
		w.must(w.enroll.RevokeToken(w.Context(), w.by, id, "leaked"))
		if err := w.agent("e").ask(secret); !errors.Is(err, enroll.ErrTokenRevoked) {
			w.Errorf("revoked: %v", err)
		}
		if err := w.enroll.RevokeToken(w.Context(), w.by, id, "again"); !errors.Is(err, enroll.ErrTokenEnded) {
			w.Errorf("revoked twice: %v", err)
		}
		if err := w.agent("f").ask("sxe_nothing"); !errors.Is(err, enroll.ErrTokenUnknown) {
			w.Errorf("unknown: %v", err)
		}
		if n := w.count("enrollments", "device_id <> 'in-time'"); n != 0 {
			w.Errorf("%d enrollments of refused requests", n)
		}
	})
}

// ENR-09: only a hash is stored.
func TestATokensSecretIsNowhereInTheDatabase(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		secret, _ := w.token(enroll.NewToken{Note: "canary"})
		w.must(w.agent("a").ask(secret))
		var rows []map[string]any
		for _, table := range []string{"enroll_tokens", "enrollments", "audit_entries", "approvals"} {
			rows = nil
			w.must(w.d.Read().NewSelect().Table(table).Scan(w.Context(), &rows))
			if len(rows) == 0 {
				w.Errorf("nothing in %s", table)
			}
			for _, r := range rows {
				for k, v := range r {
					if b, ok := v.([]byte); ok {
						v = string(b)
					}
					if s := fmt.Sprint(v); len(secret) > 10 && contains(s, secret[4:]) {
						w.Errorf("%s.%s holds the secret", table, k)
					}
				}
			}
		}
	})
}

// ENR-03 and ENR-07: a device_id that is or was in use is never taken over.
func TestADeviceIDIsNeverTakenOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(a.beat())
		secret, _ := w.token(enroll.NewToken{Uses: 10})
		if err := w.agent("edge-1").ask(secret); !errors.Is(err, flow.ErrDeviceExists) {
			w.Fatalf("while it lives: %v", err)
		}
		w.must(a.beat())
		w.must(w.Suspend(w.Context(), w.by, "edge-1", "lost"))
		if err := w.agent("edge-1").ask(secret); !errors.Is(err, flow.ErrDeviceExists) {
			w.Fatalf("while it is suspended: %v", err)
		}
		w.must(w.Revoke(w.Context(), w.by, "edge-1", "stolen"))
		if err := w.agent("edge-1").ask(secret); !errors.Is(err, flow.ErrDeviceGone) {
			w.Fatalf("after its revocation: %v", err)
		}
		// The revoked device's own enrollment gives it nothing any more.
		if _, err := a.poll(); !errors.Is(err, flow.ErrDeviceGone) {
			w.Fatalf("its own poll: %v", err)
		}
		if n := w.count("certificates", "kind = 'device'"); n != 1 {
			w.Errorf("%d certificates", n)
		}
	})
}

func TestTheFirstOfTwoEnrollmentsForOneDeviceIDWins(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		secret, _ := w.token(enroll.NewToken{Uses: 10})
		a, b, c := w.agent("edge-1"), w.agent("edge-1"), w.agent("edge-1")
		w.must(a.ask(secret))
		w.must(b.ask(secret))
		w.must(c.ask(secret))
		if n := w.review(a.enrollmentID).Rivals; n != 2 {
			w.Errorf("the reviewer is told of %d rivals", n)
		}
		w.approve(a)
		w.approve(b)
		_, err := b.poll()
		w.must(err)
		for _, loser := range []*agent{a, c} {
			if r, err := loser.poll(); err != nil || r.State != protocol.EnrollRejected || r.Certificates != nil {
				w.Errorf("a loser gets %+v, %v", r, err)
			}
		}
	})
}

// ENR-06: the approval names what was shown.
func TestAnApprovalBindsToWhatWasShown(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		secret, _ := w.token(enroll.NewToken{Uses: 10})
		a, b := w.agent("edge-1"), w.agent("edge-2")
		w.must(a.ask(secret))
		w.must(b.ask(secret))
		// The same enrollment_id with another key changes nothing.
		swapped := w.agent("edge-1")
		swapped.enrollmentID = a.enrollmentID
		if err := swapped.ask(secret); !errors.Is(err, enroll.ErrConflict) {
			w.Fatalf("a swapped key: %v", err)
		}
		for name, digest := range map[string]string{"none": "", "of another request": w.review(b.enrollmentID).Digest, "cut": w.review(a.enrollmentID).Digest[:60]} {
			if _, err := w.Review(w.Context(), w.by, a.enrollmentID, flow.Decision{Approve: true, Digest: digest, Reason: "x"}); !errors.Is(err, approval.ErrDigest) {
				w.Errorf("digest %s: %v", name, err)
			}
		}
		// Someone who may write to the database changes what is approved.
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE approvals SET action = ? WHERE subject_id = ?", []byte("{}"), a.enrollmentID)
			return err
		}))
		if _, err := w.Review(w.Context(), w.by, a.enrollmentID, flow.Decision{Approve: true, Digest: digestOf(w, a.enrollmentID), Reason: "x"}); !errors.Is(err, approval.ErrDigest) {
			w.Errorf("changed action: %v", err)
		}
		if r, err := a.poll(); err != nil || r.State != protocol.EnrollPending {
			w.Errorf("after all that: %+v, %v", r, err)
		}
	})
}

func digestOf(w *world, enrollmentID string) string {
	var digest string
	w.must(w.d.Read().NewSelect().Table("approvals").Column("digest").Where("subject_id = ?", enrollmentID).Scan(w.Context(), &digest))
	return digest
}

func TestADecisionIsMadeOnceWithAReasonInTime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		secret, _ := w.token(enroll.NewToken{Uses: 10})
		a, b, c := w.agent("edge-1"), w.agent("edge-2"), w.agent("edge-3")
		w.must(a.ask(secret))
		w.must(b.ask(secret))
		w.must(c.ask(secret))
		decide := func(a *agent, approve bool, reason string) error {
			_, err := w.Review(w.Context(), w.by, a.enrollmentID, flow.Decision{Approve: approve, Digest: w.review(a.enrollmentID).Digest, Reason: reason})
			return err
		}
		if err := decide(a, true, ""); !errors.Is(err, approval.ErrNoReason) {
			w.Errorf("no reason: %v", err)
		}
		w.must(decide(a, false, "not ours"))
		if r, err := a.poll(); err != nil || r.State != protocol.EnrollRejected || r.Reason != "not ours" {
			w.Errorf("the rejected device gets %+v, %v", r, err)
		}
		if err := decide(a, true, "changed my mind"); !errors.Is(err, enroll.ErrState) {
			w.Errorf("after a rejection: %v", err)
		}
		// Nobody without authority, and nobody whose authority is gone.
		gone := authz.NewBy(w.by.Actor, "a1", "Alice", func(context.Context, db.Tx) error { return authz.ErrDenied })
		for name, by := range map[string]authz.By{"none": {}, "gone": gone} {
			if _, err := w.Review(w.Context(), by, b.enrollmentID, flow.Decision{Approve: true, Digest: w.review(b.enrollmentID).Digest, Reason: "x"}); !errors.Is(err, authz.ErrDenied) {
				w.Errorf("authority %s: %v", name, err)
			}
		}
		w.clock.Add(72*time.Hour - time.Microsecond)
		w.must(decide(b, true, "in time"))
		w.clock.Add(time.Microsecond)
		if err := decide(c, true, "late"); !errors.Is(err, approval.ErrExpired) {
			w.Errorf("after the end: %v", err)
		}
		if _, err := b.poll(); !errors.Is(err, flow.ErrPollNonce) {
			w.Errorf("an old nonce: %v", err)
		}
		b.nonce = w.PollNonce(b.enrollmentID)
		if r, err := b.poll(); err != nil || r.State != protocol.EnrollExpired {
			w.Errorf("approved in time but fetched too late: %+v, %v", r, err)
		}
		w.must(w.ExpireEnrollments(w.Context()))
		if n := w.count("enrollments", "state = 'expired'"); n != 2 {
			w.Errorf("%d written down as expired", n)
		}
	})
}

func TestAnOpenWindowLetsInWithoutAReviewExceptSensitiveDevices(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		_, err := w.enroll.OpenWindow(w.Context(), w.by, 48*time.Hour, "too long")
		if !errors.Is(err, enroll.ErrWindow) {
			w.Errorf("two days: %v", err)
		}
		_, err = w.enroll.OpenWindow(w.Context(), w.by, time.Hour, "")
		if !errors.Is(err, enroll.ErrWindow) {
			w.Errorf("no reason: %v", err)
		}
		_, err = w.enroll.OpenWindow(w.Context(), w.by, time.Hour, "roll-out")
		w.must(err)
		secret, _ := w.token(enroll.NewToken{Uses: 10, Life: 10 * time.Hour})
		sensitive, _ := w.token(enroll.NewToken{Sensitive: true})
		a, b, c := w.agent("edge-1"), w.agent("edge-2"), w.agent("edge-3")
		w.must(a.ask(secret))
		if r, err := a.poll(); err != nil || r.State != protocol.EnrollIssued {
			w.Fatalf("inside: %+v, %v", r, err)
		}
		w.must(b.ask(sensitive))
		if r, err := b.poll(); err != nil || r.State != protocol.EnrollPending {
			w.Errorf("a sensitive one: %+v, %v", r, err)
		}
		w.clock.Add(time.Hour)
		w.must(c.ask(secret))
		if r, err := c.poll(); err != nil || r.State != protocol.EnrollPending {
			w.Errorf("afterwards: %+v, %v", r, err)
		}
		if w.count("audit_entries", "action = ? AND reason = 'roll-out'", audit.WindowOpen) != 1 {
			w.Error("the window is not audited")
		}
	})
}

// DOS-02: what strangers can make grow is bounded.
func TestReviewsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.MaxPending = 3 })
		secret, id := w.token(enroll.NewToken{Uses: 10})
		for i := range 3 {
			w.must(w.agent(fmt.Sprint("edge-", i)).ask(secret))
		}
		if err := w.agent("edge-4").ask(secret); !errors.Is(err, enroll.ErrFull) {
			w.Fatalf("the fourth: %v", err)
		}
		token, err := enroll.TokenByID(w.Context(), w.d.Read(), id)
		w.must(err)
		if token.Uses != 3 {
			w.Errorf("a refused request took a use: %d", token.Uses)
		}
	})
}

func TestAPollMustComeFromTheKeyThatEnrolls(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		secret, _ := w.token(enroll.NewToken{Uses: 10})
		a := w.agent("edge-1")
		w.must(a.ask(secret))
		w.approve(a)
		good := a.pollBody()
		stranger := *a
		stranger.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if _, err := stranger.poll(); !errors.Is(err, flow.ErrPoll) {
			w.Errorf("another key: %v", err)
		}
		other := w.agent("edge-2")
		w.must(other.ask(secret))
		if _, err := w.Poll(w.Context(), "", "", other.enrollmentID, good); !errors.Is(err, flow.ErrPoll) {
			w.Errorf("another enrollment: %v", err)
		}
		if _, err := w.Poll(w.Context(), "", "", db.NewID(w.clock.Now()), good); !errors.Is(err, enroll.ErrUnknown) {
			w.Errorf("no enrollment: %v", err)
		}
		if n := w.count("certificates", "kind = 'device'"); n != 0 {
			w.Fatalf("%d certificates handed out", n)
		}
		a.nonce = other.nonce
		if _, err := a.poll(); !errors.Is(err, flow.ErrPollNonce) {
			w.Errorf("another enrollment's nonce: %v", err)
		}
	})
}

// AUD-03: if the entry cannot be written, the act does not happen.
func TestNoActWithoutItsAuditEntry(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		b := w.agent("edge-2")
		secret, tokenID := w.token(enroll.NewToken{Uses: 5})
		w.must(b.ask(secret))
		c := w.agent("edge-3")
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "ALTER TABLE audit_entries RENAME TO audit_gone")
			return err
		}))
		for name, act := range map[string]func() error{
			"enroll":  func() error { return c.ask(secret) },
			"revoke":  func() error { return w.Revoke(w.Context(), w.by, "edge-1", "x") },
			"suspend": func() error { return w.Suspend(w.Context(), w.by, "edge-1", "x") },
			"token": func() error {
				_, _, err := w.enroll.CreateToken(w.Context(), w.by, enroll.NewToken{Uses: 1, Life: time.Hour})
				return err
			},
			"token revoke": func() error { return w.enroll.RevokeToken(w.Context(), w.by, tokenID, "x") },
			"window":       func() error { _, err := w.enroll.OpenWindow(w.Context(), w.by, time.Hour, "x"); return err },
			"approve": func() error {
				_, err := w.Review(w.Context(), w.by, b.enrollmentID, flow.Decision{Approve: true, Digest: w.review(b.enrollmentID).Digest, Reason: "x"})
				return err
			},
		} {
			if act() == nil {
				w.Errorf("%s: done without its entry", name)
			}
		}
		for what, n := range map[string]int{
			"devices|state <> 'active'": 0, "enroll_tokens|revoked_at > 0": 0, "enroll_windows|1 = 1": 0, "enrollments|device_id = 'edge-3'": 0,
			"enrollments|state = 'approved'": 0, "enroll_tokens|1 = 1": 2, "certificates|revoked_at > 0": 0, "device_counters|gate > 0": 0,
		} {
			table, where := cut(what)
			if got := w.count(table, where); got != n {
				w.Errorf("%s: %d rows, want %d", what, got, n)
			}
		}
		w.must(a.beat())
	})
}
