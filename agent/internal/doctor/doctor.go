package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// Options are what is looked at, and through what.
type Options struct {
	Config       *config.Config // as far as the settings could be read
	SettingsFile string         // "" for none
	SettingsErr  error          // why the settings, or some of them, could not be read

	Now     func() time.Time // this device's clock
	Service func() (service.State, error)
	Resolve func(ctx context.Context, host string) ([]string, error) // nil asks the system
	Roots   func() (*x509.CertPool, error)                           // what the system trusts; nil asks it
}

// The time-outs. Those of the network add up to less than whole.
const (
	whole   = 28 * time.Second
	local   = 4 * time.Second
	lookUp  = 4 * time.Second
	connect = 4 * time.Second
	talk    = 5 * time.Second
)

var errTooLate = errors.New("no answer in time")

// check is one check-up. look must end soon after its context.
type check struct {
	name  string
	limit time.Duration
	look  func(context.Context, *subject) Result
}

// checks in the order in which a message leaves the device.
var checks = []check{
	{"settings", local, lookAtSettings},
	{"state directory", local, lookAtDirectory},
	{"journal", local, func(_ context.Context, s *subject) Result { return judgeJournal(&s.disk) }},
	{"key and certificate", local, func(_ context.Context, s *subject) Result { return judgeIdentity(&s.disk, s.now) }},
	{"fleet root and policy", local, func(_ context.Context, s *subject) Result { return judgePins(&s.disk, s.now) }},
	{"last heartbeat", local, func(_ context.Context, s *subject) Result { return judgeHeartbeat(&s.disk, s.now) }},
	{"disk space", local, func(_ context.Context, s *subject) Result { return judgeSpace(&s.disk) }},
	{"service", local, lookAtService},
	{"name", lookUp, lookUpName},
	{"connection", connect, lookAtConnection},
	{"proxy", talk, lookAtProxy},
	{"TLS", talk, lookAtTLS},
	{"server", talk, lookAtServer},
	{"clock", local, func(_ context.Context, s *subject) Result { return judgeClock(s.times()) }},
}

// subject is what the check-ups have learnt so far. It belongs to the goroutine
// that runs them.
type subject struct {
	Options
	now  time.Time // when it began, on this device's clock
	disk disk
	net  network
}

// Run looks at everything. It ends within half a minute, whatever hangs.
func Run(ctx context.Context, o Options) *Report {
	if o.Resolve == nil {
		o.Resolve = net.DefaultResolver.LookupHost
	}
	if o.Roots == nil {
		o.Roots = x509.SystemCertPool
	}
	s := &subject{Options: o, now: o.Now()}
	ctx, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	r := &Report{MadeAt: s.now.UTC(), Version: version.String(), StateDir: o.Config.StateDir}
	for _, c := range checks {
		r.Checks = append(r.Checks, c.run(ctx, s))
	}
	for i := range r.Checks {
		r.Checks[i].Fix = app.Here(o.Config.StateDir, r.Checks[i].Fix)
	}
	r.Verdict = worst(r.Checks)
	r.DeviceID, r.Server = s.disk.state.DeviceID, s.net.server
	return r
}

func (c check) run(ctx context.Context, s *subject) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("%w (%s)", errTooLate, c.limit))
	defer cancel()
	result := c.look(ctx, s)
	result.Check, result.Found, result.Fix = c.name, tidy(result.Found), tidy(result.Fix)
	return result
}

// within runs what knows no context. What hangs is left behind, and shares
// nothing with who goes on.
func within[T any](ctx context.Context, f func() T) (T, error) {
	done := make(chan T, 1)
	go func() { done <- f() }()
	select {
	case v := <-done:
		return v, nil
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
