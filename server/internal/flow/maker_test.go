package flow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// APR-01: letting a device in takes two persons, one who gave out the token and
// one who looked at what came of it. Accounts do not count, and refusing is anyone's.
func TestNobodyLetsInWhatCameByTheirOwnToken(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		own, _, err := w.enroll.CreateToken(w.Context(), w.by, enroll.NewToken{Uses: 10, Life: time.Hour})
		w.must(err)
		if own.CreatedBy != "alice" || own.Person != "Alice" {
			w.Fatalf("made by %q, who is %q", own.CreatedBy, own.Person)
		}
		_, secret, err := w.enroll.CreateToken(w.Context(), w.by, enroll.NewToken{Uses: 10, Life: time.Hour})
		w.must(err)
		a, b := w.agent("edge-1"), w.agent("edge-2")
		w.must(a.ask(secret))
		w.must(b.ask(secret))
		decide := func(by authz.By, a *agent, approve bool) error {
			_, err := w.Review(w.Context(), by, a.enrollmentID, flow.Decision{Approve: approve, Digest: w.review(a.enrollmentID).Digest, Reason: "x"})
			return err
		}
		for _, by := range []authz.By{w.by, person("alice2", "a2", "Alice")} {
			if err := decide(by, a, true); !errors.Is(err, approval.ErrOwn) {
				w.Errorf("%s lets in what came by alice's token: %v", by.ID, err)
			}
		}
		if r, err := a.poll(); err != nil || r.State != protocol.EnrollPending {
			w.Fatalf("after that: %+v, %v", r, err)
		}
		w.must(decide(w.maker, a, true))
		if r, err := a.poll(); err != nil || r.State != protocol.EnrollIssued {
			w.Errorf("another person: %+v, %v", r, err)
		}
		w.must(decide(w.by, b, false))
	})
}
