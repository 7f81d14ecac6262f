package adminapi

import (
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// elsewhere is a route that another surface answers. It is described here, so
// that one document lists all there is to call.
type elsewhere struct {
	method, path, id, summary, policy string
	in, out                           any // nil: no body
	status                            int
}

var otherRoutes = []elsewhere{
	{http.MethodPost, protocol.PathEnroll, "device-enroll", "A device asks to join (machine listener)", httpkit.Anonymous.String(), protocol.EnrollRequest{}, protocol.EnrollAnswer{}, http.StatusAccepted},
	{http.MethodPost, protocol.EnrollPollPath("{id}"), "device-enroll-poll", "A device asks after its enrollment; the body is a DSSE envelope over enroll-poll (machine listener)", httpkit.Anonymous.String(), signing.Envelope{}, protocol.EnrollResult{}, http.StatusOK},
	{http.MethodPost, protocol.PathHeartbeat, "device-heartbeat", "A device's sign of life, over mutual TLS (machine listener)", httpkit.Device.String(), protocol.Heartbeat{}, protocol.HeartbeatAnswer{}, http.StatusOK},
	{http.MethodPost, protocol.PathRenew, "device-renew", "A device asks for a certificate of another key, over mutual TLS; the body is a DSSE envelope over renewal (machine listener)", httpkit.Device.String(), signing.Envelope{}, protocol.RenewAnswer{}, http.StatusOK},
	{http.MethodPost, protocol.PathAttestationChallenge, "device-attestation-challenge", "A device says which TPM it has, and is given a challenge, over mutual TLS (machine listener)", httpkit.Device.String(), protocol.AttestationClaim{}, protocol.AttestationChallenge{}, http.StatusOK},
	{http.MethodPost, protocol.PathAttestationEvidence, "device-attestation-evidence", "A device brings the evidence of its TPM, over mutual TLS (machine listener)", httpkit.Device.String(), protocol.AttestationEvidence{}, protocol.AttestationResult{}, http.StatusOK},
	{http.MethodGet, "/api/health/live", "health-live", "Whether the process answers (both listeners)", httpkit.Anonymous.String(), nil, nil, http.StatusOK},
	{http.MethodGet, "/api/health/ready", "health-ready", "Whether the server may be sent work, and why not: 200 or 503 (both listeners)", httpkit.Anonymous.String(), nil, nil, http.StatusOK},
	{http.MethodGet, "/api/openapi.json", "openapi", "This document", httpkit.Anonymous.String(), nil, nil, http.StatusOK},
	{http.MethodGet, "/crl/{name}", "crl", "A revocation list in DER: root.crl, device.crl or server.crl for the authority that issues now, or the fingerprint of an authority's certificate and .crl", httpkit.Anonymous.String(), nil, nil, http.StatusOK},
	{http.MethodPost, "/ocsp", "ocsp-post", "An OCSP request in DER, as application/ocsp-request, about a certificate of any authority that is believed", httpkit.Anonymous.String(), nil, nil, http.StatusOK},
	{http.MethodGet, "/ocsp/{request...}", "ocsp-get", "An OCSP request in the path: base64 of its DER, escaped for a URL", httpkit.Anonymous.String(), nil, nil, http.StatusOK},
	{http.MethodGet, "/.well-known/{purpose}/jwks.json", "jwks", "The public keys of trust-assertion or workload-assertion as a JWK set (RFC 7517): those that sign now, are to sign next, or signed what may still be valid", httpkit.Anonymous.String(), nil, nil, http.StatusOK},
	{http.MethodGet, "/metrics", "metrics", "Prometheus metrics, with the monitoring token as bearer token", httpkit.MonitoringToken.String(), nil, nil, http.StatusOK},
}

// describeOthers adds otherRoutes to the document.
func (a *API) describeOthers() {
	doc := a.huma.OpenAPI()
	schema := func(v any) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: doc.Components.Schemas.Schema(reflect.TypeOf(v), true, "")}}
	}
	for _, e := range otherRoutes {
		op := &huma.Operation{
			Method: e.method, Path: e.path, OperationID: e.id, Summary: e.summary, Extensions: map[string]any{"x-policy": e.policy},
			Responses: map[string]*huma.Response{
				strconv.Itoa(e.status): {Description: http.StatusText(e.status)},
				"default": {Description: "Refused", Content: map[string]*huma.MediaType{
					httpkit.ProblemMediaType: {Schema: doc.Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")}}},
			},
		}
		if e.in != nil {
			op.RequestBody = &huma.RequestBody{Required: true, Content: schema(e.in)}
		}
		if e.out != nil {
			op.Responses[strconv.Itoa(e.status)].Content = schema(e.out)
		}
		doc.AddOperation(op)
	}
}
