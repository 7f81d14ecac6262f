package deviceapi

import (
	"errors"
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func (a *API) challenge(w http.ResponseWriter, r *http.Request) {
	id, _ := r.Context().Value(identityKey{}).(certs.Identity)
	entry := audit.Entry{Action: audit.AttestationResult, ObjectKind: "device", ObjectID: id.DeviceID}
	var claim protocol.AttestationClaim
	if err := read(r, &claim, claim.Check); err != nil {
		a.refuse(w, r, entry, err)
		return
	}
	answer, err := a.flow.Challenge(r.Context(), id, &claim)
	if errors.Is(err, device.ErrCertificate) {
		err = a.flow.Unknown(r.Context(), id, err)
	}
	if err != nil {
		a.refuse(w, r, entry, err)
		return
	}
	write(w, http.StatusOK, answer)
}

func (a *API) evidence(w http.ResponseWriter, r *http.Request) {
	id, _ := r.Context().Value(identityKey{}).(certs.Identity)
	entry := audit.Entry{Action: audit.AttestationResult, ObjectKind: "device", ObjectID: id.DeviceID}
	var e protocol.AttestationEvidence
	if err := read(r, &e, e.Check); err != nil {
		a.refuse(w, r, entry, err)
		return
	}
	answer, err := a.flow.Evidence(r.Context(), httpkit.Source(r), httpkit.RequestID(r.Context()), id, &e)
	if errors.Is(err, device.ErrCertificate) {
		err = a.flow.Unknown(r.Context(), id, err)
	}
	if err != nil {
		a.refuse(w, r, entry, err)
		return
	}
	write(w, http.StatusOK, answer)
}
