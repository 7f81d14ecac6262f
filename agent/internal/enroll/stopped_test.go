package enroll

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
)

func TestAnEnrollmentThatIsStoppedGoesOnLater(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	dev := newDevice(t, desk)
	ctx, stop := context.WithCancel(t.Context())
	desk.OnRequest = func(http.ResponseWriter, int) bool { // the server has it, and nobody hears so
		stop()
		panic(http.ErrAbortHandler)
	}
	if _, err := Run(ctx, dev.Options); !errors.Is(err, ErrStopped) || !errors.Is(err, ErrUnsent) {
		t.Fatalf("stopped while it was sent: %v", err)
	}
	desk.OnRequest = nil
	ctx, stop = context.WithCancel(t.Context())
	desk.OnPoll = func(http.ResponseWriter, int) bool {
		stop()
		return false
	}
	desk.Pending = 1
	if _, err := Run(ctx, dev.Options); !errors.Is(err, ErrStopped) || errors.Is(err, ErrUnsent) || err.Error() != "stopped before the decision" {
		t.Fatalf("stopped while it waited: %v", err)
	}
	desk.OnPoll = nil
	dev.Token = ""
	if r, err := dev.enroll(t); err != nil || r.DeviceID != "edge-1" {
		t.Errorf("it does not go on: %v", err)
	}
}
