package adminapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Problem is a refusal as huma passes it on.
type Problem struct {
	protocol.Problem
	headers http.Header
}

// GetStatus is the status of the answer.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders are headers that the answer needs.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// ContentType is that of RFC 9457, whatever was negotiated.
func (p *Problem) ContentType(string) string { return httpkit.ProblemMediaType }

func newProblem(ctx context.Context, code protocol.Code, detail string) *Problem {
	return &Problem{Problem: *httpkit.NewProblem(ctx, code, detail), headers: http.Header{}}
}

// huma makes its own refusals through two variables of its package; there is no
// other way to give them our form. They are set once, before any API exists.
func init() {
	huma.NewErrorWithContext = func(c huma.Context, status int, message string, errs ...error) huma.StatusError {
		return humaProblem(c.Context(), status, message, errs)
	}
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return humaProblem(context.Background(), status, message, errs)
	}
}

// statusCodes are the codes for what huma itself refuses. All else is internal.
var statusCodes = map[int]protocol.Code{
	http.StatusBadRequest:            protocol.CodeMalformed,
	http.StatusRequestTimeout:        protocol.CodeMalformed,
	http.StatusRequestEntityTooLarge: protocol.CodeTooLarge,
	http.StatusUnsupportedMediaType:  httpkit.CodeMediaType,
	http.StatusUnprocessableEntity:   httpkit.CodeInvalid,
}

// maxTold bounds how many rules one refusal names.
const maxTold = 5

func humaProblem(ctx context.Context, status int, message string, errs []error) *Problem {
	code, ok := statusCodes[status]
	if !ok {
		return newProblem(ctx, protocol.CodeInternal, "")
	}
	var told []string
	for _, err := range errs {
		if len(told) == maxTold {
			break
		}
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			told = append(told, rule(d.ErrorDetail()))
		}
	}
	if len(told) == 0 {
		return newProblem(ctx, code, message)
	}
	return newProblem(ctx, code, strings.Join(told, "; "))
}

// rule says which rule was broken where. The value is left out, and so are the
// parts of place and text that a caller chose: names of unknown members and keys
// of maps, and what follows a colon in huma's own sentences.
func rule(d *huma.ErrorDetail) string {
	text := d.Message
	if place, why, ok := strings.Cut(text, ": "); ok && place != protocol.ErrMalformed.Error() {
		text = place
	} else if ok {
		text = place + ": " + why
	}
	segments := strings.Split(d.Location, ".")
	if strings.HasPrefix(text, "un") { // "unexpected property", "unknown query parameter"
		segments = segments[:len(segments)-1]
	}
	if len(segments) > 2 {
		segments = segments[:2]
	}
	if place := strings.Join(segments, "."); place != "" {
		return place + ": " + text
	}
	return text
}

// refusals is the one table of what an error of a domain is to the caller. What
// is told is the error's own text where say is true, and nothing beyond the title
// otherwise.
var refusals = []struct {
	err  error
	code protocol.Code
	say  bool
}{
	{admin.ErrSignIn, httpkit.CodeSignIn, false},
	{admin.ErrSignedOut, httpkit.CodeUnauthenticated, false},
	{admin.ErrHalf, httpkit.CodeStepDue, false},
	{admin.ErrCode, httpkit.CodeWrongCode, true},
	{admin.ErrFreshSignIn, httpkit.CodeFreshSignIn, true},
	{admin.ErrPasskey, httpkit.CodePasskey, false},
	{admin.ErrInvitation, httpkit.CodeInvitation, false},
	{admin.ErrBreakGlass, httpkit.CodeBreakGlass, false},
	{admin.ErrTooManyTokens, httpkit.CodeConflict, true},
	{admin.ErrNoPasskeys, httpkit.CodeConflict, true},
	{admin.ErrLastPasskey, httpkit.CodeConflict, true},
	{admin.ErrTooMany, httpkit.CodeConflict, true},
	{admin.ErrFactorExists, httpkit.CodeConflict, true},
	{admin.ErrNoFactor, protocol.CodeNotFound, true},
	{authz.ErrDenied, httpkit.CodeForbidden, false},
	{admin.ErrNotFound, protocol.CodeNotFound, false},
	{admin.ErrNameTaken, httpkit.CodeConflict, true},
	{admin.ErrLastAdmin, httpkit.CodeConflict, true},
	{audit.ErrCursor, httpkit.CodeInvalid, true},
	{context.DeadlineExceeded, protocol.CodeNotReady, false},

	{device.ErrUnknown, protocol.CodeNotFound, false},
	{device.ErrFinal, httpkit.CodeConflict, true},
	{device.ErrAlready, httpkit.CodeConflict, true},
	{device.ErrNotHeld, httpkit.CodeConflict, true},
	{flow.ErrReason, httpkit.CodeInvalid, true},
	{flow.ErrDeviceExists, httpkit.CodeConflict, true},
	{flow.ErrDeviceGone, httpkit.CodeConflict, true},
	{view.ErrLabel, httpkit.CodeInvalid, true},
	{enroll.ErrUnknown, protocol.CodeNotFound, false},
	{enroll.ErrState, httpkit.CodeConflict, true},
	{enroll.ErrTokenUnknown, protocol.CodeNotFound, false},
	{enroll.ErrTokenEnded, httpkit.CodeConflict, true},
	{enroll.ErrTokenTerms, httpkit.CodeInvalid, true},
	{enroll.ErrWindow, httpkit.CodeInvalid, true},
	{approval.ErrUnknown, protocol.CodeNotFound, false},
	{approval.ErrClosed, httpkit.CodeConflict, true},
	{approval.ErrExpired, httpkit.CodeConflict, true},
	{approval.ErrDigest, httpkit.CodeConflict, true},
	{approval.ErrOwn, httpkit.CodeForbidden, true},
	{approval.ErrVoted, httpkit.CodeConflict, true},
	{approval.ErrVoid, httpkit.CodeConflict, true},
	{approval.ErrFresh, httpkit.CodeFreshSignIn, true},
	{approval.ErrNotVoter, httpkit.CodeForbidden, true},
	{approval.ErrFew, httpkit.CodeConflict, true},
	{approval.ErrNoReason, httpkit.CodeInvalid, true},
	{command.ErrUnknown, protocol.CodeNotFound, false},
	{command.ErrOver, httpkit.CodeConflict, true},
	{command.ErrRunning, httpkit.CodeConflict, true},
	{policy.ErrUnknown, protocol.CodeNotFound, false},
	{policy.ErrOld, httpkit.CodeConflict, true},
	{view.ErrCursor, httpkit.CodeInvalid, true},
	{device.ErrSuspended, httpkit.CodeConflict, true},
	{device.ErrHeld, httpkit.CodeConflict, true},
	{device.ErrRevoked, httpkit.CodeConflict, true},
	{device.ErrCertificate, httpkit.CodeConflict, true},
	{identity.ErrInDate, httpkit.CodeConflict, true},
	{identity.ErrLate, httpkit.CodeConflict, true},
	{identity.ErrNone, protocol.CodeNotFound, true},
	{identity.ErrState, httpkit.CodeConflict, true},
	{policy.ErrNotFounded, protocol.CodeNotReady, true},
	{pki.ErrNoAuthority, protocol.CodeNotReady, true},
	{pki.ErrStopped, httpkit.CodeConflict, true},
	{pki.ErrStoppedAlready, httpkit.CodeConflict, true},
	{pki.ErrNotStopped, httpkit.CodeConflict, true},
	{attestation.ErrNone, protocol.CodeNotFound, true},
	{attestation.ErrNoBaseline, protocol.CodeNotFound, false},
	{attestation.ErrState, httpkit.CodeConflict, true},
}

// refusal turns an error into a problem. An unknown one is internal, and its text
// goes to the log only.
func (a *API) refusal(ctx context.Context, err error) error {
	if throttled, ok := errors.AsType[*admin.ThrottledError](err); ok {
		p := newProblem(ctx, protocol.CodeRateLimited, "")
		p.headers.Set("Retry-After", httpkit.RetryAfter(throttled.After))
		return p
	}
	if invalid, ok := errors.AsType[*admin.InvalidError](err); ok {
		return newProblem(ctx, httpkit.CodeInvalid, invalid.Error())
	}
	if ask, ok := errors.AsType[*flow.AskError](err); ok {
		return newProblem(ctx, httpkit.CodeInvalid, ask.Error())
	}
	if invalid, ok := errors.AsType[*policy.InvalidError](err); ok {
		return newProblem(ctx, httpkit.CodeInvalid, invalid.Error())
	}
	if invalid, ok := errors.AsType[*attestation.InvalidError](err); ok {
		return newProblem(ctx, httpkit.CodeInvalid, invalid.Error())
	}
	for _, known := range refusals {
		if !errors.Is(err, known.err) {
			continue
		}
		if errors.Is(known.err, authz.ErrDenied) {
			a.note(ctx, acting(ctx).Actor, audit.Entry{Action: audit.Access, ObjectKind: "act", Reason: string(known.code)})
		}
		p := newProblem(ctx, known.code, "")
		if known.say {
			p.Detail = known.err.Error()
		}
		if known.code == httpkit.CodeUnauthenticated {
			p.headers.Set("WWW-Authenticate", "Bearer")
		}
		return p
	}
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	a.logError(ctx, err)
	return newProblem(ctx, protocol.CodeInternal, "")
}
