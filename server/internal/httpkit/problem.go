package httpkit

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// ProblemMediaType is the media type of RFC 9457 section 3.
const ProblemMediaType = "application/problem+json"

// NewProblem makes the problem of a code for the request of ctx. The detail is
// for people and must not repeat what the caller sent. A code that is not in the
// table is internal, and its detail is dropped.
func NewProblem(ctx context.Context, code protocol.Code, detail string) *protocol.Problem {
	m, ok := codes[code]
	if !ok {
		code, detail = protocol.CodeInternal, ""
		m = codes[code]
	}
	p := &protocol.Problem{Type: protocol.ProblemType + string(code), Title: m.title, Status: m.status, Detail: detail, Code: code}
	if id := RequestID(ctx); id != "" {
		p.Instance = "urn:uuid:" + id
	}
	return p
}

// WriteProblem answers with p.
func WriteProblem(w http.ResponseWriter, p *protocol.Problem) {
	body, err := json.Marshal(p)
	if err != nil { // text and numbers only: it cannot
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", ProblemMediaType)
	if p.Code == CodeUnauthenticated {
		h.Set("WWW-Authenticate", "Bearer") // RFC 6750 section 3
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// Refuse answers with the problem of a code.
func Refuse(w http.ResponseWriter, r *http.Request, code protocol.Code, detail string) {
	WriteProblem(w, NewProblem(r.Context(), code, detail))
}

// RefuseFor is Refuse with CodeRateLimited and when to try again.
func RefuseFor(w http.ResponseWriter, r *http.Request, after time.Duration) {
	w.Header().Set("Retry-After", RetryAfter(after))
	Refuse(w, r, protocol.CodeRateLimited, "")
}

// RetryAfter is the value of the header of that name: whole seconds, at least
// one (RFC 9110 section 10.2.3).
func RetryAfter(after time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(after.Seconds()))))
}
