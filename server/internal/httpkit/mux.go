package httpkit

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Options make a Mux.
type Options struct {
	Surface string // name in logs and metrics
	Guards  Guards
	Limiter *Limiter // of requests by source; nil: no limit
	// LimitKnown has the limiter count requests of callers that a guard identifies
	// too. Devices of one site may share an address, and each proves who it is.
	LimitKnown bool
	CrossSite  *CrossSite       // of a surface that browsers use; nil: none does
	Level      slog.Level       // of a request's log line
	Metrics    *Metrics         // nil: none
	Log        *slog.Logger     // of requests and panics
	Now        func() time.Time // nil takes time.Now
}

// Mux is the routes of one surface with all that stands before them.
type Mux struct {
	o      Options
	mux    *http.ServeMux
	routes []Route
}

// NewMux makes a surface without routes.
func NewMux(o Options) *Mux {
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the default of an argument
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Mux{o: o, mux: http.NewServeMux()}
}

// endpoint is a route in place: guard, body limit, handler.
type endpoint struct {
	http.Handler
	route Route
	fixed bool // its path has no parts that vary
}

// Handle adds a route. It panics, at start, when the route has no policy or one
// that this surface cannot enforce, or stands there already.
func (m *Mux) Handle(route Route, h http.Handler) {
	name := route.Method + " " + route.Pattern
	if route.Method == "" || !strings.HasPrefix(route.Pattern, "/") || route.MaxBody < 0 {
		panic("httpkit: a route needs a method, a path and a body limit: " + name) //nolint:forbidigo // a mistake in this program, found when it starts
	}
	h = takeBody(route, h)
	switch kind := route.Policy.Kind(); {
	case kind == "":
		panic("httpkit: a route without a policy: " + name) //nolint:forbidigo // a mistake in this program, found when it starts
	case (kind == KindPermission || kind == KindConsole) && !route.Policy.Permission().Known():
		panic("httpkit: a route with a permission that does not exist: " + name) //nolint:forbidigo // a mistake in this program, found when it starts
	case kind == KindAnonymous:
	case m.o.Guards[kind] == nil:
		panic(fmt.Sprintf("httpkit: %s has no guard for %s: %s", m.o.Surface, kind, name)) //nolint:forbidigo // a mistake in this program, found when it starts
	default:
		h = m.o.Guards[kind](route, h)
	}
	m.mux.Handle(name, &endpoint{h, route, !strings.Contains(route.Pattern, "{")})
	m.routes = append(m.routes, route)
}

// Routes lists the routes in the order in which they were added.
func (m *Mux) Routes() []Route { return slices.Clone(m.routes) }

// ServeHTTP answers one request.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := m.o.Now()
	id := db.NewID(begin)
	r = r.WithContext(withRequestID(r.Context(), id))
	rec := &recorder{ResponseWriter: w}
	setHeaders(rec.Header(), r, id)
	found, unknown := m.find(r)
	defer func() {
		p := recover()
		abort := m.recovered(rec, r, p)
		m.done(rec, r, found, begin)
		if abort {
			panic(http.ErrAbortHandler) //nolint:forbidigo // ends the connection: part of an answer is on its way
		}
	}()
	if m.o.Limiter != nil && (m.o.LimitKnown || found == nil || found.route.Policy.Kind() == KindAnonymous) {
		if after, ok := m.o.Limiter.Allow(sourceKey(r)); !ok {
			RefuseFor(rec, r, after)
			return
		}
	}
	if m.o.CrossSite != nil {
		if m.o.CrossSite.share(rec, r) {
			return
		}
		if why := m.o.CrossSite.Refuses(r); why != "" {
			Refuse(rec, r, CodeCrossSite, why)
			return
		}
	}
	if found == nil {
		refuseUnknown(rec, r, unknown)
		return
	}
	if found.fixed { // nothing is left to find out
		found.ServeHTTP(rec, r)
		return
	}
	m.mux.ServeHTTP(rec, r)
}

// find is the endpoint for a request, or else the standard library's answer. A
// path that would be redirected to its clean form is not there: a client that
// means a route says it.
func (m *Mux) find(r *http.Request) (*endpoint, http.Handler) {
	h, _ := m.mux.Handler(r)
	if e, ok := h.(*endpoint); ok {
		return e, nil
	}
	return nil, h
}

// refuseUnknown tells a wrong method (with the right ones) from a wrong path.
func refuseUnknown(w http.ResponseWriter, r *http.Request, standard http.Handler) {
	probe := &discard{header: http.Header{}}
	standard.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.header.Get("Allow"))
		Refuse(w, r, CodeMethod, "")
		return
	}
	Refuse(w, r, protocol.CodeNotFound, "")
}

// discard is a ResponseWriter that keeps the head of an answer only.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
