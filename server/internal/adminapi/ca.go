package adminapi

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// Issuers stops the issuing of certificates, has it started again, and tells how the
// authorities stand.
type Issuers interface {
	Issuing(ctx context.Context) (*flow.Issuing, error)
	RevocationLists(ctx context.Context) ([]RevocationList, error)
	StopIssuing(ctx context.Context, by authz.By, reason string) error
	AskToStart(ctx context.Context, by authz.By, reason string) (*flow.StartRequest, error)
}

// RevocationList is a list of an authority, or of the root, as it is served.
type RevocationList struct {
	Authority   string    `json:"authority" doc:"root, device or server."`
	State       string    `json:"state,omitempty" doc:"Of the authority."`
	Certificate []byte    `json:"certificate" doc:"The authority's certificate: DER in base64."`
	Fingerprint string    `json:"fingerprint" doc:"SHA-256 of the authority's certificate."`
	Path        string    `json:"path" doc:"Where the list is served."`
	Number      int64     `json:"number"`
	Entries     int64     `json:"entries"`
	ThisUpdate  time.Time `json:"this_update"`
	NextUpdate  time.Time `json:"next_update"`
}

// caRoutes are the routes about the built-in certificate authority.
func (a *API) caRoutes() {
	add(a, httpkit.Need(authz.FleetRead), get("/api/ca", "get-ca", "Whether certificates are issued, and the revocation lists"), a.ca)
	add(a, httpkit.Need(authz.PKIStop), with(204, post("/api/ca/stop-issuing", "stop-issuing", "Issue no certificate to any device any more, at once")), a.stopIssuing)
	add(a, httpkit.Need(authz.PKIStart), post("/api/ca/start-issuing", "ask-start-issuing", "Ask that certificates are issued again; another person decides on the approval"), a.askStart)
}

type caOut struct {
	Body struct {
		Issuing flow.Issuing     `json:"issuing"`
		Lists   []RevocationList `json:"revocation_lists" nullable:"false"`
	}
}

func (a *API) ca(ctx context.Context, _ *struct{}) (*caOut, error) {
	issuing, err := a.deps.Issuers.Issuing(ctx)
	if err != nil {
		return nil, err
	}
	out := &caOut{}
	out.Body.Issuing = *issuing
	out.Body.Lists, err = a.deps.Issuers.RevocationLists(ctx)
	return out, err
}

type reasonIn struct{ Body reasonBody }

func (a *API) stopIssuing(ctx context.Context, in *reasonIn) (*struct{}, error) {
	return nil, a.deps.Issuers.StopIssuing(ctx, acting(ctx), in.Body.Reason)
}

type askStartOut struct{ Body *flow.StartRequest }

func (a *API) askStart(ctx context.Context, in *reasonIn) (*askStartOut, error) {
	asked, err := a.deps.Issuers.AskToStart(ctx, acting(ctx), in.Body.Reason)
	return &askStartOut{asked}, err
}
