package link

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// RefusalError is an answer that says no. Its texts are printable and bounded,
// whatever the server sent.
type RefusalError struct {
	Status     int
	Problem    protocol.Problem // Code is "" if the body was not a problem
	RetryAfter time.Duration    // 0 if not told
}

func (r *RefusalError) Error() string {
	if r.Problem.Code == "" {
		return fmt.Sprintf("the server refused with status %d", r.Status)
	}
	return fmt.Sprintf("the server refused: %s (%s)", r.Problem.Error(), r.Problem.Code)
}

const (
	maxCode       = 64
	maxText       = 512
	maxRetryAfter = time.Hour
)

// readRefusal takes from a refusal what has the form it should have, and leaves
// the rest: a refusal that is not understood is still one.
func readRefusal(status int, header http.Header, body []byte) *RefusalError {
	r := &RefusalError{Status: status, RetryAfter: retryAfter(header)}
	var p protocol.Problem
	if mediaType(header) != problemJSONType || protocol.DecodeTolerant(body, &p) != nil {
		return r
	}
	if p.Code == "" || protocol.CheckText("code", string(p.Code), maxCode) != nil {
		return r
	}
	r.Problem = protocol.Problem{Status: status, Code: p.Code, Title: printable(p.Title), Detail: printable(p.Detail)}
	if r.Problem.Title == "" {
		r.Problem.Title = "no reason given"
	}
	if protocol.CheckID(p.Epoch) == nil {
		r.Problem.Epoch = p.Epoch
	}
	if len(p.Nonce) <= protocol.MaxOpaque {
		r.Problem.Nonce = p.Nonce
	}
	if p.Counter > 0 && p.Counter <= protocol.MaxCounter {
		r.Problem.Counter = p.Counter
	}
	return r
}

func printable(s string) string {
	if protocol.CheckText("text", s, maxText) != nil {
		return ""
	}
	return s
}

// retryAfter reads the form in seconds (RFC 9110 section 10.2.3). A date is not
// taken: it would depend on two clocks.
func retryAfter(header http.Header) time.Duration {
	n, err := strconv.ParseUint(header.Get("Retry-After"), 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}
