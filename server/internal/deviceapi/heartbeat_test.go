package deviceapi_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// with is a heartbeat as raw members, some of them replaced.
func with(t *testing.T, h *protocol.Heartbeat, members map[string]string) []byte {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(encode(t, h), &raw); err != nil {
		t.Fatal(err)
	}
	for name, value := range members {
		if raw[name] = json.RawMessage(value); value == "" {
			delete(raw, name)
		}
	}
	body := []byte{'{'}
	for name, value := range raw { // by hand: some of the values are not JSON
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(body, fmt.Sprintf("%q:%s", name, value)...)
	}
	return append(body, '}')
}

// HBT-04
func TestNoCounterValuePoisonsADevice(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		w := newWorld(t, database, servertest.Options{})
		d := w.device("edge-1")
		for range 3 {
			d.MustBeat()
		}
		for name, c := range map[string]struct {
			value string
			want  protocol.Code
		}{
			"nothing at all":           {"", protocol.CodeMalformed},
			"null":                     {"null", protocol.CodeMalformed},
			"zero":                     {"0", protocol.CodeMalformed},
			"minus zero":               {"-0", protocol.CodeMalformed},
			"minus one":                {"-1", protocol.CodeMalformed},
			"the least int64":          {"-9223372036854775808", protocol.CodeMalformed},
			"below int64":              {"-9223372036854775809", protocol.CodeMalformed},
			"the one that stands":      {"%d", protocol.CodeCounterStale},
			"just beyond the jump":     {"%d+", protocol.CodeCounterJump},
			"2^53-1":                   {"9007199254740991", protocol.CodeCounterJump},
			"2^53":                     {"9007199254740992", protocol.CodeMalformed},
			"2^53+1":                   {"9007199254740993", protocol.CodeMalformed},
			"2^63-1":                   {"9223372036854775807", protocol.CodeMalformed},
			"2^63":                     {"9223372036854775808", protocol.CodeMalformed},
			"2^64-1":                   {"18446744073709551615", protocol.CodeMalformed},
			"2^64+7":                   {"18446744073709551623", protocol.CodeMalformed},
			"1e18":                     {"1e18", protocol.CodeMalformed},
			"1e400":                    {"1e400", protocol.CodeMalformed},
			"a thousand digits":        {fmt.Sprintf("%01000d1", 1), protocol.CodeMalformed},
			"a fraction":               {"7.5", protocol.CodeMalformed},
			"a whole number as 7.0":    {"7.0", protocol.CodeMalformed},
			"a string":                 {`"7"`, protocol.CodeMalformed},
			"true":                     {"true", protocol.CodeMalformed},
			"a list":                   {"[7]", protocol.CodeMalformed},
			"an object":                {`{"value":7}`, protocol.CodeMalformed},
			"hexadecimal":              {"0x7", protocol.CodeMalformed},
			"octal":                    {"07", protocol.CodeMalformed},
			"with a plus":              {"+7", protocol.CodeMalformed},
			"not a number":             {"NaN", protocol.CodeMalformed},
			"twice, high then low":     {`9007199254740991,"counter":4`, protocol.CodeMalformed},
			"twice, in another letter": {`4,"Counter":9007199254740991`, protocol.CodeMalformed},
		} {
			switch c.value {
			case "%d":
				c.value = fmt.Sprint(d.Counter)
			case "%d+":
				c.value = fmt.Sprint(d.Counter + protocol.MaxCounterJump + 1)
			}
			h := d.Heartbeat()
			d.Counter--
			a := w.send(d.Transport(), call{path: protocol.PathHeartbeat, body: with(t, h, map[string]string{"counter": c.value})})
			if a.problem.Code != c.want {
				t.Errorf("%s: %d %s, want %s", name, a.status, a.problem.Code, c.want)
			}
			if w.Count("device_counters", "counter = ?", d.Counter) != 1 {
				t.Fatalf("%s moved the counter", name)
			}
			if p, err := d.Beat(); p != nil || err != nil {
				t.Fatalf("after %s the device is refused: %v %v", name, p, err)
			}
		}
	})
}

// HBT-09
func TestADeviceSpeaksForItselfOnly(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		w := newWorld(t, database, servertest.Options{})
		a, b := w.device("device-a"), w.device("device-b")
		a.MustBeat()
		b.MustBeat()
		waiting := w.NewDevice("device-c")
		if p, err := waiting.Ask(w.operator.EnrollToken(1)); p != nil || err != nil {
			t.Fatal(p, err)
		}
		before := w.state()
		foreign, own := a.Heartbeat(), b.Heartbeat()
		quote := func(s string) string { return fmt.Sprintf("%q", s) }
		for name, c := range map[string]struct {
			path string
			body []byte
			want protocol.Code
		}{
			"the whole message":            {protocol.PathHeartbeat, encode(t, foreign), protocol.CodeIdentityMismatch},
			"the device_id":                {protocol.PathHeartbeat, with(t, own, map[string]string{"device_id": quote(a.ID)}), protocol.CodeIdentityMismatch},
			"the enrollment_id":            {protocol.PathHeartbeat, with(t, own, map[string]string{"enrollment_id": quote(a.EnrollmentID)}), protocol.CodeIdentityMismatch},
			"the device_id in another way": {protocol.PathHeartbeat, with(t, own, map[string]string{"Device_ID": quote(a.ID)}), protocol.CodeMalformed},
			"the device_id in capitals":    {protocol.PathHeartbeat, with(t, own, map[string]string{"device_id": `"DEVICE-B"`}), protocol.CodeMalformed},
			"the path":                     {protocol.PathHeartbeat + "/" + a.ID, encode(t, own), protocol.CodeNotFound},
			"its enrollment's poll":        {protocol.EnrollPollPath(a.EnrollmentID), encode(t, own), protocol.CodePollInvalid},
			"another's waiting poll":       {protocol.EnrollPollPath(waiting.EnrollmentID), encode(t, own), protocol.CodePollInvalid},
			"an enrollment that is not":    {protocol.EnrollPollPath(b.BootID), encode(t, own), protocol.CodeEnrollUnknown},
			"an id that is none":           {protocol.EnrollPollPath("%27%20OR%201=1"), encode(t, own), protocol.CodeEnrollUnknown},
		} {
			if got := w.send(b.Transport(), call{path: c.path, body: c.body}); got.problem.Code != c.want {
				t.Errorf("%s: %d %s, want %s", name, got.status, got.problem.Code, c.want)
			}
		}
		w.unchanged(before, "what B said of A")

		// A key that proves another enrollment's id gets nothing of this one.
		stranger := w.NewDevice("device-c")
		stranger.EnrollmentID = waiting.EnrollmentID
		if _, p, err := stranger.Poll(); err != nil || p == nil || p.Code != protocol.CodePollInvalid {
			t.Errorf("a poll with another key: %v %v", p, err)
		}

		// Query and headers are not looked at: it is B that is heard.
		got := w.send(b.Transport(), call{path: protocol.PathHeartbeat + "?device_id=" + a.ID, body: encode(t, own), header: map[string]string{
			"X-Device-Id": a.ID, "X-Forwarded-Client-Cert": "Subject=\"CN=" + a.ID + "\"", "X-SSL-Client-S-DN": "CN=" + a.ID, "X-SSL-Client-Verify": "SUCCESS",
		}})
		if got.status != 200 {
			t.Errorf("B with A in query and headers: %d %s", got.status, got.problem.Code)
		}
		if w.Count("device_counters", "device_id = ? AND counter = 1", a.ID) != 1 || w.Count("device_counters", "device_id = ? AND counter = 2", b.ID) != 1 {
			t.Error("the wrong counter moved")
		}
		got = w.send(w.caller(nil, nil), call{path: protocol.PathHeartbeat, body: encode(t, foreign), header: map[string]string{
			"X-Forwarded-Client-Cert": "Subject=\"CN=" + a.ID + "\"", "X-SSL-Client-S-DN": "CN=" + a.ID, "X-SSL-Client-Verify": "SUCCESS",
		}})
		if got.problem.Code != protocol.CodeCertificateMissing {
			t.Errorf("headers instead of a certificate: %d %s", got.status, got.problem.Code)
		}
	})
}
