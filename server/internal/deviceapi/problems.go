package deviceapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// translations is the one table of what an error is to a device. What is not in
// it is the server's own trouble: its text stays inside and the device is asked to
// come back.
var translations = []struct {
	err  error
	code protocol.Code
	tell bool // the error's text helps the device's owner and holds nothing of others
}{
	{protocol.ErrMalformed, protocol.CodeMalformed, true},

	{certs.ErrCSRMalformed, protocol.CodeCSRMalformed, false},
	{certs.ErrCSRSignature, protocol.CodeCSRSignature, false},
	{certs.ErrWeakKey, protocol.CodeWeakKey, false},
	{certs.ErrWrongName, protocol.CodeWrongName, false},
	{certs.ErrExtraNames, protocol.CodeExtraNames, false},
	{enroll.ErrTokenUnknown, protocol.CodeTokenUnknown, false},
	{enroll.ErrTokenUsedUp, protocol.CodeTokenUsedUp, false},
	{enroll.ErrTokenExpired, protocol.CodeTokenExpired, false},
	{enroll.ErrTokenRevoked, protocol.CodeTokenRevoked, false},
	{enroll.ErrConflict, protocol.CodeEnrollConflict, false},
	{enroll.ErrUnknown, protocol.CodeEnrollUnknown, false},
	{enroll.ErrState, protocol.CodeEnrollUnknown, false},
	{enroll.ErrFull, protocol.CodeEnrollFull, false},
	{flow.ErrDeviceExists, protocol.CodeDeviceExists, false},
	{device.ErrExists, protocol.CodeDeviceExists, false},
	{flow.ErrDeviceGone, protocol.CodeDeviceGone, false},
	{flow.ErrPoll, protocol.CodePollInvalid, false},
	{flow.ErrCAMismatch, protocol.CodeCAMismatch, false},

	{flow.ErrRenewal, protocol.CodeRenewalInvalid, false},
	{identity.ErrTurn, protocol.CodeEnrollFull, true},
	{identity.ErrInDate, protocol.CodeRenewalInvalid, false},
	{identity.ErrConflict, protocol.CodeRenewalConflict, false},
	{identity.ErrKeyUsed, protocol.CodeRenewalConflict, false},
	{identity.ErrLate, protocol.CodeRecoveryLate, false},

	{flow.ErrNotLetIn, protocol.CodeReviewRejected, false},
	{flow.ErrIssuedElsewhere, protocol.CodeIssuedElsewhere, false},
	{pki.ErrSerial, protocol.CodeCertificateUnknown, false},
	{revocation.ErrRevoked, protocol.CodeCertificateRevoked, false},
	{revocation.ErrUnknown, protocol.CodeRevocationUnknown, false},

	{certs.ErrNoCertificate, protocol.CodeCertificateMissing, false},
	{certs.ErrUnknownIssuer, protocol.CodeCertificateUnknown, false},
	{certs.ErrNotDevice, protocol.CodeCertificateUnknown, false},
	{certs.ErrExpired, protocol.CodeCertificateExpired, false},
	{certs.ErrNotYetValid, protocol.CodeCertificateNotYet, false},
	{device.ErrCertificate, protocol.CodeCertificateUnknown, false},
	{device.ErrLost, protocol.CodeCertificateLost, false},
	{device.ErrEnrollment, protocol.CodeIdentityMismatch, false},
	{flow.ErrIdentity, protocol.CodeIdentityMismatch, false},
	{device.ErrUnknown, protocol.CodeDeviceUnknown, false},
	{device.ErrRevoked, protocol.CodeDeviceRevoked, false},
	{device.ErrSuspended, protocol.CodeDeviceSuspended, false},
	{device.ErrHeld, protocol.CodeDeviceHeld, false},
	{device.ErrClone, protocol.CodeCounterStale, false},
	{device.ErrStale, protocol.CodeCounterStale, false},
	{device.ErrJump, protocol.CodeCounterJump, false},

	{attestation.ErrOff, protocol.CodeAttestationOff, false},
	{attestation.ErrEndorsement, protocol.CodeEndorsementUntrusted, false},
	{attestation.ErrKey, protocol.CodeAttestationKey, false},
	{attestation.ErrTPMChanged, protocol.CodeTPMChanged, false},
	{attestation.ErrTPMTaken, protocol.CodeTPMTaken, false},
	{attestation.ErrUnknown, protocol.CodeChallengeUnknown, false},
	{attestation.ErrUsed, protocol.CodeChallengeUsed, false},
	{attestation.ErrExpired, protocol.CodeChallengeExpired, false},
	{attestation.ErrForeign, protocol.CodeChallengeForeign, false},

	{device.ErrBehind, protocol.CodeNotReady, false},
	{device.ErrRace, protocol.CodeNotReady, false},
	{policy.ErrNotFounded, protocol.CodeNotReady, false},
	{pki.ErrNoAuthority, protocol.CodeNotReady, false},
	{pki.ErrStopped, protocol.CodeIssuingStopped, false},
}

// comeBack is what a device is told when the fault is the server's.
const comeBack = 10 * time.Second

// refuse answers an error with its problem and notes it for the audit log. A
// fault of the server's own is logged instead.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, e audit.Entry, err error) {
	code, detail := translate(err)
	if code == protocol.CodeNotReady {
		if !errors.Is(err, context.Canceled) {
			a.log.ErrorContext(r.Context(), "a device could not be answered", "request_id", httpkit.RequestID(r.Context()), "error", err)
		}
		w.Header().Set("Retry-After", httpkit.RetryAfter(comeBack))
		httpkit.Refuse(w, r, code, "")
		return
	}
	if code == protocol.CodeEnrollFull || code == protocol.CodeIssuingStopped {
		w.Header().Set("Retry-After", httpkit.RetryAfter(time.Minute))
	}
	if code == protocol.CodeRevocationUnknown { // it is asked for, or a source is down
		w.Header().Set("Retry-After", httpkit.RetryAfter(comeBack))
	}
	if often, ok := errors.AsType[*identity.TooOftenError](err); ok {
		w.Header().Set("Retry-After", httpkit.RetryAfter(often.After))
	}
	who := audit.Actor{Kind: audit.Anonymous, Source: httpkit.Source(r), RequestID: httpkit.RequestID(r.Context())}
	if id, ok := r.Context().Value(identityKey{}).(certs.Identity); ok {
		who.Kind, who.ID = audit.Device, id.DeviceID
	}
	e.Reason = string(code)
	if err := a.refusals.Note(r.Context(), who, e); err != nil {
		a.log.ErrorContext(r.Context(), "a refusal could not be written down", "request_id", httpkit.RequestID(r.Context()), "error", err)
	}
	httpkit.Refuse(w, r, code, detail)
}

func translate(err error) (code protocol.Code, detail string) {
	if _, ok := errors.AsType[*identity.TooOftenError](err); ok {
		return protocol.CodeRenewalEarly, ""
	}
	for _, t := range translations {
		if errors.Is(err, t.err) {
			if t.tell {
				detail = err.Error()
			}
			return t.code, detail
		}
	}
	return protocol.CodeNotReady, ""
}
