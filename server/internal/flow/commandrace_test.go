package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// sibling is another node on the same database.
func (w *world) sibling() *world {
	w.Helper()
	s := &world{T: w.T, url: w.url, dir: w.TempDir(), clock: w.clock, by: w.by, command: w.command, keys: w.keys}
	s.open(standard)
	s.must(s.pki.Load(w.Context()))
	s.must(s.policy.Load(w.Context()))
	s.run()
	return s
}

// on is the same device speaking to another node.
func (a *agent) on(w *world) { a.w = w }

// step is what a device or a person did about one command, and heard.
type step struct {
	what   string // beat, ack, result, cancel, look
	given  bool   // beat, ack, result: the answer had the command
	cancel flow.Withdrawal
	err    error
	state  string // look
	reason string
}

func (s step) String() string {
	return fmt.Sprintf("%s given=%t cancel=%+v err=%v state=%s %s", s.what, s.given, s.cancel, s.err, s.state, s.reason)
}

// oneTarget is what a command with one target may be seen to do, one step after
// another, whatever the nodes.
var oneTarget = porcupine.Model{
	Init: func() any { return "queued" },
	Step: func(state, _, output any) (bool, any) {
		is, s := state.(string), output.(step)
		switch s.what {
		case "cancel":
			switch is {
			case "queued":
				return s.err == nil && s.cancel.Cancelled == 1 && s.cancel.MayRun == 0, "cancelled"
			case "delivered":
				return s.err == nil && s.cancel.MayRun == 1 && s.cancel.Cancelled == 0, "cancelled-after-delivery"
			case "acknowledged":
				return errors.Is(s.err, command.ErrRunning), is
			default:
				return errors.Is(s.err, command.ErrOver), is
			}
		case "look":
			return s.state == is || s.state == "cancelled" && s.reason == is, is
		case "ack":
			if is == "delivered" {
				is = "acknowledged"
			}
		case "result":
			if is == "delivered" || is == "acknowledged" {
				is = "succeeded"
			}
		}
		if s.given { // and not after it was cancelled, acknowledged or done
			return is == "queued" || is == "delivered", "delivered"
		}
		return is != "queued" && is != "delivered", is
	},
}

// CMD-11: a device that is given a command, acknowledges and answers it on one node,
// while a person cancels it on another: whatever each was told fits one order of
// events.
func TestCancelRacesDelivery(t *testing.T) {
	t.Parallel()
	raceCancel(t, 40)
}

func raceCancel(t *testing.T, rounds int) {
	t.Helper()
	one := newWorld(t, dbtest.PostgresURL(t), nil)
	two := one.sibling()
	const devices = 4
	ended := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := range devices {
		a := one.enrolled(fmt.Sprintf("edge-%d", n))
		all.Go(func() {
			for range rounds {
				id := one.sent(a.id)
				history, last := race(one, two, a, id)
				if !porcupine.CheckOperations(oneTarget, history) {
					t.Errorf("no order of events explains this:")
					for _, o := range history {
						t.Errorf("  %d to %d: %s", o.Call, o.Return, o.Output)
					}
					return
				}
				mu.Lock()
				ended[last]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("ended: %v", ended)
	for _, way := range []string{"cancelled", "cancelled-after-delivery", "succeeded"} {
		if ended[way] == 0 {
			t.Errorf("no race ended as %s: %v", way, ended)
		}
	}
}

// race has one command delivered, acknowledged and answered, and cancelled meanwhile.
func race(one, two *world, a *agent, id string) (history []porcupine.Operation, ended string) {
	begin := time.Now()
	var mu sync.Mutex
	record := func(client int, f func() step) step {
		call := time.Since(begin).Nanoseconds()
		s := f()
		mu.Lock()
		defer mu.Unlock()
		history = append(history, porcupine.Operation{ClientId: client, Call: call, Output: s, Return: time.Since(begin).Nanoseconds()})
		return s
	}
	nodes := []*world{one, two}
	var both sync.WaitGroup
	both.Go(func() {
		steps := []string{"beat", "ack", "result"}
		for i, what := range steps {
			a.on(nodes[rand.IntN(2)])
			switch what {
			case "ack":
				a.acks = []string{id}
			case "result":
				a.results = []json.RawMessage{a.result(id, func(r *signing.CommandResult) { r.Status = signing.Succeeded })}
			}
			heard := record(0, func() step {
				a.must(a.beat())
				return step{what: what, given: slices.Contains(a.given(), id)}
			})
			if i == 0 && !heard.given {
				return // it never got it, and so it has nothing to say
			}
		}
	})
	both.Go(func() {
		time.Sleep(time.Duration(rand.IntN(12)) * time.Millisecond) // over the device's three steps
		record(1, func() step {
			done, err := two.CancelCommand(context.Background(), two.by, id, "race")
			return step{what: "cancel", cancel: done, err: err}
		})
	})
	both.Wait()
	last := record(2, func() step {
		t := one.target(id, a.id)
		return step{what: "look", state: t.State, reason: t.Reason}
	})
	if last.state == "cancelled" {
		return history, last.reason
	}
	return history, last.state
}

func (a *agent) must(err error) {
	if err != nil {
		a.w.Error(err)
	}
}
