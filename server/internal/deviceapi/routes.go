package deviceapi

import (
	"crypto/x509"
	"log/slog"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// API answers devices.
type API struct {
	flow     *flow.Flow
	pki      *pki.Service
	refusals *audit.Refusals
	health   *health.Service
	log      *slog.Logger
	now      func() time.Time
	outside  Outside // nil: no other authority than ours is believed
}

// Outside judges certificates of another authority than ours.
type Outside interface {
	// Issued reports whether it is for Verify to judge what a caller presented.
	Issued(presented []*x509.Certificate) bool
	// Verify is certs.VerifyDevice for those.
	Verify(presented []*x509.Certificate, now time.Time) (certs.Identity, error)
	// Standing says what is known of a verified chain's revocation: nil, or
	// revocation.ErrRevoked or revocation.ErrUnknown. It does not wait for anything.
	Standing(chain []*x509.Certificate) error
}

// Believe lets the certificates of another authority be judged too. It is called
// before anything is served.
func (a *API) Believe(o Outside) { a.outside = o }

// New makes the surface.
func New(f *flow.Flow, authorities *pki.Service, refusals *audit.Refusals, h *health.Service, log *slog.Logger, now func() time.Time) *API {
	return &API{flow: f, pki: authorities, refusals: refusals, health: h, log: log, now: now}
}

// Guards are the checks of the policies that this surface knows.
func (a *API) Guards() httpkit.Guards { return httpkit.Guards{httpkit.KindDevice: a.identify} }

// Register adds every route of the surface.
func (a *API) Register(m *httpkit.Mux) {
	for _, r := range []struct {
		route   httpkit.Route
		handler http.HandlerFunc
	}{
		{httpkit.Route{Method: "POST", Pattern: protocol.PathEnroll, Policy: httpkit.Anonymous, MaxBody: protocol.MaxEnrollBody}, a.enroll},
		{httpkit.Route{Method: "POST", Pattern: protocol.EnrollPollPath("{id}"), Policy: httpkit.Anonymous, MaxBody: protocol.MaxPollBody}, a.poll},
		{httpkit.Route{Method: "POST", Pattern: protocol.PathHeartbeat, Policy: httpkit.Device, MaxBody: protocol.MaxHeartbeatBody}, a.heartbeat},
		{httpkit.Route{Method: "POST", Pattern: protocol.PathRenew, Policy: httpkit.Device, MaxBody: protocol.MaxRenewBody}, a.renew},
		{httpkit.Route{Method: "POST", Pattern: protocol.PathAttestationChallenge, Policy: httpkit.Device, MaxBody: protocol.MaxAttestationBody}, a.challenge},
		{httpkit.Route{Method: "POST", Pattern: protocol.PathAttestationEvidence, Policy: httpkit.Device, MaxBody: protocol.MaxAttestationBody}, a.evidence},
		{httpkit.Route{Method: "GET", Pattern: "/api/health/live", Policy: httpkit.Anonymous}, httpkit.Live},
		{httpkit.Route{Method: "GET", Pattern: "/api/health/ready", Policy: httpkit.Anonymous}, httpkit.Ready(a.health.Report)},
	} {
		m.Handle(r.route, r.handler)
	}
}
