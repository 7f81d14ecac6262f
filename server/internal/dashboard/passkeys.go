package dashboard

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// passkeyCall is what the script sends: an answer of an authenticator to a
// challenge. What the answer says is judged by the domain, from its own bytes.
type passkeyCall struct {
	Challenge string          `json:"challenge"`
	Name      string          `json:"name"`
	Next      string          `json:"next"`
	Response  json.RawMessage `json:"response"`
}

func readCall(r *http.Request) (in passkeyCall, err error) {
	if protocol.Decode(httpkit.Body(r), &in) != nil || protocol.CheckText("the name", in.Name, 64) != nil {
		return in, inputError("it cannot be read")
	}
	return in, nil
}

// answer answers the script, which shows what went wrong.
func (c *Console) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err == nil {
		writeJSON(w, v)
		return
	}
	status, title, text, known := meaning(err)
	if !known {
		c.logError(r.Context(), err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	writeJSON(w, map[string]string{"title": title, "detail": strings.TrimSuffix(text, ".")})
}

// challengeOut is a challenge for navigator.credentials.
type challengeOut struct {
	ID      string          `json:"id"`
	Options json.RawMessage `json:"options"`
}

func (c *Console) passkeyOptions(w http.ResponseWriter, r *http.Request) {
	if !c.ownRequest(r) {
		c.answer(w, r, nil, inputError("it came from another site"))
		return
	}
	got, err := c.deps.SignIns.PasskeySignInOptions(r.Context(), httpkit.Source(r))
	c.answer(w, r, challengeOut(got), err)
}

func (c *Console) passkeySignIn(w http.ResponseWriter, r *http.Request) {
	if !c.ownRequest(r) {
		c.answer(w, r, nil, inputError("it came from another site"))
		return
	}
	in, err := readCall(r)
	if err != nil {
		c.answer(w, r, nil, err)
		return
	}
	token, who, err := c.deps.SignIns.PasskeySignIn(r.Context(), admin.PasskeyAttempt{
		Source: httpkit.Source(r), RequestID: httpkit.RequestID(r.Context()), Agent: r.UserAgent(), Via: admin.ViaConsole,
		ChallengeID: in.Challenge, Response: in.Response,
	})
	if err == nil {
		setCookie(w, token)
	}
	c.answer(w, r, map[string]string{"next": afterStep(who.Session.Stage, localPath(in.Next))}, err)
}

func (c *Console) passkeyRegistrationOptions(w http.ResponseWriter, r *http.Request) {
	got, err := c.deps.Factors.PasskeyRegistrationOptions(r.Context(), acting(r))
	c.answer(w, r, challengeOut(got), err)
}

func (c *Console) registerPasskey(w http.ResponseWriter, r *http.Request) {
	in, err := readCall(r)
	if err == nil {
		_, err = c.deps.Factors.RegisterPasskey(r.Context(), acting(r), in.Challenge, in.Name, in.Response)
	}
	c.answer(w, r, map[string]string{"next": "/dashboard/me?done=passkey"}, err)
}

func (c *Console) removePasskey(w http.ResponseWriter, r *http.Request) {
	if err := c.deps.Factors.RemovePasskey(r.Context(), acting(r), r.PathValue("id")); err != nil {
		c.fail(w, r, err)
		return
	}
	done(w, r, "/dashboard/me", "passkey-gone")
}
