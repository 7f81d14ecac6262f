package flow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// outcome is what became of a beat in its batch.
type outcome struct {
	pending int
	err     error
}

// errStopping says that the server ends and takes no more heartbeats.
var errStopping = errors.New("the server is stopping")

// batcher gathers beats for a short window and has them stored together. A
// window is needed: without one a busy machine makes batches of a handful
// rows. A second beat of the same device waits for the next batch, so that one
// statement never meets a row twice.
type batcher struct {
	window time.Duration
	size   int
	store  func(context.Context, []beat) []outcome

	mu     sync.Mutex
	flying map[string]int // beats of a device that wait or are stored

	in      chan waiting
	writers chan struct{}
	stopped chan struct{}
}

type waiting struct {
	beat
	done chan outcome
}

func newBatcher(window time.Duration, size, writers int, store func(context.Context, []beat) []outcome) *batcher {
	return &batcher{
		window: window, size: max(size, 1), store: store, flying: map[string]int{},
		in: make(chan waiting), writers: make(chan struct{}, writers), stopped: make(chan struct{}),
	}
}

// do hands a beat in and waits for its outcome. When ctx ends first, the beat may
// still be stored: the device does not send it again either way.
func (b *batcher) do(ctx context.Context, one beat) (outcome, error) {
	if !b.enter(one.DeviceID) {
		return outcome{}, ErrBusy
	}
	defer b.leave(one.DeviceID)
	if b.size == 1 && b.window == 0 { // nothing is gathered: no other goroutine is needed
		o := b.store(ctx, []beat{one})[0]
		return o, o.err
	}
	w := waiting{one, make(chan outcome, 1)}
	select {
	case b.in <- w:
	case <-b.stopped:
		return outcome{}, errStopping
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
	select {
	case o := <-w.done:
		return o, o.err
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
}

// maxFlying is how many beats of one device may be on their way: an honest one
// sends the next after the answer. More would wait in everyone's way.
const maxFlying = 2

// ErrBusy says that a device sends heartbeats without waiting for answers.
var ErrBusy = errors.New("heartbeats of this device are on their way already")

func (b *batcher) enter(deviceID string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flying[deviceID] >= maxFlying {
		return false
	}
	b.flying[deviceID]++
	return true
}

func (b *batcher) leave(deviceID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flying[deviceID]--; b.flying[deviceID] == 0 {
		delete(b.flying, deviceID)
	}
}

// run gathers and stores until ctx ends; beats that were handed in by then are
// stored and answered.
func (b *batcher) run(ctx context.Context) error {
	defer close(b.stopped)
	var stores sync.WaitGroup
	defer stores.Wait()
	var held []waiting // second beats of a device, for the next batch
	for {
		batch, rest, ok := b.gather(ctx, held)
		held = rest
		if len(batch) > 0 {
			b.writers <- struct{}{}
			stores.Go(func() {
				defer func() { <-b.writers }()
				b.finish(context.WithoutCancel(ctx), batch)
			})
		}
		if !ok && len(held) == 0 {
			return nil
		}
	}
}

// gather waits for a first beat, then for more until the window is over, the
// batch is full, or ctx ends (ok is false then).
func (b *batcher) gather(ctx context.Context, held []waiting) (batch, rest []waiting, ok bool) {
	seen := map[string]bool{}
	add := func(w waiting) {
		if seen[w.DeviceID] {
			rest = append(rest, w)
			return
		}
		seen[w.DeviceID] = true
		batch = append(batch, w)
	}
	for _, w := range held {
		add(w)
	}
	if len(batch) == 0 {
		select {
		case w := <-b.in:
			add(w)
		case <-ctx.Done():
			return nil, nil, false
		}
	}
	over := time.NewTimer(b.window)
	defer over.Stop()
	for len(batch) < b.size && len(rest) < b.size {
		select {
		case w := <-b.in:
			add(w)
		case <-over.C:
			return batch, rest, true
		case <-ctx.Done():
			return batch, rest, false
		}
	}
	return batch, rest, true
}

func (b *batcher) finish(ctx context.Context, batch []waiting) {
	outcomes := make([]outcome, len(batch))
	defer func() {
		if r := recover(); r != nil {
			for i := range outcomes {
				outcomes[i] = outcome{err: fmt.Errorf("storing heartbeats: %v", r)}
			}
		}
		for i, w := range batch {
			w.done <- outcomes[i]
		}
	}()
	beats := make([]beat, len(batch))
	for i, w := range batch {
		beats[i] = w.beat
	}
	outcomes = b.store(ctx, beats)
}
