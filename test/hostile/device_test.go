package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/agentsim"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// device is the agent on its state directory. Nothing of it is a stand-in but the
// clock, which goes on when the agent waits.
type device struct {
	t      *testing.T
	dir    string
	server *server

	mu        sync.Mutex
	clock     time.Time
	log       bytes.Buffer // of the process that runs, or ran last
	transport []*http.Transport
}

func (d *device) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clock
}

func (d *device) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock = d.clock.Add(by)
}

// Write takes the agent's log.
func (d *device) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(p)
}

func (d *device) told() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

func newDevice(t *testing.T) *device {
	t.Helper()
	return &device{t: t, dir: filepath.Join(t.TempDir(), "state"), clock: day.Add(10 * time.Minute)}
}

func (d *device) process(sleep func(time.Duration)) *agentsim.Process {
	return &agentsim.Process{
		Dir: d.dir, Server: "https://" + d.server.address, Now: d.now, Random: func() float64 { return 0.5 },
		Uptime: func() time.Duration { return d.now().Sub(day) }, Sleep: sleep, Network: d,
		Log:   slog.New(slog.NewTextHandler(d, nil)),
		Facts: func() map[string]string { return map[string]string{"os": "linux"} },
	}
}

// LearnCA and Connect are the network, which is real.
func (d *device) LearnCA(fingerprint string) (*x509.Certificate, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return certs.LearnCA(context.Background(), dialer.DialContext, d.server.address, "127.0.0.1", fingerprint)
}

// Connect is the other half.
func (d *device) Connect(target agentsim.Target) (http.RoundTripper, error) {
	var present func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	if target.Present != nil {
		present = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return target.Present() }
	}
	conf := certs.ClientTLS(target.CAs, target.Host, present)
	conf.Time = target.Now
	tr := &http.Transport{TLSClientConfig: conf, DisableCompression: true}
	d.transport = append(d.transport, tr)
	return tr, nil
}

func (d *device) enroll(fingerprint, firstRoot string) {
	d.t.Helper()
	p := d.process(d.pass)
	must(d.t, p.Enroll(d.t.Context(), agentsim.Enrollment{
		DeviceID: deviceID, Token: "t", CAFingerprint: fingerprint, FirstRoot: firstRoot, Wait: time.Hour,
	}))
}

const (
	most    = 400              // how often the agent may wait before what a test waits for must have come
	longest = 30 * time.Second // of this machine's time, for an agent that does not even wait
)

// live runs a process of the agent until the condition holds, and then kills it. It
// says whether the process ended by itself, told to restart.
func (d *device) live(what string, holds func() bool) (restarted bool) {
	d.t.Helper()
	d.mu.Lock()
	d.log.Reset()
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	waits, held := 0, false
	p := d.process(func(wait time.Duration) {
		d.server.mu.Lock()
		held = holds()
		d.server.mu.Unlock()
		if waits++; held || waits > most || ctx.Err() != nil {
			runtime.Goexit()
		}
		d.pass(wait)
	})
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = p.Run(ctx)
	}()
	<-ended
	for _, tr := range d.transport {
		tr.CloseIdleConnections()
	}
	d.transport = nil
	switch {
	case errors.Is(err, agentsim.ErrRestart):
		return true
	case err != nil:
		d.t.Fatalf("the agent ended: %v\n%s", err, d.told())
	case !held:
		d.t.Fatalf("not within %d waits: %s\n%s", most, what, d.told())
	}
	return false
}

func (d *device) state() agentsim.State {
	d.t.Helper()
	s, err := agentsim.ReadState(d.dir)
	must(d.t, err)
	return s
}

var _ io.Writer = (*device)(nil)
