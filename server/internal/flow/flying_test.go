package flow

import (
	"context"
	"errors"
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
		b := newBatcher(time.Millisecond, 8, 1, beat.device, func(_ context.Context, batch []beat) []outcome {
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
				o, err := b.do(ctx, beat{Beat: device.Beat{DeviceID: id}})
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
