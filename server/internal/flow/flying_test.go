package flow

import (
	"context"
	"errors"
	"slices"
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
		if want := []int{1, 4}; !slices.Equal(got, want) {
			t.Errorf("batches of %v, want %v: the sixth finds it full", got, want)
		}
	})
}
