package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/attest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/renew"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/tpm"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
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

// agent is a device that speaks: the parts that run.
type agent struct {
	link     *link.Link
	renewer  *renew.Renewer
	attester *attest.Attester // nil without a TPM
	commands *command.Runner  // nil for a single heartbeat, which does nothing
	files    *renew.Files     // nil unless another authority issues the certificates, into files
}

// connect makes the parts that speak to the server, as this device.
func (d *device) connect(ctx context.Context, cfg *config.Config, log *slog.Logger, obey bool, m Machine) (*agent, error) {
	server := d.state.Server
	if cfg.Server != "" { // it has moved; who answers must prove itself all the same
		server = cfg.Server
	}
	clock := func() time.Time { return d.journal.Now(m.Now()) }
	keeper := pins.NewKeeper(d.journal, d.pins, clock, log)
	w := &wire{
		journal: d.journal, keeper: keeper, log: log, client: link.NewClient(server, new(http.Transport)),
		transport: func(cas []*x509.Certificate, present func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) (http.RoundTripper, error) {
			return m.Connect(link.Target{Server: server, CAs: cas, Present: present, Proxy: cfg.Proxy, Now: clock})
		},
	}
	if err := w.fit(ctx); err != nil {
		return nil, err
	}
	a := &agent{}
	chip := tpm.Find(cfg.TPM)
	disk := renew.OnDisk(d.journal, identity.Place{InTPM: cfg.KeyInTPM, TPM: chip})
	var err error
	if a.renewer, err = renew.New(renew.Options{
		Disk: disk, Server: w.client, Keeper: keeper, Facts: m.Facts, Shown: w.Slot,
		Changed: func() { a.link.Retry() }, Now: clock, Random: m.Random, Due: m.Due, Log: log,
	}); err != nil {
		return nil, err
	}
	if cfg.CertificateFile != "" {
		a.files = &renew.Files{Disk: disk, Dir: d.journal.Dir(), CertificateFile: cfg.CertificateFile, KeyFile: cfg.KeyFile,
			Changed: func() { a.link.Retry() }, Now: clock, Log: log}
	}
	parties := []link.Party{w, keeper, a.renewer} // documents before the commands that rest on them
	if chip != nil {
		a.attester = attest.New(attest.Options{
			TPM: chip, State: d.journal.State, Server: w.client, Shown: w.Identity, Random: m.Random, Log: log,
		})
		parties = append(parties, a.attester)
	}
	bootID := journal.NewID(m.Now())
	if obey {
		if a.commands, err = d.obey(a, w, bootID, clock, log, m); err != nil {
			return nil, err
		}
		parties = append(parties, a.commands)
	}
	a.link, err = link.New(link.Options{
		Journal: d.journal, Client: w.client,
		BootID: bootID, Version: version.String(), MinInterval: cfg.MinInterval,
		Facts: m.Facts, Now: clock, Random: m.Random, Log: log, Parties: parties,
	})
	return a, err
}

// obey makes the part that does commands.
func (d *device) obey(a *agent, w *wire, bootID string, clock func() time.Time, log *slog.Logger, m Machine) (*command.Runner, error) {
	store, err := command.OpenStore(d.journal)
	if errors.Is(err, command.ErrDamaged) {
		// The device stays in reach, and does nothing that it may have done before.
		log.Error("the journal of commands is damaged: what was made before the last one that was begun is not done any more, later ones are", "error", err.Error())
		store, err = command.Anew(d.journal, clock())
	}
	if err != nil {
		return nil, err
	}
	return command.NewRunner(command.Options{
		Store: store, Key: w.Key, BootID: bootID, Version: version.String(),
		Device:     func() (command.Device, error) { return judgedBy(d.journal, w.keeper.Pins(), clock()) },
		Facts:      func() map[string]string { return m.Facts() },
		FactsAgain: func() error { return d.journal.Update(func(s *journal.State) { s.Enrolled.Facts = "" }) },
		Renew:      func(ctx context.Context) command.Reason { return command.Reason(a.renewer.Renew(ctx)) },
		Now:        clock, Timer: m.Timer, Nudge: func() { a.link.Nudge() }, Log: log,
	})
}

// judgedBy is what commands are judged by.
func judgedBy(j *journal.Journal, p *pins.Pins, now time.Time) (command.Device, error) {
	s, err := j.State()
	if err != nil {
		return command.Device{}, err
	}
	return command.Device{
		Target: signing.Target{DeviceID: s.DeviceID, EnrollmentID: s.EnrollmentID}, Now: now,
		Root: p.Root, Bundle: p.Bundle, Policy: p.PolicyMark(), Before: s.Enrolled.Policies, Void: p.Void, After: s.Enrolled.CommandsAfter,
	}, nil
}

// close lets go of the state directory.
func (d *device) close() { _ = d.journal.Close() }
