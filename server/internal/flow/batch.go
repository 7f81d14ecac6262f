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
// handful rows. A second message of the same device waits until the first is stored, so
// that no statement meets a row twice, and no two batches wait for each other's rows.
//
// Whoever brings a message puts it in the queue and is woken once, by its result: the
// goroutine of run wakes for the first of a batch and when the batch is due.
type batcher[I, O any] struct {
	window time.Duration
	size   int
	device func(I) string
	store  func(context.Context, []I) []result[O]

	mu     sync.Mutex
	flying map[string]flight // by device
	queue  []waiting[I, O]
	closed bool // nothing is taken any more

	first   chan struct{} // there is something in the queue that may be taken
	full    chan struct{} // there is a batch in the queue, or was
	writers chan struct{}
}

// flight is what of a device is on its way.
type flight struct {
	messages int  // that wait or are stored
	storing  bool // one of them is
}

type waiting[I, O any] struct {
	message I
	device  string
	done    chan result[O]
}

func newBatcher[I, O any](window time.Duration, size, writers int, device func(I) string, store func(context.Context, []I) []result[O]) *batcher[I, O] {
	return &batcher[I, O]{
		window: window, size: max(size, 1), device: device, store: store, flying: map[string]flight{},
		first: make(chan struct{}, 1), full: make(chan struct{}, 1), writers: make(chan struct{}, writers),
	}
}

// maxFlying is how many messages of one device may be on their way: an honest one
// sends the next after the answer. More would wait in everyone's way.
const maxFlying = 2

// ErrBusy says that a device sends without waiting for answers.
var ErrBusy = errors.New("messages of this device are on their way already")

// do hands a message in and waits for what became of it. When ctx ends first, what was
// gathered is stored all the same.
func (b *batcher[I, O]) do(ctx context.Context, message I) (got O, err error) {
	w := waiting[I, O]{message: message, device: b.device(message)}
	if b.size == 1 && b.window == 0 { // nothing is gathered: no other goroutine is needed
		if err := b.enter(&w, false); err != nil {
			return got, err
		}
		defer b.leave([]waiting[I, O]{w})
		r := b.store(ctx, []I{message})[0]
		return r.got, r.err
	}
	w.done = make(chan result[O], 1)
	if err := b.enter(&w, true); err != nil {
		return got, err
	}
	select {
	case r := <-w.done:
		return r.got, r.err
	case <-ctx.Done():
		return got, ctx.Err()
	}
}

// enter counts a message, and puts it in the queue.
func (b *batcher[I, O]) enter(w *waiting[I, O], queue bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.flying[w.device]
	switch {
	case f.messages >= maxFlying:
		return ErrBusy
	case b.closed:
		return errStopping
	}
	f.messages++
	b.flying[w.device] = f
	if !queue {
		return nil
	}
	b.queue = append(b.queue, *w)
	if !f.storing {
		tell(b.first)
	}
	if len(b.queue) == b.size {
		tell(b.full)
	}
	return nil
}

func (b *batcher[I, O]) leave(batch []waiting[I, O]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range batch {
		f := flight{messages: b.flying[w.device].messages - 1}
		if f.messages == 0 {
			delete(b.flying, w.device)
		} else {
			b.flying[w.device] = f
		}
	}
	if len(b.queue) > 0 { // some of it may have waited for these
		tell(b.first)
	}
}

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is known already
	}
}

// run gathers and stores until ctx ends; messages that were handed in by then are
// stored and answered.
func (b *batcher[I, O]) run(ctx context.Context) error {
	var stores sync.WaitGroup
	defer stores.Wait()
	for {
		open := b.begun(ctx)
		b.writers <- struct{}{} // what waits for a writer grows meanwhile
		open = open && b.due(ctx)
		batch, left := b.take(!open)
		if len(batch) == 0 {
			<-b.writers
			if left > 0 { // for what is being stored
				<-b.first
				tell(b.first)
			}
		} else {
			stores.Go(func() {
				defer func() { <-b.writers }()
				b.finish(context.WithoutCancel(ctx), batch)
			})
		}
		if !open && left == 0 {
			return nil
		}
	}
}

// begun waits for a first message. It is false when ctx ended.
func (b *batcher[I, O]) begun(ctx context.Context) bool {
	select {
	case <-b.first:
		return true
	case <-ctx.Done():
		return false
	}
}

// due waits until a batch that has begun is full, or the window is over. The window begins
// with a writer that is free: who was just answered by it has time to send again, so that
// few large batches follow each other and not twice as many of half the size. It is false
// when ctx ended.
func (b *batcher[I, O]) due(ctx context.Context) bool {
	window := time.NewTimer(b.window)
	defer window.Stop()
	select {
	case <-window.C:
	case <-b.full:
	case <-ctx.Done():
		return false
	}
	return true
}

// take is the next batch, and how much is left in the queue: what is too much for one, and
// messages of devices of which one is being stored. With last nothing comes any more.
func (b *batcher[I, O]) take(last bool) (batch []waiting[I, O], left int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = b.closed || last
	batch = make([]waiting[I, O], 0, min(len(b.queue), b.size))
	rest, next := b.queue[:0], 0
	for _, w := range b.queue {
		f := b.flying[w.device]
		if len(batch) == b.size || f.storing {
			rest = append(rest, w)
			if !f.storing {
				next++
			}
			continue
		}
		f.storing = true
		b.flying[w.device] = f
		batch = append(batch, w)
	}
	clear(b.queue[len(rest):])
	b.queue = rest
	for _, told := range []chan struct{}{b.first, b.full} { // of these
		select {
		case <-told:
		default:
		}
	}
	if next > 0 {
		tell(b.first)
	}
	if next >= b.size {
		tell(b.full)
	}
	return batch, len(rest)
}

func (b *batcher[I, O]) finish(ctx context.Context, batch []waiting[I, O]) {
	results := make([]result[O], len(batch))
	defer func() {
		if r := recover(); r != nil {
			for i := range results {
				results[i] = result[O]{err: fmt.Errorf("storing a batch: %v", r)}
			}
		}
		b.leave(batch)
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
