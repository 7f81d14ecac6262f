package flow

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
)

// DOS-02: a device that does not wait for its answers does not fill the batches
// of everyone else.
func TestADeviceHasAtMostTwoHeartbeatsOnTheirWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		release := make(chan struct{})
		b := newBatcher(time.Millisecond, 8, 1, (*beat).device, func(_ context.Context, batch []*beat) []outcome {
			<-release
			stored := make([]outcome, len(batch))
			for i := range stored {
				stored[i].got = 7
			}
			return stored
		})
		ended := make(chan error, 1)
		go func() { ended <- b.run(ctx) }()
		answers := make(chan error, 10)
		send := func(id string) {
			go func() {
				o, err := b.do(ctx, &beat{Beat: device.Beat{DeviceID: id}})
				if err == nil && o != 7 {
					err = errors.New("the outcome is another's")
				}
				answers <- err
			}()
			synctest.Wait()
		}
		for range maxFlying {
			send("edge-1")
		}
		if len(answers) != 0 {
			t.Fatalf("an answer before it is stored: %v", <-answers)
		}
		for range 3 {
			send("edge-1")
			if len(answers) != 1 {
				t.Fatal("one too many waits with the others")
			}
			if err := <-answers; !errors.Is(err, ErrBusy) {
				t.Fatalf("one too many: %v", err)
			}
		}
		send("edge-2")
		close(release)
		time.Sleep(time.Second) // of the bubble: every window is over
		synctest.Wait()
		if len(answers) != maxFlying+1 {
			t.Fatalf("%d answers once they are stored, want %d", len(answers), maxFlying+1)
		}
		for range maxFlying + 1 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		send("edge-1") // what was answered does not count any more
		time.Sleep(time.Second)
		synctest.Wait()
		if err := <-answers; err != nil || len(b.flying) != 0 {
			t.Errorf("afterwards: %v, %v on their way", err, b.flying)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A batch that waits for a writer grows meanwhile: behind a slow database few large
// ones follow, not many small ones.
func TestABatchThatWaitsGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		release, sizes := make(chan struct{}), make(chan int, 10)
		b := newBatcher(time.Millisecond, 4, 1, (*beat).device, func(_ context.Context, batch []*beat) []outcome {
			sizes <- len(batch)
			<-release
			return make([]outcome, len(batch))
		})
		ended := make(chan error, 1)
		go func() { ended <- b.run(ctx) }()
		for _, id := range []string{"edge-1", "edge-2", "edge-3", "edge-4", "edge-5", "edge-6"} {
			go func() { _, _ = b.do(ctx, &beat{Beat: device.Beat{DeviceID: id}}) }()
			time.Sleep(time.Second) // of the bubble: the window is over
			synctest.Wait()
		}
		stop() // what was handed in is stored
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		close(sizes)
		var got []int
		for n := range sizes {
			got = append(got, n)
		}
		if want := []int{1, 4, 1}; !slices.Equal(got, want) {
			t.Errorf("batches of %v, want %v: the sixth finds it full", got, want)
		}
	})
}

// A full batch waits for no window, and what is too much for it, or a second message of a
// device, is in the next one, which needs no further message to begin.
func TestAFullBatchDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		begin := time.Now()
		type stored struct {
			devices []string
			after   time.Duration
		}
		var got []stored
		b := newBatcher(time.Second, 3, 1, (*beat).device, func(_ context.Context, batch []*beat) []outcome {
			s := stored{after: time.Since(begin)}
			for _, x := range batch {
				s.devices = append(s.devices, x.DeviceID)
			}
			got = append(got, s)
			return make([]outcome, len(batch))
		})
		ended := make(chan error, 1)
		go func() { ended <- b.run(ctx) }()
		var answered atomic.Int64
		for _, id := range []string{"edge-1", "edge-1", "edge-2", "edge-3"} {
			go func() {
				if _, err := b.do(ctx, &beat{Beat: device.Beat{DeviceID: id}}); err != nil {
					t.Error(err)
				}
				answered.Add(1)
			}()
			synctest.Wait()
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		want := []stored{{[]string{"edge-1", "edge-2"}, 0}, {[]string{"edge-1", "edge-3"}, time.Second}} // the second of edge-1 is too much for the first
		if !slices.EqualFunc(got, want, func(a, b stored) bool { return slices.Equal(a.devices, b.devices) && a.after == b.after }) || answered.Load() != 4 {
			t.Errorf("stored %v, want %v; %d answered", got, want, answered.Load())
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := b.do(t.Context(), &beat{Beat: device.Beat{DeviceID: "edge-4"}}); !errors.Is(err, errStopping) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// HBT-03: of one device, one message is stored at a time, also where two batches are: each
// would wait for rows of the other. Others do not wait for it, and it needs nobody to come
// after it.
func TestOneMessageOfADeviceIsStoredAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		stored, goOn := make(chan []string, 10), make(chan struct{})
		b := newBatcher(time.Millisecond, 8, 2, (*beat).device, func(_ context.Context, batch []*beat) []outcome {
			var ids []string
			for _, x := range batch {
				ids = append(ids, x.DeviceID)
			}
			stored <- ids
			if slices.Contains(ids, "edge-1") {
				<-goOn
			}
			return make([]outcome, len(batch))
		})
		ended := make(chan error, 1)
		go func() { ended <- b.run(ctx) }()
		for _, id := range []string{"edge-1", "edge-1", "edge-2"} {
			go func() {
				if _, err := b.do(t.Context(), &beat{Beat: device.Beat{DeviceID: id}}); err != nil {
					t.Error(err)
				}
			}()
			time.Sleep(time.Second) // of the bubble
			synctest.Wait()
		}
		if one, two := <-stored, <-stored; !slices.Equal(one, []string{"edge-1"}) || !slices.Equal(two, []string{"edge-2"}) || len(stored) != 0 {
			t.Errorf("stored %v and %v, and %d more", one, two, len(stored))
		}
		stop() // the second is stored all the same
		synctest.Wait()
		close(goOn)
		if err := <-ended; err != nil || len(stored) != 1 || len(b.flying) != 0 {
			t.Errorf("%v, %d stored, %v on their way", err, len(stored), b.flying)
		}
	})
}

func TestWhatIsTooMuchForOneBatchGoesWithTheNextWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		sizes, release := make(chan int, 10), make(chan struct{})
		b := newBatcher(time.Millisecond, 2, 2, (*beat).device, func(_ context.Context, batch []*beat) []outcome {
			sizes <- len(batch)
			<-release
			return make([]outcome, len(batch))
		})
		for _, id := range []string{"edge-1", "edge-2", "edge-3"} {
			go func() { _, _ = b.do(t.Context(), &beat{Beat: device.Beat{DeviceID: id}}) }()
		}
		synctest.Wait()
		ended := make(chan error, 1)
		go func() { ended <- b.run(ctx) }()
		time.Sleep(time.Second) // of the bubble
		synctest.Wait()
		if len(sizes) != 2 {
			t.Errorf("%d batches are stored at once", len(sizes))
		}
		close(release)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
