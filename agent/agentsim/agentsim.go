package agentsim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Target is which server to reach, whom to believe, and what to present.
type Target struct {
	Host    string // the exact name that the server's certificate must have
	CAs     []*x509.Certificate
	Present func() (*tls.Certificate, error) // nil before enrollment
	Now     func() time.Time
}

// Network is how the agent reaches its server.
type Network interface {
	// LearnCA finds the CA with this fingerprint at the server.
	LearnCA(fingerprint string) (*x509.Certificate, error)
	// Connect makes connections to the target. What it returns carries one request at
	// a time.
	Connect(target Target) (http.RoundTripper, error)
}

// Process is one process of the agent on a state directory.
type Process struct {
	Dir     string
	Server  string // https://host:port
	Now     func() time.Time
	Random  func() float64
	Uptime  func() time.Duration  // never set back
	Sleep   func(d time.Duration) // returns when the time is over
	Log     *slog.Logger
	Network Network
	Facts   func() map[string]string
	Due     func(*x509.Certificate) time.Time // when a certificate is renewed; the agent draws that from its bytes, which are not the seed's
}

// Enrollment is what a person tells the agent.
type Enrollment struct {
	DeviceID, Token, CAFingerprint, FirstRoot string
	Wait                                      time.Duration
}

// Outcomes of Enroll, for whoever decides what to do next.
var (
	ErrOver    = enroll.ErrOver
	ErrPending = enroll.ErrPending
	ErrRestart = command.ErrRestart // of Run
)

// Enroll begins an enrollment, or goes on with the one under way.
func (p *Process) Enroll(ctx context.Context, e Enrollment) error {
	_, err := enroll.Run(ctx, enroll.Options{
		Dir: p.Dir, Server: p.Server, Token: e.Token, CAFingerprint: e.CAFingerprint, FirstRoot: e.FirstRoot, DeviceID: e.DeviceID,
		Wait: e.Wait, Facts: p.Facts(), Now: p.Now, Random: p.Random, Out: io.Discard, Network: network{p.Network},
		Sleep: func(ctx context.Context, d time.Duration) error { p.Sleep(d); return ctx.Err() },
	})
	return err
}

// Unenroll removes everything that ties the device to its fleet.
func (p *Process) Unenroll() error {
	j, err := journal.OpenToRemove(p.Dir)
	if err != nil {
		return err
	}
	return errors.Join(enroll.Forget(j), j.Close())
}

// Run keeps the device in touch with its server, renews its certificate and does its
// commands, one after the other in this goroutine. It returns when the agent ends:
// told to restart (ErrRestart), or because it cannot go on.
func (p *Process) Run(ctx context.Context) error {
	cfg := &config.Config{StateDir: p.Dir, MinInterval: time.Second}
	parts, err := app.Assemble(ctx, cfg, p.Log, app.Machine{
		Now: p.Now, Random: p.Random, Facts: func() protocol.Facts { return p.Facts() },
		Timer:   func(time.Duration) <-chan time.Time { return make(chan time.Time) }, // what is done here takes no time
		Connect: network{p.Network}.Connect, Due: p.Due,
	})
	if err != nil {
		return err
	}
	defer parts.Close()
	beat := p.Uptime() + parts.Link.First()
	renew := p.Uptime() + time.Duration(p.Random()*float64(10*time.Second))
	for {
		next := min(beat, renew)
		at := parts.Commands.RestartAt()
		if !at.IsZero() {
			next = min(next, p.Uptime()+max(at.Sub(p.Now()), 0))
		}
		p.Sleep(max(next-p.Uptime(), 0))
		if !at.IsZero() && !p.Now().Before(at) {
			return ErrRestart
		}
		if renew <= p.Uptime() {
			renew = p.Uptime() + parts.Renewer.Round(ctx)
		}
		if beat <= p.Uptime() {
			beat = p.Uptime() + parts.Link.Round(ctx)
		}
		if err := parts.Commands.Round(ctx); err != nil {
			return err
		}
		if parts.Renewer.Kicked() {
			renew = p.Uptime()
		}
		beat = p.Uptime() + parts.Link.Sooner(beat-p.Uptime())
	}
}

// network gives the agent's code the simulation's network.
type network struct{ n Network }

func (w network) LearnCA(_ context.Context, _, fingerprint string) (*x509.Certificate, error) {
	return w.n.LearnCA(fingerprint)
}

func (w network) Connect(t link.Target) (http.RoundTripper, error) {
	host, err := t.Host()
	if err != nil {
		return nil, err
	}
	target := Target{Host: host, CAs: t.CAs, Now: t.Now}
	if t.Present != nil {
		target.Present = func() (*tls.Certificate, error) { return t.Present(&tls.CertificateRequestInfo{}) }
	}
	return w.n.Connect(target)
}
