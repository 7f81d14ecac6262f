package flow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// A renewal that is reviewed is given only to the key that a person agreed to.
func TestARenewalWaitsForAPersonWhereRulesSaySo(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(s *flow.Settings) enroll.NewToken{
		"by setting":          func(s *flow.Settings) enroll.NewToken { s.ReviewRotations = true; return enroll.NewToken{} },
		"for being sensitive": func(*flow.Settings) enroll.NewToken { return enroll.NewToken{Sensitive: true} },
	} {
		dbtest.Both(t, func(t *testing.T, url string) {
			t.Log(name)
			var token enroll.NewToken
			w := newWorld(t, url, func(s *flow.Settings) { token = prepare(s) })
			a := w.agent("edge-1")
			secret, _ := w.token(token)
			w.must(a.ask(secret))
			w.approve(a)
			_, err := a.poll()
			w.must(err)
			w.must(a.beat())

			dropped, wish := a.wish(), a.wish()
			for _, r := range []*signing.Renewal{&dropped.Renewal, &wish.Renewal, &wish.Renewal} {
				x := dropped
				if r == &wish.Renewal {
					x = wish
				}
				answer, err := a.renew(x)
				w.must(err)
				if answer.State != protocol.EnrollPending || answer.RetryAfterSeconds == 0 || answer.Certificates != nil {
					w.Fatalf("answer %+v", answer)
				}
			}
			if n := w.count("identity_requests", "state = 'pending'"); n != 1 || w.count("certificates", "kind = 'device'") != 1 {
				w.Fatalf("%d requests wait", n)
			}
			shown := w.waiting("edge-1")
			if code, _ := certs.KeyCode(wish.next.Public()); shown.KeyCode != code || shown.Kind != "renewal" || shown.RequestID != wish.RequestID {
				w.Fatalf("shown %+v", shown)
			}
			for what, d := range map[error]flow.Decision{
				approval.ErrDigest:   {Approve: true, Digest: strings.Repeat("0", 64), Reason: "x"},
				approval.ErrNoReason: {Approve: true, Digest: shown.Digest},
			} {
				if _, err := w.IdentityReview(t.Context(), w.by, "edge-1", d); !errors.Is(err, what) {
					w.Errorf("%v: %v", what, err)
				}
			}
			w.agree("edge-1")
			answer, err := a.renew(wish)
			w.must(err)
			again, err := a.renew(wish)
			w.must(err)
			if answer.State != protocol.EnrollIssued || !slices.EqualFunc(answer.Certificates, again.Certificates, slices.Equal) {
				w.Fatalf("answer %+v", answer)
			}
			if answer, err := a.renew(dropped); err != nil || answer.State != protocol.EnrollRejected {
				w.Errorf("the one that was replaced: %+v %v", answer, err)
			}
			b := a.with(wish, answer.Certificates)
			w.must(b.beat())

			c := b.wish()
			_, err = b.renew(c)
			w.must(err)
			_, err = w.IdentityReview(t.Context(), w.by, "edge-1", flow.Decision{Reason: "do not know it"})
			if !errors.Is(err, approval.ErrDigest) {
				w.Errorf("a rejection of what was not shown: %v", err)
			}
			_, err = w.IdentityReview(t.Context(), w.by, "edge-1", flow.Decision{Digest: w.waiting("edge-1").Digest, Reason: "do not know it"})
			w.must(err)
			if answer, err := b.renew(c); err != nil || answer.State != protocol.EnrollRejected || answer.Reason != "do not know it" {
				w.Errorf("after a rejection: %+v %v", answer, err)
			}
			w.must(b.beat())
		})
	}
}

// ENR-07: what was approved is checked again when the device comes for it.
func TestAnApprovedRenewalOfAStoppedDeviceGivesNothing(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, func(s *flow.Settings) { s.ReviewRotations = true })
		a := w.enrolled("edge-1")
		wish := a.wish()
		_, err := a.renew(wish)
		w.must(err)
		w.agree("edge-1")
		w.must(w.Suspend(t.Context(), w.by, "edge-1", "test"))
		if _, err := a.renew(wish); !errors.Is(err, device.ErrSuspended) {
			w.Errorf("suspended: %v", err)
		}
		w.must(w.give(w.Resume, "edge-1", "test"))
		w.must(w.Revoke(t.Context(), w.by, "edge-1", "test"))
		if _, err := a.renew(wish); !errors.Is(err, device.ErrRevoked) {
			w.Errorf("revoked: %v", err)
		}
		if n := w.count("certificates", "kind = 'device'"); n != 1 {
			w.Errorf("%d certificates", n)
		}
	})
}

// SES-03: what was allowed at the door is asked again inside the transaction.
func TestAnIdentityReviewAsksForTheRightsAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		gone := authz.NewBy(audit.Actor{Kind: audit.Person, ID: "carol"}, "a1", "Carol", func(context.Context, db.Tx) error { return authz.ErrDenied })
		a := w.enrolled("edge-1")
		w.clock.Add(8 * 24 * time.Hour)
		_, err := a.recovery(a.wish(lost))
		w.must(err)
		if _, err := w.IdentityReview(t.Context(), gone, "edge-1", flow.Decision{Approve: true, Digest: w.waiting("edge-1").Digest, Reason: "x"}); !errors.Is(err, authz.ErrDenied) {
			w.Errorf("a review: %v", err)
		}
		w.must(w.install(w.rotation(nil, certs.KindDevice), false))
		if err := flow.ActivateAuthority(t.Context(), w.d, w.pki, gone, certs.KindDevice, false); !errors.Is(err, authz.ErrDenied) {
			w.Errorf("a change of authorities: %v", err)
		}
		w.waiting("edge-1")
	})
}
