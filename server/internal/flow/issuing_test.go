package flow_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// starting asks to start issuing again, and has another person agree.
func (w *world) starting() {
	w.Helper()
	asked, err := w.AskToStart(w.Context(), w.by, "found the fault")
	w.must(err)
	state, err := w.Decide(w.Context(), w.maker, asked.ID, flow.Decision{Approve: true, Digest: asked.Digest, Reason: "seen"})
	w.must(err)
	if state != approval.Executed {
		w.Fatalf("it did not start: %s", state)
	}
}

// Boulder's lesson: one person stops the issuing of certificates at once, by every
// way to one; what devices have goes on, and nothing is lost when it starts again.
func TestWhileIssuingIsStoppedNoDeviceGetsACertificate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		ctx := w.Context()
		expired := w.enrolled("edge-3")
		w.must(expired.beat())
		w.clock.Add(30 * 24 * time.Hour)
		asks, err := expired.recovery(expired.wish(lost))
		w.must(err)
		w.agree("edge-3")
		joins := w.agent("edge-2")
		secret, _ := w.token(enroll.NewToken{})
		w.must(joins.ask(secret))
		w.approve(joins)
		renews, given := w.enrolled("edge-1"), w.enrolled("edge-4")
		w.must(renews.beat())
		had := given.wish()
		before, err := given.renew(had)
		w.must(err)

		w.must(w.StopIssuing(ctx, w.by, "a key may be stolen"))
		certificates := w.count("certificates", "kind = 'device'")
		wish := renews.wish()
		for name, ask := range map[string]func() error{
			"enrollment": func() error { _, err := joins.poll(); return err },
			"renewal":    func() error { _, err := renews.renew(wish); return err },
			"recovery":   func() error { _, err := asks.poll(); return err },
		} {
			for range 2 {
				if err := ask(); !errors.Is(err, pki.ErrStopped) {
					w.Errorf("%s: %v", name, err)
				}
			}
		}
		if n := w.count("certificates", "kind = 'device'"); n != certificates {
			w.Errorf("%d certificates were recorded", n-certificates)
		}
		w.must(renews.beat())
		if again, err := given.renew(had); err != nil || string(again.Certificates[0]) != string(before.Certificates[0]) {
			w.Errorf("what was given before is not given again: %v", err)
		}
		if err := w.StopIssuing(ctx, w.by, "again"); !errors.Is(err, pki.ErrStoppedAlready) {
			w.Errorf("stopped twice: %v", err)
		}
		if s, err := w.Issuing(ctx); err != nil || !s.Stopped || s.StoppedBy != "alice" || s.Reason != "a key may be stolen" || !s.StoppedAt.Equal(w.clock.Now()) || s.Start != nil {
			w.Errorf("it stands as %+v, %v", s, err)
		}

		w.starting()
		if r, err := joins.poll(); err != nil || r.State != protocol.EnrollIssued {
			w.Errorf("the enrollment: %+v, %v", r, err)
		}
		if r, err := renews.renew(wish); err != nil || r.State != protocol.EnrollIssued {
			w.Errorf("the renewal: %+v, %v", r, err)
		}
		if r, err := asks.poll(); err != nil || r.State != protocol.EnrollIssued {
			w.Errorf("the recovery: %+v, %v", r, err)
		}
		for _, action := range []string{"issuing.stop", "issuing.ask", "issuing.start"} {
			if n := w.count("audit_entries", "action = ? AND result = 'done'", action); n != 1 {
				w.Errorf("%d entries of %s", n, action)
			}
		}
	})
}

// APR-01, APR-02, APR-06: starting again takes two persons, about this stop.
func TestStartingAgainTakesTwo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		ctx := w.Context()
		decide := func(by authz.By, asked *flow.StartRequest, digest string, approve bool) error {
			_, err := w.Decide(ctx, by, asked.ID, flow.Decision{Approve: approve, Digest: digest, Reason: "x"})
			return err
		}
		stopped := func(want bool) {
			w.Helper()
			if s, err := w.Issuing(ctx); err != nil || s.Stopped != want {
				w.Errorf("it stands as %+v, %v", s, err)
			}
		}
		if _, err := w.AskToStart(ctx, w.by, "x"); !errors.Is(err, pki.ErrNotStopped) {
			w.Errorf("asked without a stop: %v", err)
		}
		w.must(w.StopIssuing(ctx, w.by, "x"))
		first, err := w.AskToStart(ctx, w.by, "one")
		w.must(err)
		second, err := w.AskToStart(ctx, w.by, "another") // takes its place
		w.must(err)
		alias := person("alice2", "a2", "Alice")
		for name, c := range map[string]struct {
			by     authz.By
			asked  *flow.StartRequest
			digest string
			want   error
		}{
			"who asked":                    {w.by, second, second.Digest, approval.ErrOwn},
			"another account of who asked": {alias, second, second.Digest, approval.ErrOwn},
			"of what was asked before":     {w.maker, second, first.Digest, approval.ErrDigest},
			"what was asked before":        {w.maker, first, first.Digest, approval.ErrClosed},
			"nobody":                       {authz.By{}, second, second.Digest, authz.ErrDenied},
			"the host":                     {authz.Host("test"), second, second.Digest, authz.ErrDenied},
		} {
			if err := decide(c.by, c.asked, c.digest, true); !errors.Is(err, c.want) {
				w.Errorf("%s: %v", name, err)
			}
		}
		w.must(decide(w.maker, second, second.Digest, false)) // rejected
		if s, err := w.Issuing(ctx); err != nil || !s.Stopped || s.Start != nil {
			w.Errorf("after a refusal: %+v, %v", s, err)
		}
		if err := decide(w.maker, second, second.Digest, true); !errors.Is(err, approval.ErrClosed) {
			w.Errorf("after a refusal: %v", err)
		}
		late, err := w.AskToStart(ctx, w.by, "x")
		w.must(err)
		w.clock.Add(25 * time.Hour)
		if err := decide(w.maker, late, late.Digest, true); !errors.Is(err, approval.ErrExpired) {
			w.Errorf("after a day: %v", err)
		}
		stopped(true)
		w.starting()
		stopped(false)
		w.must(w.StopIssuing(ctx, w.by, "x")) // a later stop is another one
		for _, old := range []*flow.StartRequest{first, second, late} {
			if err := decide(w.maker, old, old.Digest, true); !errors.Is(err, approval.ErrClosed) {
				w.Errorf("an agreement to an earlier stop: %v", err)
			}
		}
		stopped(true)
		for _, act := range []func() error{
			func() error { return w.StopIssuing(ctx, w.by, "") },
			func() error { _, err := w.AskToStart(ctx, w.by, ""); return err },
		} {
			if err := act(); !errors.Is(err, flow.ErrReason) {
				w.Errorf("without a reason: %v", err)
			}
		}
	})
}

// Once a stop is acknowledged no certificate is recorded, by whichever node and
// however many are on their way.
func TestAStopHoldsFromTheMomentItIsAcknowledged(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		nodes := []*world{w}
		if w.d.Dialect() == "postgres" {
			nodes = append(nodes, w.sibling())
		}
		const devices = 12
		fleet := make([]*agent, devices)
		for i := range fleet {
			fleet[i] = w.enrolled("edge-" + string(rune('a'+i)))
			w.must(fleet[i].beat())
			fleet[i].on(nodes[i%len(nodes)])
		}
		var at sync.WaitGroup
		begun := make(chan struct{}, devices)
		for _, a := range fleet {
			wishes := []*wish{a.wish(), a.wish(), a.wish()}
			at.Go(func() {
				for _, wish := range wishes {
					begun <- struct{}{}
					_, _ = a.renew(wish)
				}
			})
		}
		<-begun
		w.must(w.StopIssuing(context.Background(), w.by, "x"))
		after := w.count("certificates", "kind = 'device'")
		go func() {
			for range begun { // only makes room
			}
		}()
		at.Wait()
		close(begun)
		if n := w.count("certificates", "kind = 'device'"); n != after {
			w.Errorf("%d certificates were recorded after the stop was acknowledged", n-after)
		}
	})
}

// APR-04: nothing waits for a request to start again, so upkeep writes down that its
// time is over.
func TestARequestToStartAgainExpires(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.must(w.StopIssuing(w.Context(), w.by, "a key may be stolen"))
		asked, err := w.AskToStart(w.Context(), w.by, "found the fault")
		w.must(err)
		w.must(w.ExpireApprovals(w.Context()))
		if n := w.count("approvals", "id = '"+asked.ID+"' AND state = 'open'"); n != 1 {
			t.Error("it ended before its time")
		}
		w.clock.Add(asked.ExpiresAt.Sub(w.clock.Now()) + time.Second)
		w.must(w.ExpireApprovals(w.Context()))
		if n := w.count("approvals", "id = '"+asked.ID+"' AND state = 'expired'"); n != 1 {
			t.Error("its time is over, and nobody wrote it down")
		}
	})
}
