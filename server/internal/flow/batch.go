package flow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// result is what became of one message in its batch.
type result[O any] struct {
	got O
	err error
}

// errStopping says that the server ends and takes no more messages.
var errStopping = errors.New("the server is stopping")

// batcher gathers messages of devices for a short window and has them stored
// together. A window is needed: without one a busy machine makes batches of a
// handful rows. A second message of the same device waits for the next batch, so
// that one statement never meets a row twice.
type batcher[I, O any] struct {
	window time.Duration
	size   int
	device func(I) string
	store  func(context.Context, []I) []result[O]

	mu     sync.Mutex
	flying map[string]int // messages of a device that wait or are stored

	in      chan waiting[I, O]
	writers chan struct{}
	stopped chan struct{}
}

type waiting[I, O any] struct {
	message I
	device  string
	done    chan result[O]
}

func newBatcher[I, O any](window time.Duration, size, writers int, device func(I) string, store func(context.Context, []I) []result[O]) *batcher[I, O] {
	return &batcher[I, O]{
		window: window, size: max(size, 1), device: device, store: store, flying: map[string]int{},
		in: make(chan waiting[I, O]), writers: make(chan struct{}, writers), stopped: make(chan struct{}),
	}
}

// do hands a message in and waits for what became of it. When ctx ends first, it
// may still be stored.
func (b *batcher[I, O]) do(ctx context.Context, message I) (got O, err error) {
	device := b.device(message)
	if !b.enter(device) {
		return got, ErrBusy
	}
	defer b.leave(device)
	if b.size == 1 && b.window == 0 { // nothing is gathered: no other goroutine is needed
		r := b.store(ctx, []I{message})[0]
		return r.got, r.err
	}
	w := waiting[I, O]{message, device, make(chan result[O], 1)}
	select {
	case b.in <- w:
	case <-b.stopped:
		return got, errStopping
	case <-ctx.Done():
		return got, ctx.Err()
	}
	select {
	case r := <-w.done:
		return r.got, r.err
	case <-ctx.Done():
		return got, ctx.Err()
	}
}

// maxFlying is how many messages of one device may be on their way: an honest one
// sends the next after the answer. More would wait in everyone's way.
const maxFlying = 2

// ErrBusy says that a device sends without waiting for answers.
var ErrBusy = errors.New("messages of this device are on their way already")

func (b *batcher[I, O]) enter(deviceID string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flying[deviceID] >= maxFlying {
		return false
	}
	b.flying[deviceID]++
	return true
}

func (b *batcher[I, O]) leave(deviceID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flying[deviceID]--; b.flying[deviceID] == 0 {
		delete(b.flying, deviceID)
	}
}

// run gathers and stores until ctx ends; messages that were handed in by then are
// stored and answered.
func (b *batcher[I, O]) run(ctx context.Context) error {
	defer close(b.stopped)
	var stores sync.WaitGroup
	defer stores.Wait()
	var held []waiting[I, O] // second messages of a device, for the next batch
	for {
		g := &gathering[I, O]{size: b.size, seen: map[string]bool{}}
		ok := b.gather(ctx, g, held)
		held = g.rest
		if len(g.batch) > 0 {
			stores.Go(func() {
				defer func() { <-b.writers }()
				b.finish(context.WithoutCancel(ctx), g.batch)
			})
		}
		if !ok && len(held) == 0 {
			return nil
		}
	}
}

// gathering is a batch that grows.
type gathering[I, O any] struct {
	size        int
	seen        map[string]bool // devices
	batch, rest []waiting[I, O]
}

func (g *gathering[I, O]) add(w waiting[I, O]) {
	if g.seen[w.device] {
		g.rest = append(g.rest, w)
		return
	}
	g.seen[w.device] = true
	g.batch = append(g.batch, w)
}

func (g *gathering[I, O]) full() bool { return len(g.batch) >= g.size || len(g.rest) >= g.size }

// gather waits for a first message, then for more until the window is over and one of
// the writers is free, which it takes: a batch that has to wait grows meanwhile. It is
// false when ctx ended.
func (b *batcher[I, O]) gather(ctx context.Context, g *gathering[I, O], held []waiting[I, O]) bool {
	for _, w := range held {
		g.add(w)
	}
	if len(g.batch) == 0 {
		select {
		case w := <-b.in:
			g.add(w)
		case <-ctx.Done():
			return false
		}
	}
	window := time.NewTimer(b.window)
	defer window.Stop()
	over, writers, done := window.C, chan struct{}(nil), ctx.Done()
	for {
		in := b.in
		if g.full() || done == nil {
			in = nil
		}
		if in == nil { // nothing more to wait for
			writers = b.writers
		}
		select {
		case w := <-in:
			g.add(w)
		case <-over:
			writers = b.writers
		case <-done:
			done = nil
		case writers <- struct{}{}:
			return done != nil
		}
	}
}

func (b *batcher[I, O]) finish(ctx context.Context, batch []waiting[I, O]) {
	results := make([]result[O], len(batch))
	defer func() {
		if r := recover(); r != nil {
			for i := range results {
				results[i] = result[O]{err: fmt.Errorf("storing a batch: %v", r)}
			}
		}
		for i, w := range batch {
			w.done <- results[i]
		}
	}()
	messages := make([]I, len(batch))
	for i, w := range batch {
		messages[i] = w.message
	}
	results = b.store(ctx, messages)
}
