package enroll

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// device is one machine that enrolls, with a time of its own for waiting.
type device struct {
	Options
	waited time.Duration
	out    bytes.Buffer
}

// newDevice knows all that it needs to enroll at the desk.
func newDevice(t *testing.T, d *agenttest.Desk) *device {
	t.Helper()
	_, digest := d.Fleet.Root(t)
	dev := &device{}
	dev.Options = Options{
		Dir: filepath.Join(t.TempDir(), "state"), Server: "https://" + d.Address, Token: agenttest.Token,
		CAFingerprint: certs.Fingerprint(d.Fleet.ServerCA.Certificate.Raw), FirstRoot: digest, DeviceID: "edge-1",
		Wait: time.Hour, Facts: protocol.Facts{"os": "linux"},
		Now:    func() time.Time { return time.Now().Add(dev.waited) },
		Random: func() float64 { return 0 },
		Sleep: func(ctx context.Context, d time.Duration) error {
			dev.waited += d
			return ctx.Err()
		},
		Out: &dev.out,
	}
	return dev
}

func (dev *device) enroll(t *testing.T) (*Result, error) {
	t.Helper()
	dev.waited = 0
	return Run(t.Context(), dev.Options)
}
