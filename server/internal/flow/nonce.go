package flow

import (
	"encoding/base64"
	"encoding/binary"
	"time"
)

// Nonces and receipts are a number and a MAC over it and what it is for. They
// need no row: the server knows its own.

// token is base64url(number || MAC(purpose, parts..., number)).
func (f *Flow) token(purpose string, number int64, parts ...string) string {
	raw := binary.BigEndian.AppendUint64(nil, uint64(number))
	return base64.RawURLEncoding.EncodeToString(append(raw, f.ring.MAC(purpose, bound(raw, parts))...))
}

// number gives back what token was made with, and whether it was.
func (f *Flow) number(purpose, token string, parts ...string) (int64, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < 8 {
		return 0, false
	}
	if !f.ring.CheckMAC(purpose, bound(raw[:8], parts), raw[8:]) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(raw)), true
}

// bound joins the parts so that no two lists of them give the same bytes.
func bound(number []byte, parts []string) []byte {
	out := append([]byte(nil), number...)
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}

// A poll's nonce says when it was made. The result that it opens is no secret
// and changes nothing twice, so that a short life is enough.
const pollNonceLife = 10 * time.Minute

func (f *Flow) pollNonce(enrollmentID string) string {
	return f.token("poll nonce", f.d.Now().Unix(), enrollmentID)
}

func (f *Flow) checkPollNonce(enrollmentID, nonce string) bool {
	made, ok := f.number("poll nonce", nonce, enrollmentID)
	age := f.d.Now().Sub(time.Unix(made, 0))
	return ok && age >= -time.Minute && age <= pollNonceLife
}

// PollNonce makes a nonce for an enrollment, to be sent with the refusal of a
// stale one.
func (f *Flow) PollNonce(enrollmentID string) string { return f.pollNonce(enrollmentID) }

// A heartbeat's nonce is bound to device, epoch and the counter stored when it
// was made: it is worth nothing once the counter has risen.
func (f *Flow) beatNonce(deviceID, epoch string, counter int64) string {
	return f.token("heartbeat nonce", counter, deviceID, epoch)
}

// A receipt says that a counter was accepted and stored. Coming back to a
// database that does not know of it, it proves that the database is an older one.
func (f *Flow) receipt(deviceID, epoch string, counter int64) string {
	return f.token("heartbeat receipt", counter, deviceID, epoch)
}
