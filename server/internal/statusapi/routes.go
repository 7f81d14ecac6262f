package statusapi

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
)

// API tells of certificates.
type API struct {
	lists     *pki.Lists
	responder *pki.Responder
	log       *slog.Logger
	now       func() time.Time
}

// New makes the surface.
func New(lists *pki.Lists, responder *pki.Responder, log *slog.Logger, now func() time.Time) *API {
	return &API{lists: lists, responder: responder, log: log, now: now}
}

// Register adds every route of the surface.
func (a *API) Register(m *httpkit.Mux) {
	for _, r := range []struct {
		route   httpkit.Route
		handler http.HandlerFunc
	}{
		{httpkit.Route{Method: "GET", Pattern: "/crl/{name}", Policy: httpkit.Anonymous}, a.list},
		{httpkit.Route{Method: "GET", Pattern: "/ocsp/{request...}", Policy: httpkit.Anonymous}, a.ask},
		{httpkit.Route{Method: "POST", Pattern: "/ocsp", Policy: httpkit.Anonymous, MaxBody: status.MaxQuestion, Media: "application/ocsp-request"}, a.post},
	} {
		m.Handle(r.route, r.handler)
	}
}
