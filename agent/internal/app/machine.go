package app

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/renew"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Machine is what the parts ask of the machine that they run on.
type Machine struct {
	Now     func() time.Time
	Timer   func(time.Duration) <-chan time.Time
	Random  func() float64
	Facts   func() protocol.Facts
	Connect func(link.Target) (http.RoundTripper, error)
	Due     func(*x509.Certificate) time.Time // when a certificate is renewed; nil for renew.Due
}

var thisMachine = Machine{
	Now: time.Now, Timer: time.After, Random: link.Jitter, Facts: Facts,
	Connect: func(t link.Target) (http.RoundTripper, error) { return link.NewTransport(t) },
}

// Parts are an agent's, put together and not running.
type Parts struct {
	Link     *link.Link
	Renewer  *renew.Renewer
	Commands *command.Runner
	d        *device
}

// Assemble puts an agent together as Run does, on another machine, for a simulation,
// which runs its parts step by step.
func Assemble(ctx context.Context, cfg *config.Config, log *slog.Logger, m Machine) (*Parts, error) {
	d, err := open(cfg.StateDir, m.Now())
	if err != nil {
		return nil, err
	}
	a, err := d.connect(ctx, cfg, log, true, m)
	if err != nil {
		d.close()
		return nil, err
	}
	a.renewer.Inline()
	return &Parts{Link: a.link, Renewer: a.renewer, Commands: a.commands, d: d}, nil
}

// Close lets go of the state directory.
func (p *Parts) Close() { p.d.close() }
