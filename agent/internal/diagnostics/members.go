package diagnostics

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/doctor"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
)

// member is one file of the bundle. What cannot be had is an error, and is named
// with it in the manifest.
type member struct {
	name string
	text bool // free text: see sieve
	make func(ctx context.Context, g *gathering) ([]byte, error)
}

var members = []member{
	{"doctor.txt", false, func(_ context.Context, g *gathering) ([]byte, error) {
		var b bytes.Buffer
		err := g.report.Print(&b)
		return b.Bytes(), err
	}},
	{"doctor.json", false, func(_ context.Context, g *gathering) ([]byte, error) { return asJSON(g.report) }},
	{"status.json", false, func(_ context.Context, g *gathering) ([]byte, error) {
		st, err := app.ReadStatus(g.dir, g.now)
		if err != nil {
			return nil, err
		}
		return asJSON(st)
	}},
	{"journal.json", false, func(_ context.Context, g *gathering) ([]byte, error) {
		if g.stateErr != nil {
			return nil, g.stateErr
		}
		return asJSON(viewJournal(&g.state))
	}},
	{"settings.json", false, func(_ context.Context, g *gathering) ([]byte, error) {
		return asJSON(viewSettings(g.Doctor.Config, g.Doctor.SettingsFile, g.Doctor.SettingsErr))
	}},
	{"system.json", false, func(_ context.Context, g *gathering) ([]byte, error) { return asJSON(viewSystem(g.now)) }},
	{"certificate.pem", false, func(_ context.Context, g *gathering) ([]byte, error) {
		if err := g.enrolled(); err != nil {
			return nil, err
		}
		return certificates(g.dir)
	}},
	{"fleet-roots.json", false, func(_ context.Context, g *gathering) ([]byte, error) {
		p, err := g.pins()
		if err != nil {
			return nil, err
		}
		roots := make([]json.RawMessage, len(p.Root.Envelopes))
		for i, env := range p.Root.Envelopes {
			roots[i] = env
		}
		return asJSON(roots)
	}},
	{"policy-bundle.json", false, func(_ context.Context, g *gathering) ([]byte, error) {
		p, err := g.pins()
		if err != nil {
			return nil, err
		}
		return p.BundleEnvelope(), nil
	}},
	{"service.log", true, func(ctx context.Context, g *gathering) ([]byte, error) { return g.Log(ctx) }},
}

// gathering is what the members are made of.
type gathering struct {
	Options
	report   *doctor.Report
	state    journal.State
	stateErr error
}

// enrolled says why there is nothing of an enrolled device to show. A journal that
// cannot be read is not why: what else is there may tell more.
func (g *gathering) enrolled() error {
	switch {
	case errors.Is(g.stateErr, journal.ErrNotEnrolled):
		return g.stateErr
	case g.stateErr == nil && g.state.Enrolled == nil:
		return app.ErrUnfinished
	}
	return nil
}

// pins are shown once they were verified against the journal: what else lies in
// their files may be anything.
func (g *gathering) pins() (*pins.Pins, error) {
	if g.stateErr != nil {
		return nil, g.stateErr
	}
	if err := g.enrolled(); err != nil {
		return nil, err
	}
	return pins.Load(g.dir, g.state.Enrolled, g.now)
}

// secrets are those that are known here.
func (g *gathering) secrets() []string {
	c := g.Doctor.Config
	list := []string{c.Token, g.state.PollNonce}
	if c.Proxy != nil {
		password, _ := c.Proxy.User.Password()
		list = append(list, password)
	}
	if e := g.state.Enrolled; e != nil {
		list = append(list, e.Nonce, e.Receipt)
	}
	return list
}

// certificates is the chain that the device presents, in PEM; its own alone if
// the key cannot be used.
func certificates(dir string) ([]byte, error) {
	var chain [][]byte
	id, err := identity.Load(dir)
	if err == nil {
		presented, err := id.Present(nil)
		if err != nil {
			return nil, err
		}
		chain = presented.Certificate
	} else {
		leaf, alone := identity.LoadCertificate(dir)
		if alone != nil {
			return nil, fmt.Errorf("%w; %w", err, alone)
		}
		chain = [][]byte{leaf.Raw}
	}
	var b bytes.Buffer
	for _, der := range chain {
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func asJSON(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}
