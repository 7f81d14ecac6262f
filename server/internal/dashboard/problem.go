package dashboard

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"unicode"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
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

// inputError is what is wrong with a form, in words for whoever filled it in.
type inputError string

func (e inputError) Error() string { return string(e) }

// refusals is the one table of what an error of a domain is to a reader. What is
// told beneath the title is advice, or the error's own words where advice is "".
var refusals = []struct {
	err    error
	status int
	title  string
	advice string
}{
	{authz.ErrDenied, http.StatusForbidden, "Your account may not do this any more", "Its rights changed since the page was shown."},
	{admin.ErrSignedOut, http.StatusUnauthorized, "You are not signed in any more", "Nothing was changed. Sign in, then do it again."},
	{admin.ErrHalf, http.StatusUnauthorized, "The sign-in is not complete", "Take the step that is due."},
	{admin.ErrCode, http.StatusUnauthorized, "The code is not right", "It is wrong, or was used before. Wait for the next one, or use a recovery code."},
	{admin.ErrFreshSignIn, http.StatusForbidden, "Sign in again first", "This changes who can get in, so it needs a sign-in of the last five minutes. Sign out, sign in, and do it again."},
	{admin.ErrFactorExists, http.StatusConflict, "There is a code generator already", "Remove it first."},
	{admin.ErrNoFactor, http.StatusNotFound, "There is no such factor", "It may have been removed meanwhile."},
	{admin.ErrPasskey, http.StatusUnauthorized, "The passkey was not accepted", "Begin again. If it goes on, sign in another way and look at your passkeys."},
	{admin.ErrNoPasskeys, http.StatusConflict, "Passkeys do not work at this address", ""},
	{admin.ErrLastPasskey, http.StatusConflict, "This is the last passkey", "The account must use one: register another first."},
	{admin.ErrTooMany, http.StatusConflict, "There are as many as there may be", "Remove one first."},
	{admin.ErrNotFound, http.StatusNotFound, "There is no such account or session", "It may have ended meanwhile."},
	{admin.ErrNameTaken, http.StatusConflict, "That name is taken", "Choose another."},
	{admin.ErrLastAdmin, http.StatusConflict, "This is the last administrator", "Give another account the role admin first."},
	{admin.ErrSignIn, http.StatusForbidden, "The password is not right", "Nothing was changed."},
	{device.ErrUnknown, http.StatusNotFound, "There is no such device", "Look for it in the list of devices."},
	{device.ErrFinal, http.StatusConflict, "The device has ended for good", "A revoked device is enrolled anew under another device id."},
	{device.ErrAlready, http.StatusConflict, "It was done before", "Nothing had to be changed."},
	{device.ErrNotHeld, http.StatusConflict, "The device is not held", "Somebody ended the hold before."},
	{device.ErrSuspended, http.StatusConflict, "The device is suspended", "Resume it first."},
	{device.ErrHeld, http.StatusConflict, "The device is held", "End the hold first."},
	{device.ErrRevoked, http.StatusConflict, "The device is revoked", "A revoked device gets no other key."},
	{device.ErrCertificate, http.StatusConflict, "The device has another certificate by now", "Its wish does not hold any more."},
	{flow.ErrReason, http.StatusUnprocessableEntity, "A reason is needed", "It is kept in the audit log, for those who ask later."},
	{flow.ErrDeviceExists, http.StatusConflict, "The device id is taken", "A device of that id is enrolled already."},
	{flow.ErrDeviceGone, http.StatusConflict, "The device id was revoked for good", "It cannot be used again."},
	{view.ErrLabel, http.StatusUnprocessableEntity, "A label is written key=value", "Such as site=berlin."},
	{view.ErrCursor, http.StatusUnprocessableEntity, "That page does not exist", "Begin again at the first."},
	{audit.ErrCursor, http.StatusUnprocessableEntity, "That page does not exist", "Begin again at the first."},
	{enroll.ErrUnknown, http.StatusNotFound, "There is no such enrollment", "Its time may be over."},
	{enroll.ErrState, http.StatusConflict, "The enrollment is decided already", ""},
	{enroll.ErrTokenUnknown, http.StatusNotFound, "There is no such token", ""},
	{enroll.ErrTokenEnded, http.StatusConflict, "The token was revoked before", "Nothing had to be changed."},
	{enroll.ErrTokenTerms, http.StatusUnprocessableEntity, "The token cannot be made like this", ""},
	{enroll.ErrWindow, http.StatusUnprocessableEntity, "The window cannot be opened like this", ""},
	{approval.ErrUnknown, http.StatusNotFound, "There is no such request", "Its time may be over."},
	{approval.ErrClosed, http.StatusConflict, "It is decided already", "Somebody was faster; nothing of yours was counted."},
	{approval.ErrExpired, http.StatusConflict, "Its time is over", "Whoever asked for it may ask again."},
	{approval.ErrDigest, http.StatusConflict, "It changed since you looked", "Your decision was bound to what was shown and is not counted. Look again."},
	{approval.ErrOwn, http.StatusForbidden, "Nobody decides on what they asked for", "Another person has to."},
	{approval.ErrVoted, http.StatusConflict, "You have decided on this already", "It waits for other persons."},
	{approval.ErrNotVoter, http.StatusForbidden, "This is not for your account to decide", ""},
	{approval.ErrFew, http.StatusConflict, "It was not carried out", ""},
	{approval.ErrNoReason, http.StatusUnprocessableEntity, "A decision needs a reason", "It is kept with the decision."},
	{command.ErrUnknown, http.StatusNotFound, "There is no such command", ""},
	{command.ErrOver, http.StatusConflict, "The command has ended", "There is nothing left to take back."},
	{command.ErrRunning, http.StatusConflict, "The command runs already", "What a device has begun cannot be taken back."},
	{identity.ErrInDate, http.StatusConflict, "The device's certificate is in date", "It needs no way back."},
	{identity.ErrLate, http.StatusConflict, "The device's certificate ended too long ago", "It enrolls anew."},
	{identity.ErrNone, http.StatusNotFound, "The device asks for nothing", "Its wish may have ended meanwhile."},
	{identity.ErrState, http.StatusConflict, "The wish is decided already", ""},
	{policy.ErrNotFounded, http.StatusServiceUnavailable, "The fleet is not founded yet", ""},
	{pki.ErrStopped, http.StatusConflict, "Issuing is stopped, and no certificate is let in meanwhile", ""},
	{pki.ErrNoAuthority, http.StatusServiceUnavailable, "There is no issuing authority yet", ""},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "It took too long", "Look whether it happened before you try again."},
}

// meaning is what an error is to a reader.
func meaning(err error) (status int, title, text string, known bool) {
	if e, ok := errors.AsType[inputError](err); ok {
		return http.StatusUnprocessableEntity, "The form is not right", sentence(e.Error()), true
	}
	if e, ok := errors.AsType[*flow.AskError](err); ok {
		return http.StatusUnprocessableEntity, "The command cannot be asked for like this", sentence(e.Error()), true
	}
	if e, ok := errors.AsType[*admin.InvalidError](err); ok {
		return http.StatusUnprocessableEntity, "The form is not right", sentence(e.Error()), true
	}
	if e, ok := errors.AsType[*admin.ThrottledError](err); ok {
		return http.StatusTooManyRequests, "Too many attempts", "Wait " + spanOf(e.After) + ", then try again.", true
	}
	for _, r := range refusals {
		if !errors.Is(err, r.err) {
			continue
		}
		text := r.advice
		if text == "" {
			text = sentence(err.Error())
		}
		return r.status, r.title, text, true
	}
	return http.StatusInternalServerError, "Something went wrong in the server", "Its log says what, under the id of this request.", false
}

// fail answers with the page that says what an error means. An unknown one's text
// goes to the log only.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, title, text, known := meaning(err)
	switch {
	case !known:
		c.logError(r.Context(), err)
		text += " " + httpkit.RequestID(r.Context())
	case errors.Is(err, authz.ErrDenied):
		c.note(r.Context(), acting(r).Actor, audit.Entry{Action: audit.Access, ObjectKind: "act", Reason: string(httpkit.CodeForbidden)})
	}
	if e, ok := errors.AsType[*admin.ThrottledError](err); ok {
		w.Header().Set("Retry-After", httpkit.RetryAfter(e.After))
	}
	c.refuse(w, r, status, title, text)
}

func sentence(s string) string {
	runes := []rune(s)
	if len(runes) == 0 {
		return ""
	}
	runes[0] = unicode.ToUpper(runes[0])
	if last := runes[len(runes)-1]; last != '.' && last != '?' {
		runes = append(runes, '.')
	}
	return string(runes)
}

// secrets are the fields that people type and nobody shows: any text is right there.
var secrets = []string{"password", "current", "next", "again"}

// form reads the fields of a posted form: each at most once unless named in many,
// and each a line of text that can be stored and shown.
func form(r *http.Request, many ...string) error {
	if err := r.ParseForm(); err != nil {
		return inputError("it cannot be read")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && !slices.Contains(many, name) {
			return inputError(name + " is there twice")
		}
		for _, v := range values {
			if err := protocol.CheckText(name, v, len(v)); err != nil && !slices.Contains(secrets, name) {
				return inputError(err.Error())
			}
		}
	}
	return nil
}

// maxReason is how long a reason may be.
const maxReason = 400

// reasonOf is the reason of a form.
func reasonOf(r *http.Request) (string, error) {
	reason := r.PostFormValue("reason")
	switch {
	case reason == "":
		return "", flow.ErrReason
	case len(reason) > maxReason:
		return "", inputError("the reason is longer than 400 bytes")
	}
	return reason, nil
}
