package deviceapi_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// AUD-07, ENR-09
func TestNoSecretThatWasSentIsInAnswerLogOrDatabase(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		var log syncBuffer
		w := newWorld(t, database, servertest.Options{Log: &log})
		const canary, wrongPassword = "Canary7Token4Value2Which9Is0Unknown", "canary password that is wrong"
		token := w.operator.EnrollToken(1)
		d := w.Enroll("edge-1", token, w.reviewer)
		d.MustBeat()
		jwt := w.operator.Token
		signature := jwt[strings.LastIndex(jwt, ".")+1:]

		var answers strings.Builder
		send := func(c call) {
			t.Helper()
			tr := http.DefaultTransport
			if c.url == "" {
				tr = d.Transport()
			}
			a := w.send(tr, c)
			if a.status < 400 {
				t.Errorf("%s %s: %d", c.method, c.path, a.status)
			}
			answers.Write(a.body)
			for k, v := range a.header {
				answers.WriteString(k + ": " + strings.Join(v, ",") + "\n")
			}
		}
		bearer := map[string]string{"Authorization": "Bearer " + jwt + "x", "X-Token": token, "Cookie": "session=" + jwt}
		for _, secret := range []string{token, canary, jwt} {
			request := w.NewDevice("edge-2").Request(secret[:min(len(secret), protocol.MaxToken)])
			request.EnrollmentID = db.NewID(time.Now())
			send(call{path: protocol.PathEnroll, body: encode(t, request)})
			request.DeviceID = secret
			send(call{path: protocol.PathEnroll, body: encode(t, request)})
			request.DeviceID, request.Facts = "edge-2", protocol.Facts{secret + "\x00": secret}
			send(call{path: protocol.PathEnroll, body: encode(t, request)})
			send(call{path: protocol.PathEnroll, body: []byte(`{"token":` + secret + `}`)})
			send(call{path: protocol.PathEnroll, body: []byte(`{"` + secret + `":1}`)})
			send(call{path: protocol.PathEnroll + "?token=" + secret, body: []byte(secret)})
			send(call{path: protocol.EnrollPollPath(secret), body: []byte(secret)})
			send(call{path: "/nowhere/" + secret, body: []byte(secret), header: bearer})
			send(call{url: w.PeopleURL, path: "/nowhere/" + secret + "?token=" + secret, body: []byte(secret), header: bearer})
			h := d.Heartbeat()
			d.Counter--
			h.Counter, h.Nonce, h.Receipt = protocol.MaxCounter, secret, secret
			send(call{path: protocol.PathHeartbeat, body: encode(t, h), header: bearer})
			send(call{path: protocol.PathHeartbeat, body: with(t, h, map[string]string{"device_id": `"` + secret + `"`}), header: bearer})
			send(call{method: "GET", url: w.PeopleURL, path: "/api/devices?text=" + secret, header: bearer})
			send(call{method: "POST", url: w.PeopleURL, path: "/api/enroll-tokens", body: []byte(`{"secret":"` + secret + `"}`), header: bearer})
			send(call{url: w.PeopleURL, path: "/api/admin/login", body: encode(t, map[string]string{"name": "olivia", "password": wrongPassword, secret: secret})})
		}
		send(call{url: w.PeopleURL, path: "/api/admin/login", body: encode(t, map[string]string{"name": "olivia", "password": wrongPassword})})
		send(call{url: w.PeopleURL, path: "/api/admin/login", body: encode(t, map[string]string{"name": "nobody", "password": servertest.Password})})
		w.Round()

		places := map[string]string{
			"an answer": answers.String(), "the log": log.String(), "the audit log": w.dump("audit_entries"),
			"the database": w.dump(append(stateTables, "accounts", "sessions", "approvals")...),
		}
		for what, secret := range map[string]string{
			"the enrollment token": token, "a token that is unknown": canary, "a password": servertest.Password, "a wrong password": wrongPassword,
			"a sign-in": jwt, "a sign-in's signature": signature,
			"the token in base64": base64.StdEncoding.EncodeToString([]byte(token))[:20],
		} {
			for where, text := range places {
				if strings.Contains(text, secret) {
					t.Errorf("%s is in %s", what, where)
				}
			}
		}
		for where, text := range places {
			if len(text) < 500 {
				t.Errorf("%s holds next to nothing: %q", where, text)
			}
		}
	})
}
