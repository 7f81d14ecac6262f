package app

import (
	"errors"
	"log/slog"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// device is an enrolled device with all that it holds, verified.
type device struct {
	journal *journal.Journal
	state   journal.State
	id      *identity.Identity
	pins    *pins.Pins
}

// open takes hold of the state directory and reads it.
func open(dir string, now time.Time) (*device, error) {
	j, err := journal.Open(dir)
	if err != nil {
		return nil, err
	}
	d := &device{journal: j}
	if err := d.read(now); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return d, nil
}

func (d *device) read(now time.Time) error {
	var err error
	if d.state, err = d.journal.State(); err != nil {
		return err
	}
	if d.state.Enrolled == nil {
		return ErrUnfinished
	}
	if d.id, err = identity.Load(d.journal.Dir()); err != nil {
		return err
	}
	d.pins, err = pins.Load(d.journal.Dir(), d.state.Enrolled, now)
	return err
}

// connect makes the link to the server, as this device.
func (d *device) connect(cfg *config.Config, log *slog.Logger) (*link.Link, error) {
	cas, err := d.pins.ServerCAs()
	if err != nil {
		return nil, err
	}
	server := d.state.Server
	if cfg.Server != "" { // it has moved; who answers must prove itself all the same
		server = cfg.Server
	}
	clock := func() time.Time { return d.state.Enrolled.Now(time.Now()) }
	transport, err := link.NewTransport(link.Target{Server: server, CAs: cas, Present: d.id.Present, Proxy: cfg.Proxy, Now: clock})
	if err != nil {
		return nil, err
	}
	return link.New(link.Options{
		Journal: d.journal, Client: link.NewClient(server, transport),
		BootID: journal.NewID(time.Now()), Version: version.String(), MinInterval: cfg.MinInterval,
		Facts: Facts, Now: clock, Random: link.Jitter, Log: log,
	})
}

// close lets go of the state directory.
func (d *device) close() { _ = d.journal.Close() }
