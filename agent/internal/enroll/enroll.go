package enroll

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Options are what an enrollment works with. Those that come from a person may
// be left out when one goes on; if given, they must be the same.
type Options struct {
	Dir           string
	Server        string // https://host:port
	Token         string
	CAFingerprint string // SHA-256 of the server's CA, lower-case hex
	FirstRoot     string // digest of the first fleet root, "" for trust on first use
	DeviceID      string

	// Files of a certificate that another authority issued, and of its key; "" asks the
	// server for one.
	CertificateFile, KeyFile string

	Wait  time.Duration // for a decision
	Proxy *url.URL
	Place identity.Place // where the key is made
	Facts protocol.Facts
	Built time.Time                                                            // when this program was made, zero if unknown: it cannot be earlier now
	Dial  func(ctx context.Context, network, address string) (net.Conn, error) // as link.Target; nil is the usual

	Now    func() time.Time
	Random func() float64 // in [0, 1), for jitter
	Sleep  func(ctx context.Context, d time.Duration) error
	Out    io.Writer // told what the person has to know

	// Network takes the place of the machine's in simulations.
	Network Network
}

// Network is how a server is reached before the device knows its fleet.
type Network interface {
	// LearnCA finds the CA with this fingerprint at the server.
	LearnCA(ctx context.Context, server, fingerprint string) (*x509.Certificate, error)
	// Connect makes connections to the target, as link.NewTransport does.
	Connect(target link.Target) (http.RoundTripper, error)
}

// Result is what the device was given.
type Result struct {
	DeviceID  string
	NotAfter  time.Time // of the certificate
	FirstRoot string
	FirstUse  bool // FirstRoot came from the server itself
}

// enrollment is one run.
type enrollment struct {
	Options
	journal *journal.Journal
	state   journal.State
	key     crypto.Signer
	own     *identity.Identity // of another authority; nil: none
	client  *link.Client
	code    string
	until   time.Time
}

// Run begins an enrollment, or goes on with the one under way, and returns when
// the device is enrolled. Its errors are those of this package, of package link
// and of package journal.
func Run(ctx context.Context, o Options) (*Result, error) {
	result, err := run(ctx, o)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrOver) {
		return nil, stopped(o.Dir)
	}
	return result, err
}

// stopped says how far an enrollment had come. What ended it is not told: the
// person knows.
func stopped(dir string) error {
	if s, err := journal.Read(dir); err != nil || !s.Submitted {
		return fmt.Errorf("%w: %w", ErrStopped, ErrUnsent)
	}
	return ErrStopped
}

func run(ctx context.Context, o Options) (*Result, error) {
	if errors.Is(journal.CheckDir(o.Dir), journal.ErrNotEnrolled) {
		if err := o.complete(); err != nil { // before anything is made
			return nil, err
		}
	}
	if err := journal.MakeDir(o.Dir); err != nil {
		return nil, err
	}
	j, err := journal.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = j.Close() }()
	e := &enrollment{Options: o, journal: j, until: o.Now().Add(o.Wait)}
	if err := e.prepare(ctx); err != nil {
		return nil, explainClock(err, o.Now())
	}
	if err := e.submit(ctx); err != nil {
		return nil, e.end(err)
	}
	issued, err := e.await(ctx)
	if err != nil {
		return nil, e.end(err)
	}
	return e.accept(issued)
}

// prepare brings journal, key and client into being, or finds them.
func (e *enrollment) prepare(ctx context.Context) error {
	var err error
	e.state, err = e.journal.State()
	switch {
	case errors.Is(err, journal.ErrNotEnrolled):
		err = e.begin(ctx)
	case err == nil && e.state.Enrolled != nil:
		err = fmt.Errorf("%w as %s at %s", ErrEnrolled, e.state.DeviceID, e.state.Server)
	case err == nil:
		err = e.resume()
	}
	if err != nil {
		return err
	}
	if e.key, err = e.findKey(); err != nil {
		return err
	}
	if e.code, err = certs.KeyCode(e.key.Public()); err != nil {
		return err
	}
	var present func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	if e.state.Outside {
		if e.own, err = identity.Load(e.Dir); err != nil {
			return err
		}
		present = e.own.Present
	}
	e.client, err = newClient(e.Options, &e.state, present)
	return err
}

// begin pins the server's CA and writes down what this enrollment is.
func (e *enrollment) begin(ctx context.Context) error {
	if err := e.complete(); err != nil {
		return err
	}
	if e.CertificateFile != "" { // before the server is looked for
		if _, err := identity.ReadPair(e.CertificateFile, e.KeyFile); err != nil {
			return err
		}
	}
	ca, err := e.learnCA(ctx)
	if err != nil {
		return err
	}
	// Whatever lies here without a journal was never part of an enrollment.
	if err := errors.Join(identity.Remove(e.Dir), pins.Remove(e.Dir), command.Remove(e.Dir)); err != nil {
		return err
	}
	now := e.Now().UTC().Truncate(time.Second)
	e.state = journal.State{
		Server: e.Server, DeviceID: e.DeviceID, EnrollmentID: journal.NewID(now), StartedAt: now,
		ServerCA: ca.Raw, WantRoot: e.FirstRoot, Outside: e.CertificateFile != "",
	}
	if err := e.journal.Begin(e.state); err != nil {
		return err
	}
	e.tellf("Enrolling %s at %s.", e.state.DeviceID, e.state.Server)
	return nil
}

// complete makes sure that a new enrollment has all that it needs.
func (o *Options) complete() error {
	needed := []struct{ value, name string }{
		{o.Server, "the server's address (--server)"},
		{o.CAFingerprint, "the fingerprint of the server's CA (--ca-fingerprint)"},
	}
	if o.CertificateFile == "" {
		needed = append(needed, struct{ value, name string }{o.Token, "an enrollment token (--token-file, or --token - for standard input)"})
	}
	needed = append(needed, struct{ value, name string }{o.DeviceID, "a name for this device (--device-id), since its host name is not fit"})
	for _, c := range needed {
		if c.value == "" {
			return fmt.Errorf("%w: %s", ErrMissing, c.name)
		}
	}
	return nil
}

// resume makes sure that the person means the enrollment that is under way.
func (e *enrollment) resume() error {
	s := &e.state
	for _, c := range []struct{ given, have, what string }{
		{e.Server, s.Server, "server"},
		{e.DeviceID, s.DeviceID, "device_id"},
		{e.CAFingerprint, certs.Fingerprint(s.ServerCA), "CA fingerprint"},
		{e.FirstRoot, s.WantRoot, "fleet root"},
	} {
		if c.given != "" && c.given != c.have {
			return fmt.Errorf("%w, as %s at %s: the %s given is not the same", ErrOther, s.DeviceID, s.Server, c.what)
		}
	}
	if s.Outside != (e.CertificateFile != "") && !s.Submitted {
		return fmt.Errorf("%w, as %s at %s: whether the certificate comes from another authority is not the same", ErrOther, s.DeviceID, s.Server)
	}
	if !s.Submitted && !s.Outside && e.Token == "" {
		return fmt.Errorf("%w: the token (--token-file, or --token - for standard input); it had not reached the server yet", ErrMissing)
	}
	e.tellf("Going on with the enrollment of %s at %s.", s.DeviceID, s.Server)
	return nil
}

// findKey loads the key. It is made only while nothing was sent: a new one later
// would be another device's.
func (e *enrollment) findKey() (crypto.Signer, error) {
	if e.state.Outside && !e.state.Submitted { // what is in the files now is what counts
		pair, err := identity.ReadPair(e.CertificateFile, e.KeyFile)
		if err != nil {
			return nil, err
		}
		if err := pair.StoreIn(e.Dir, journal.SlotA); err != nil {
			return nil, err
		}
	}
	key, err := identity.LoadKey(e.Dir)
	if errors.Is(err, identity.ErrNoKey) && !e.state.Submitted {
		return e.Place.Create(e.Dir, journal.SlotA)
	}
	return key, err
}

// end turns an outcome into what the person is told, and clears away what cannot
// go on.
func (e *enrollment) end(err error) error {
	if refusal, ok := errors.AsType[*link.RefusalError](err); ok {
		switch code := refusal.Problem.Code; {
		case over[code]:
			err = &RefusedError{Code: code, Reason: refusal.Problem.Error()}
		case code == protocol.CodeCAMismatch:
			err = fmt.Errorf("%w: %w", ErrBetween, err)
		}
	}
	if errors.Is(err, ErrOver) {
		return errors.Join(err, Forget(e.journal))
	}
	return explainClock(err, e.Now())
}

// Forget removes everything that an enrollment left on this device, the key
// first and the journal last, so that what is interrupted can be repeated.
func Forget(j *journal.Journal) error {
	if err := identity.Remove(j.Dir()); err != nil {
		return err
	}
	if err := errors.Join(pins.Remove(j.Dir()), command.Remove(j.Dir())); err != nil {
		return err
	}
	return j.Remove()
}

func explainClock(err error, now time.Time) error {
	if err == nil || !link.IsClock(err) {
		return err
	}
	return fmt.Errorf("%w: the server's certificate is not valid at %s, which is this device's time: %w", ErrClock, now.UTC().Format(time.RFC3339), err)
}

func (e *enrollment) tellf(format string, args ...any) {
	_, _ = fmt.Fprintf(e.Out, format+"\n", args...)
}
