package protocol

import (
	"encoding/json"
	"strconv"
	"time"
)

// A heartbeat and its answer are most of what is ever said, and nearly always in one
// form: that of encoding/json for the types here, without facts, commands or documents.
// This form is read and written without reflection. Anything else, and anything that is
// not quite it, is left to Decode and encoding/json, whose word on it is the last.

// DecodeHeartbeat is Decode for a heartbeat.
func DecodeHeartbeat(data []byte, h *Heartbeat) error {
	if r := (reader{rest: string(data)}); r.heartbeat(h) {
		return nil
	}
	*h = Heartbeat{}
	return Decode(data, h)
}

// reader reads from the front of a text. What it has taken is what encoding/json would.
type reader struct{ rest string }

// heartbeat is false where the text is not plainly one; h is then of no use.
func (r *reader) heartbeat(h *Heartbeat) bool {
	var protocol int64
	ok := r.number(`{"protocol":`, &protocol) &&
		r.text(`,"device_id":"`, &h.DeviceID) &&
		r.text(`,"enrollment_id":"`, &h.EnrollmentID) &&
		r.number(`,"counter":`, &h.Counter) &&
		r.text(`,"epoch":"`, &h.Epoch) &&
		r.text(`,"boot_id":"`, &h.BootID) &&
		r.text(`,"agent_version":"`, &h.AgentVersion)
	if !ok {
		return false
	}
	if h.Protocol = int(protocol); int64(h.Protocol) != protocol {
		return false
	}
	r.number(`,"policy_version":`, &h.PolicyVersion)
	r.number(`,"root_version":`, &h.RootVersion)
	h.FirstUse = r.is(`,"first_use":true`)
	r.text(`,"nonce":"`, &h.Nonce)
	r.text(`,"receipt":"`, &h.Receipt)
	return r.rest == "}" // a member that could not be read, or is not one of these, is still there
}

// is takes a text if it is next.
func (r *reader) is(next string) bool {
	if len(r.rest) < len(next) || r.rest[:len(next)] != next {
		return false
	}
	r.rest = r.rest[len(next):]
	return true
}

// text takes a string after its name and first quote, if nothing in it stands for
// something else.
func (r *reader) text(name string, into *string) bool {
	if len(r.rest) < len(name) || r.rest[:len(name)] != name {
		return false
	}
	value := r.rest[len(name):]
	for i := range len(value) {
		switch c := value[i]; {
		case c == '"':
			*into, r.rest = value[:i], value[i+1:]
			return true
		case c < ' ' || c > '~' || c == '\\':
			return false
		}
	}
	return false
}

// number takes a number after its name, if it is a natural one below 10 to the 18th.
func (r *reader) number(name string, into *int64) bool {
	if len(r.rest) < len(name) || r.rest[:len(name)] != name {
		return false
	}
	value, n, i := r.rest[len(name):], int64(0), 0
	for ; i < len(value) && '0' <= value[i] && value[i] <= '9'; i++ {
		n = 10*n + int64(value[i]-'0')
	}
	if i == 0 || i > 18 || i > 1 && value[0] == '0' {
		return false
	}
	*into, r.rest = n, value[i:]
	return true
}

// Encode is the answer as encoding/json writes it.
func (a *HeartbeatAnswer) Encode() ([]byte, error) {
	plain := len(a.FleetRoots)+len(a.PolicyBundles)+len(a.Commands)+len(a.ResultsStored) == 0 &&
		plainly(a.Epoch) && plainly(a.Nonce) && plainly(a.Receipt) && a.ServerTime.Location() == time.UTC && a.ServerTime.Year() > 0 && a.ServerTime.Year() < 10000
	if !plain {
		return json.Marshal(a)
	}
	b := append(make([]byte, 0, 512), `{"counter":`...)
	b = strconv.AppendInt(b, a.Counter, 10)
	b = append(append(b, `,"epoch":"`...), a.Epoch...)
	b = a.ServerTime.AppendFormat(append(b, `","server_time":"`...), time.RFC3339Nano)
	b = strconv.AppendInt(append(b, `","interval_seconds":`...), int64(a.IntervalSeconds), 10)
	b = append(append(b, `,"nonce":"`...), a.Nonce...)
	b = append(append(b, `","receipt":"`...), a.Receipt...)
	b = strconv.AppendInt(append(b, `","policy_version":`...), a.PolicyVersion, 10)
	b = strconv.AppendInt(append(b, `,"root_version":`...), a.RootVersion, 10)
	if a.Renew {
		b = append(b, `,"renew":true`...)
	}
	return append(b, '}'), nil
}

// plainly says whether a string is written as it is: encoding/json escapes the signs of
// HTML, too.
func plainly(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}
