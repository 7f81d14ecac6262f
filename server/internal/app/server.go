package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/dashboard"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/deviceapi"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysapi"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/statusapi"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
)

// Limits of requests by source. Devices count only until they have proven who
// they are; a site of thousands behind one address may enroll at once.
const (
	enrollsPerSecond  = 1000
	enrollBurst       = 20_000
	actsPerSecond     = 200
	actBurst          = 2000
	sourcesRemembered = 100_000
)

// handshakePatience is how long a device's handshake, and the head of its request,
// may take: when thousands come back at once, each waits for its turn at the CPU.
const handshakePatience = 10 * time.Second

// serverCertLife is how long the machine listener's own certificates live.
const serverCertLife = 7 * 24 * time.Hour

// Server is the whole server: Core with its listeners and its upkeep.
type Server struct {
	*Core
	People  net.Listener
	Machine net.Listener

	health   *health.Service
	registry *prometheus.Registry
	metrics  *httpkit.Metrics
	people   func() (*peopleSurface, error) // made once, when it is first asked for
	machine  *httpkit.Mux
	tls      *tls.Config // of the machine listener
	front    *front      // nil: there is no reverse proxy to believe
	ready    chan struct{}
}

// New opens the server and its listeners; nothing is served before Run.
func New(ctx context.Context, o Options) (_ *Server, err error) {
	if err := fit(ctx, o); err != nil {
		return nil, err
	}
	core, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Server{Core: core, registry: prometheus.NewRegistry(), ready: make(chan struct{})}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if _, err := core.Policy.Fleet(); err != nil { // the commands of the ceremony need not hear it
		core.Log.WarnContext(ctx, "no device can enroll yet", "reason", err)
	}
	if err = core.Flow.AdoptQuorums(ctx); err != nil {
		return nil, fmt.Errorf("how many people approve: %w", err)
	}
	own := s.ServerCertificate()
	s.front = core.newFront()
	checks := append(core.checks(), health.Check{Name: "server-certificate", Ask: s.renews(own)})
	s.health = health.New(core.DB.Now, append(checks, s.front.checks()...)...)
	if err = s.surfaces(own); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if s.People, err = lc.Listen(ctx, "tcp", core.Config.PeopleListen); err != nil {
		return nil, fmt.Errorf("the people listener (SENTINEL_PEOPLE_LISTEN): %w", err)
	}
	if s.Machine, err = lc.Listen(ctx, "tcp", core.Config.MachineListen); err != nil {
		return nil, fmt.Errorf("the machine listener (SENTINEL_MACHINE_LISTEN): %w", err)
	}
	if err = s.front.listen(ctx); err != nil {
		return nil, err
	}
	core.Config.PeopleURL = reachable(core.Config.PeopleURL, "http", s.People)
	core.Config.MachineURL = reachable(core.Config.MachineURL, "https", s.Machine)
	return s, nil
}

// reachable is the URL of a listener whose port was chosen by the system.
func reachable(url, scheme string, l net.Listener) string {
	if url != "" {
		return url
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return scheme + "://" + net.JoinHostPort("localhost", port)
}

// surfaces makes what devices speak to. The people's surface takes longer than all
// else that a start does, and devices do not wait for it.
func (s *Server) surfaces(own *pki.ServerCertificate) (err error) {
	s.people = sync.OnceValues(s.peopleSurface)
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.metrics, err = httpkit.NewMetrics(s.registry); err != nil {
		return err
	}
	strangers, err := httpkit.NewLimiter(enrollsPerSecond, enrollBurst, sourcesRemembered, nil)
	if err != nil {
		return err
	}
	s.machine = s.MachineSurface(s.health, httpkit.Options{Limiter: strangers, Metrics: s.metrics})
	s.tls = certs.ServerTLS(own.Get)
	// Made now instead of at the first handshake. One that cannot be made, by a clock that
	// stands wrong or a disk that is full, stops no start: it is tried again, and readiness
	// says so.
	if _, err := own.Get(nil); err != nil && !errors.Is(err, pki.ErrNoAuthority) {
		s.Log.Error("the machine listener's certificate could not be made", "error", err)
	}
	return nil
}

// peopleSurface is what people use: the API, the console, and what anybody may read.
type peopleSurface struct {
	*httpkit.Mux
	console *dashboard.Console
}

func (s *Server) peopleSurface() (*peopleSurface, error) {
	callers, err := httpkit.NewLimiter(actsPerSecond, actBurst, sourcesRemembered, nil)
	if err != nil {
		return nil, err
	}
	admins := s.adminAPI()
	guards := admins.Guards()
	console, err := dashboard.New(s.consoleDeps())
	if err != nil {
		return nil, err
	}
	maps.Copy(guards, console.Guards())
	guards[httpkit.KindMonitoring] = httpkit.MonitoringGuard([]byte(s.Config.MetricsToken), []byte(s.Config.MetricsTokenPrevious))
	m := httpkit.NewMux(httpkit.Options{Surface: "people", Guards: guards, Limiter: callers, LimitKnown: true, Metrics: s.metrics, Log: s.Log,
		CrossSite: &httpkit.CrossSite{Own: func() string { return s.Config.PeopleURL }, Allowed: s.Config.AllowedOrigins}})
	m.Handle(httpkit.Route{Method: "GET", Pattern: "/api/health/live", Policy: httpkit.Anonymous}, http.HandlerFunc(httpkit.Live))
	m.Handle(httpkit.Route{Method: "GET", Pattern: "/api/health/ready", Policy: httpkit.Anonymous}, httpkit.Ready(s.health.Report))
	m.Handle(httpkit.Route{Method: "GET", Pattern: "/metrics", Policy: httpkit.MonitoringToken}, promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	admins.Register(m)
	statusapi.New(s.Lists, s.OCSP, s.Log, s.DB.Now).Register(m)
	keysapi.New(s.Assertions, s.Log).Register(m)
	console.Register(m)
	return &peopleSurface{m, console}, nil
}

// PeopleRoutes is every route of the surface that people use.
func (s *Server) PeopleRoutes() ([]httpkit.Route, error) {
	surface, err := s.people()
	if err != nil {
		return nil, err
	}
	return surface.Routes(), nil
}

// MachineSurface is what devices speak to. Of o, what the surface itself decides is
// filled in.
func (c *Core) MachineSurface(h *health.Service, o httpkit.Options) *httpkit.Mux {
	devices := deviceapi.New(c.Flow, c.PKI, c.Refusals, h, c.Log, c.DB.Now)
	if c.External != nil {
		devices.Believe(c.External)
	}
	o.Surface, o.Guards, o.Log, o.Level = "machine", devices.Guards(), c.Log, slog.LevelDebug
	m := httpkit.NewMux(o)
	devices.Register(m)
	return m
}

// ServerCertificate is the machine listener's own.
func (c *Core) ServerCertificate() *pki.ServerCertificate {
	return c.PKI.ServerCertificate(c.Config.MachineNames, serverCertLife)
}

// Ready is closed once every listener serves.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// devicesFirst is how long after a start what people use is made, if nobody asks for
// it sooner: it is most of a start's work.
const devicesFirst = 300 * time.Millisecond

// Run serves until ctx ends or a part fails, and stops the parts in reverse
// order: listeners first, so that what they began is finished.
func (s *Server) Run(ctx context.Context) error {
	if err := s.RaiseMark(ctx); err != nil {
		return err
	}
	// Two intervals: a device that misses one beat need not shake hands again.
	idle := max(3*time.Minute, 2*s.Config.HeartbeatInterval+time.Minute)
	patience := httpkit.Limits{Idle: idle, ReadHeader: handshakePatience}
	machine := httpkit.NewServer(s.front.closed(s.machine), s.tls, patience)
	machine.ConnContext = deviceapi.ConnContext
	machine.Protocols = new(http.Protocols) // HTTP/1.1 only: it serves devices at half the cost of HTTP/2
	machine.Protocols.SetHTTP1(true)
	var peopleTLS *tls.Config
	if s.Config.PeopleTLSCertFile != "" {
		pair, err := tls.LoadX509KeyPair(s.Config.PeopleTLSCertFile, s.Config.PeopleTLSKeyFile)
		if err != nil {
			return fmt.Errorf("the people listener's certificate: %w", err)
		}
		peopleTLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	console := http.HandlerFunc(s.servePeople)
	people := httpkit.NewServer(s.front.closed(console), peopleTLS, httpkit.Limits{})
	people.RegisterOnShutdown(s.closeConsole)
	listeners := append([]listener{{"machine listener", machine, s.Machine}, {"people listener", people, s.People}}, s.front.servers(s.machine, console, patience, s.closeConsole)...)
	serving := make(chan struct{}, len(listeners))
	parts := []lifecycle.Part{
		{Name: "heartbeats", Run: s.Flow.RunHeartbeats},
		{Name: "commands", Run: s.Flow.RunCommands},
		{Name: "signing", Run: s.Flow.RunSigning},
		{Name: "fleet documents", Run: s.watchDocuments},
		{Name: "renewals", Run: s.Flow.RunRenewals},
		{Name: "upkeep", Run: s.upkeep},
		{Name: "authorities", Run: s.watchAuthorities},
		{Name: "revocation lists", Run: s.keepLists},
		{Name: "revocation by another authority", Run: s.watchExternal},
		{Name: "what people use", Run: func(ctx context.Context) error {
			select { // devices that wait for the server come first; who asks for it sooner has it made sooner
			case <-time.After(devicesFirst):
			case <-ctx.Done():
				return nil
			}
			if _, err := s.people(); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}},
	}
	if s.front != nil {
		parts = append(parts, lifecycle.Part{Name: "what the proxy goes by", Run: s.front.keep})
	}
	for _, l := range listeners {
		// Failed handshakes and the like are the callers' doing: worth a look, not an alarm.
		l.server.ErrorLog = slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)
		parts = append(parts, lifecycle.Part{Name: l.name, Run: serve(l.server, l.Listener, serving)})
	}
	parts = append(parts, lifecycle.Part{Name: "announce", Run: func(ctx context.Context) error {
		for range listeners {
			select {
			case <-serving:
			case <-ctx.Done():
				return nil
			}
		}
		close(s.ready)
		<-ctx.Done()
		return nil
	}})
	return lifecycle.Run(ctx, s.Log, s.Config.ShutdownTimeout, parts...)
}

// servePeople waits for the surface, if that is still being made.
func (s *Server) servePeople(w http.ResponseWriter, r *http.Request) {
	surface, err := s.people()
	if err != nil { // Run ends for it
		http.Error(w, "the server does not start; its log says why", http.StatusServiceUnavailable)
		return
	}
	surface.ServeHTTP(w, r)
}

func (s *Server) closeConsole() {
	if surface, err := s.people(); err == nil {
		surface.console.Close()
	}
}

// listener is an address with the server that answers there.
type listener struct {
	name   string
	server *http.Server
	net.Listener
}

// RaiseMark lets this node remember the database before anything is acknowledged.
func (c *Core) RaiseMark(ctx context.Context) error { return c.Flow.RaiseMark(ctx) }

// serve is one listener as a part: it ends by letting requests finish.
func serve(server *http.Server, l net.Listener, serving chan<- struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		done := make(chan error, 1)
		go func() {
			serving <- struct{}{}
			if server.TLSConfig != nil {
				done <- server.ServeTLS(l, "", "")
				return
			}
			done <- server.Serve(l)
		}()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
		}
		// The supervisor bounds this, and says who is late.
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(stop); err != nil {
			_ = server.Close()
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

// Close gives back what New took. A server that ran is closed too.
func (s *Server) Close() error {
	for _, l := range []net.Listener{s.People, s.Machine} {
		if l != nil {
			_ = l.Close()
		}
	}
	s.front.close()
	return s.Core.Close()
}

// Fingerprint is what devices are told of the authority of this server's names.
func (c *Core) Fingerprint() string {
	ca, err := c.PKI.Active(certs.KindServer)
	if err != nil {
		return ""
	}
	return certs.Fingerprint(ca.Raw)
}

// Loopback reports whether the server is reached from this machine only.
func (s *Server) Loopback() bool {
	for _, l := range []net.Listener{s.People, s.Machine} {
		host, _, _ := strings.Cut(l.Addr().String(), ":")
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return false
		}
	}
	return true
}
