//go:build heavy

package heavy

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// Two hundred devices beat without a pause while people suspend, resume and
// revoke. Nothing is accepted from a device whose revocation or suspension was
// acknowledged, nothing is refused for another reason, counters only rise, and
// every act has its one entry. REV-01, AUD-03
func TestActsHoldUnderLoad(t *testing.T) {
	length := 20 * time.Second * time.Duration(min(rounds.Of(t), 6))
	onBoth(t, func(t *testing.T, database string) {
		f := newFleet(t, database)
		list := make([]*soaked, 200)
		for i, d := range f.devices(len(list)) {
			list[i] = &soaked{Device: d}
		}
		ctx, stop := context.WithTimeout(t.Context(), length)
		defer stop()
		var all sync.WaitGroup
		for _, s := range list {
			all.Go(func() {
				if err := s.beat(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		var acts [2]tally
		for i := range acts {
			all.Go(func() { acts[i].act(ctx, t, f.guard, f.reviewer, list) })
		}
		all.Go(func() { onlyRise(ctx, t, f.read()) })
		all.Wait()

		acts[0].add(acts[1])
		var took []time.Duration
		revoked, met := 0, 0
		stored, err := counters(f.read())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			took = append(took, s.took...)
			met += s.met
			if s.revoked.acknowledged {
				revoked++
			}
			if stored[s.ID] != s.accepted {
				t.Errorf("%s: the server stored counter %d and accepted %d", s.ID, stored[s.ID], s.accepted)
			}
		}
		for action, want := range map[string]int{
			"certificate.revoke": revoked, "device.suspend": acts[0].suspended, "device.resume": acts[0].resumed, "device.hold": 0,
		} {
			if n := f.Count("audit_entries", "action = ? AND result = 'done'", action); n != want {
				t.Errorf("%d entries of %s, and it was done %d times", n, action, want)
			}
		}
		if n := f.Count("devices", "state = 'revoked'"); n != revoked {
			t.Errorf("%d devices are revoked, and %d revocations were acknowledged", n, revoked)
		}
		t.Logf("heartbeats accepted: %s, p50 %v, p99 %v; %d suspensions, %d resumptions, %d revocations, %d acts refused, %d heartbeats met a change under way",
			perSecond(len(took), length), quantile(took, 0.5), quantile(took, 0.99), acts[0].suspended, acts[0].resumed, revoked, acts[0].refused, met)
	})
}

// soaked is a device with what people have done to it. An act is under way from
// the moment it is asked for, and is in force from its acknowledgement.
type soaked struct {
	*servertest.Device
	accepted int64
	took     []time.Duration
	met      int // changes under way

	acting sync.Mutex // one act at a time

	mu        sync.Mutex
	revoked   act
	suspended act
	changes   int // rises with every suspension or resumption that is asked for
}

type act struct{ asked, acknowledged bool }

type standing struct {
	revoked, suspended act
	changes            int
}

func (s *soaked) standing() standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return standing{s.revoked, s.suspended, s.changes}
}

func (s *soaked) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// beat sends heartbeats until ctx ends, and judges each answer by what people had
// done before it was sent and until it came.
func (s *soaked) beat(ctx context.Context) error {
	for ctx.Err() == nil {
		before, begin := s.standing(), time.Now()
		problem, err := s.Beat()
		took, after := time.Since(begin), s.standing()
		if err != nil {
			return fmt.Errorf("%s: %w", s.ID, err)
		}
		still := before.changes == after.changes
		wait := time.Duration(0)
		switch {
		case problem == nil && before.revoked.acknowledged:
			return fmt.Errorf("%s: ACCEPTED after its revocation was acknowledged", s.ID)
		case problem == nil && before.suspended.acknowledged && still:
			return fmt.Errorf("%s: ACCEPTED after its suspension was acknowledged", s.ID)
		case problem == nil:
			s.accepted = s.Counter
			s.took = append(s.took, took)
		case problem.Code == protocol.CodeDeviceRevoked && after.revoked.asked:
			wait = 50 * time.Millisecond // it stays so
		case problem.Code == protocol.CodeDeviceSuspended && (before.suspended.asked || !still):
			wait = 5 * time.Millisecond
		case problem.Code == protocol.CodeNotReady && (before.suspended.asked || !still):
			s.met++ // a resumption under way, and is told to come back
			wait = 5 * time.Millisecond
		default:
			return fmt.Errorf("%s: refused as %s without a reason: %v", s.ID, problem.Code, problem)
		}
		if wait > 0 {
			pause(ctx, wait)
		}
	}
	return nil
}

// tally is what one person did.
type tally struct{ suspended, resumed, refused int }

func (c *tally) add(o tally) {
	c.suspended, c.resumed, c.refused = c.suspended+o.suspended, c.resumed+o.resumed, c.refused+o.refused
}

// act does one random act after the other, also ones that cannot be: those must
// be refused, and leave nothing.
func (c *tally) act(ctx context.Context, t *testing.T, who, other *servertest.Person, list []*soaked) {
	for pause(ctx, 20*time.Millisecond) {
		i := rand.IntN(len(list))
		s := list[i]
		s.acting.Lock()
		var err error
		switch dice := rand.IntN(100); {
		case dice < 4 && i%2 == 1: // half of them can be revoked, so that the load stays
			s.set(func() { s.revoked.asked = true })
			if _, err = call(who, s, "certificate/revoke"); err == nil {
				s.set(func() { s.revoked.acknowledged = true })
			}
		case dice < 50:
			err = c.suspend(who, s)
		default:
			err = c.resume(who, other, s)
		}
		s.acting.Unlock()
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func (c *tally) suspend(who *servertest.Person, s *soaked) error {
	was := s.standing()
	possible := !was.suspended.acknowledged && !was.revoked.acknowledged
	if possible {
		s.set(func() { s.suspended.asked = true; s.changes++ })
	}
	done, err := call(who, s, "suspend")
	switch {
	case err != nil:
	case done != possible:
		err = fmt.Errorf("%s: a suspension was done: %v, and possible: %v", s.ID, done, possible)
	case done:
		s.set(func() { s.suspended.acknowledged = true })
		c.suspended++
	default:
		c.refused++
	}
	return err
}

func (c *tally) resume(who, other *servertest.Person, s *soaked) error {
	was := s.standing()
	possible := was.suspended.acknowledged && !was.revoked.acknowledged
	if possible {
		s.set(func() { s.suspended.acknowledged = false; s.changes++ })
	}
	done, err := judged(who.TryRelease("resume", s.ID, other))
	switch {
	case err != nil:
	case done != possible:
		err = fmt.Errorf("%s: a resumption was done: %v, and possible: %v", s.ID, done, possible)
	case done:
		s.set(func() { s.suspended.asked = false })
		c.resumed++
	default:
		c.refused++
	}
	return err
}

// call says whether an act was done; refusing it is an answer too, another
// failure is not.
func call(who *servertest.Person, s *soaked, path string) (done bool, err error) {
	return judged(who.Do("POST", "/api/devices/"+s.ID+"/"+path, map[string]string{"reason": "test"}, nil))
}

func judged(status int, problem *protocol.Problem, err error) (done bool, _ error) {
	if err != nil || status >= 500 || status == 429 {
		return false, fmt.Errorf("%d %v %w", status, problem, err)
	}
	return problem == nil, nil
}

// onlyRise looks at the stored counters again and again.
func onlyRise(ctx context.Context, t *testing.T, d *sql.DB) {
	last := map[string]int64{}
	for pause(ctx, 200*time.Millisecond) {
		now, err := counters(d)
		if err != nil {
			t.Error(err)
			return
		}
		for id, n := range last {
			if now[id] < n {
				t.Errorf("%s: the stored counter went from %d to %d", id, n, now[id])
			}
		}
		last = now
	}
}
