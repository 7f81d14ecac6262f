package main

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
)

// tally counts what became of the heartbeats.
type tally struct {
	answered  atomic.Int64
	latencies histogram
	storm     storm

	mu     sync.Mutex
	errors map[string]int64
	bad    map[string]*badTally
}

type badTally struct {
	Sent     int64            `json:"sent"`
	Refused  map[string]int64 `json:"refused"`
	Accepted int64            `json:"accepted"`
}

func newTally() *tally { return &tally{errors: map[string]int64{}, bad: map[string]*badTally{}} }

func (t *tally) accepted(took time.Duration) {
	t.answered.Add(1)
	t.latencies.add(took)
}

func (t *tally) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors[nameOf(err)]++
}

// badAct counts what a bad device sent; with no error the server took it.
func (t *tally) badAct(kind string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.bad[kind]
	if b == nil {
		b = &badTally{Refused: map[string]int64{}}
		t.bad[kind] = b
	}
	b.Sent++
	if err == nil {
		b.Accepted++
	} else {
		b.Refused[nameOf(err)]++
	}
}

func (t *tally) failures() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.errors)
}

// nameOf sorts errors into a handful of kinds.
func nameOf(err error) string {
	refusal, isRefusal := errors.AsType[*link.RefusalError](err)
	switch {
	case isRefusal && refusal.Problem.Code != "":
		return string(refusal.Problem.Code)
	case isRefusal:
		return fmt.Sprintf("status %d", refusal.Status)
	case errors.Is(err, errHungUp):
		return "hung up"
	case errors.Is(err, link.ErrNoAnswer):
		return "no answer"
	case errors.Is(err, link.ErrNotServer):
		return "not the server"
	case errors.Is(err, link.ErrBadAnswer):
		return "bad answer"
	}
	return "this side"
}

// storm is when all connections were dropped, and who came back.
type storm struct {
	mu    sync.Mutex
	began time.Time
	last  time.Time
	back  int
}

func (s *storm) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = now
}

func (s *storm) served(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back++
	s.last = now
}

// histogram keeps durations in 16 steps to each doubling: what it says is at most
// a sixteenth too much, in a fixed size.
type histogram struct {
	counts [64 * steps]atomic.Int64
	most   atomic.Int64
}

const (
	stepBits = 4
	steps    = 1 << stepBits
)

func (h *histogram) add(d time.Duration) {
	h.counts[slot(uint64(max(d, 0)/time.Microsecond))].Add(1)
	for {
		most := h.most.Load()
		if int64(d) <= most || h.most.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// slot of a number of microseconds: those below two steps have their own.
func slot(us uint64) int {
	if us < 2*steps {
		return int(us)
	}
	shift := bits.Len64(us) - stepBits - 1
	return shift*steps + int(us>>shift)
}

// top is the largest number of microseconds in a slot.
func top(slot int) uint64 {
	if slot < 2*steps {
		return uint64(slot)
	}
	shift := slot/steps - 1
	return (uint64(slot-shift*steps)+1)<<shift - 1
}

// quantile is the duration that this share of all stays within.
func (h *histogram) quantile(q float64) time.Duration {
	var total int64
	for i := range h.counts {
		total += h.counts[i].Load()
	}
	want := int64(q*float64(total)) + 1
	var seen int64
	for i := range h.counts {
		if seen += h.counts[i].Load(); seen >= min(want, total) && total > 0 {
			return min(time.Duration(top(i))*time.Microsecond, time.Duration(h.most.Load()))
		}
	}
	return 0
}
