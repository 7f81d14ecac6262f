package deviceapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func (a *API) enroll(w http.ResponseWriter, r *http.Request) {
	var req protocol.EnrollRequest
	entry := audit.Entry{Action: audit.EnrollRequest, ObjectKind: "device"}
	if err := read(r, &req, req.Check); err != nil {
		a.refuse(w, r, entry, err)
		return
	}
	ask := a.flow.Enroll
	if len(req.Recovery) > 0 {
		ask, entry.Action = a.flow.Recover, audit.IdentityRequest
	}
	answer, err := ask(r.Context(), httpkit.Source(r), httpkit.RequestID(r.Context()), &req)
	if err != nil {
		entry.ObjectID = req.DeviceID
		a.refuse(w, r, entry, err)
		return
	}
	write(w, http.StatusAccepted, answer)
}

func (a *API) poll(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	err := enroll.ErrUnknown
	var result *protocol.EnrollResult
	if protocol.CheckID(id) == nil {
		result, err = a.flow.Poll(r.Context(), httpkit.Source(r), httpkit.RequestID(r.Context()), id, httpkit.Body(r))
	}
	if errors.Is(err, flow.ErrPollNonce) {
		// Not worth an entry: it happens to whoever was asleep, and is mended by the answer.
		p := httpkit.NewProblem(r.Context(), protocol.CodeNonceStale, "")
		p.Nonce = a.flow.PollNonce(id)
		httpkit.WriteProblem(w, p)
		return
	}
	if err != nil {
		a.refuse(w, r, audit.Entry{Action: audit.EnrollRequest, ObjectKind: "enrollment"}, err)
		return
	}
	write(w, http.StatusOK, result)
}

// reviewPause is how long a device waits before it asks again whether a person decided.
const reviewPause = 30 * time.Second

func (a *API) heartbeat(w http.ResponseWriter, r *http.Request) {
	id, _ := r.Context().Value(identityKey{}).(certs.Identity)
	entry := audit.Entry{Action: audit.Heartbeat, ObjectKind: "device", ObjectID: id.DeviceID}
	var h protocol.Heartbeat
	if err := checked(protocol.DecodeHeartbeat(httpkit.Body(r), &h), h.Check); err != nil {
		a.refuse(w, r, entry, err)
		return
	}
	answer, err := a.flow.Heartbeat(r.Context(), id, &h)
	if epoch, ok := errors.AsType[*flow.EpochError](err); ok {
		p := httpkit.NewProblem(r.Context(), protocol.CodeEpochChanged, "")
		p.Epoch, p.Nonce, p.Counter = epoch.Epoch, epoch.Nonce, epoch.Counter
		httpkit.WriteProblem(w, p)
		return
	}
	if errors.Is(err, flow.ErrBusy) {
		httpkit.RefuseFor(w, r, time.Second)
		return
	}
	switch {
	case err == nil:
	case id.Outside != nil:
		err = a.flow.Introduce(r.Context(), httpkit.Source(r), httpkit.RequestID(r.Context()), id, &h, err)
	case errors.Is(err, device.ErrCertificate):
		err = a.flow.Unknown(r.Context(), id, err)
	}
	if waits, ok := errors.AsType[*flow.ReviewError](err); ok {
		// Not worth an entry: the review has its own.
		w.Header().Set("Retry-After", httpkit.RetryAfter(reviewPause))
		p := httpkit.NewProblem(r.Context(), protocol.CodeReviewPending, "")
		p.Nonce = waits.Nonce
		httpkit.WriteProblem(w, p)
		return
	}
	if err != nil {
		a.refuse(w, r, entry, err)
		return
	}
	answer.Renew = answer.Renew || a.retired(r.Context())
	body, err := answer.Encode()
	send(w, http.StatusOK, body, err)
}

func (a *API) renew(w http.ResponseWriter, r *http.Request) {
	id, _ := r.Context().Value(identityKey{}).(certs.Identity)
	entry := audit.Entry{Action: audit.CertRenew, ObjectKind: "device", ObjectID: id.DeviceID}
	answer, err := a.flow.Renew(r.Context(), httpkit.Source(r), httpkit.RequestID(r.Context()), id, httpkit.Body(r))
	if errors.Is(err, flow.ErrBusy) {
		httpkit.RefuseFor(w, r, time.Second)
		return
	}
	if err != nil {
		a.refuse(w, r, entry, err)
		return
	}
	status := http.StatusOK
	if answer.State == protocol.EnrollPending {
		status = http.StatusAccepted
	}
	write(w, status, answer)
}

// read decodes the body strictly and holds it to form and limits.
func read(r *http.Request, into any, check func() error) error {
	return checked(protocol.Decode(httpkit.Body(r), into), check)
}

func checked(err error, check func() error) error {
	if err != nil {
		return err
	}
	if err := check(); err != nil {
		return fmt.Errorf("%w: %w", protocol.ErrMalformed, err)
	}
	return nil
}

func write(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	send(w, status, body, err)
}

var jsonType = []string{"application/json"} // as Header.Set would make it

func send(w http.ResponseWriter, status int, body []byte, err error) {
	if err != nil { // types of ours that always encode
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // it is JSON, and said to be
}
