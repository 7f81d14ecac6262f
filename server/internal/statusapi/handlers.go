package statusapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	// keepFor is how long others may keep what they were told before they ask whether
	// it is still so.
	keepFor = time.Minute
	// answerWithin bounds the work of one answer.
	answerWithin = 3 * time.Second
)

// list serves a revocation list (RFC 5280 section 4.2.1.13: DER, one list).
func (a *API) list(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("name"), ".crl")
	if !ok {
		httpkit.Refuse(w, r, protocol.CodeNotFound, "")
		return
	}
	list, ok := a.lists.Get(name)
	if !ok {
		httpkit.Refuse(w, r, protocol.CodeNotFound, "")
		return
	}
	w.Header().Set("Content-Type", "application/pkix-crl") // RFC 2585 section 4.2
	a.serve(w, r, list.DER, list.Tag, list.ThisUpdate, list.NextUpdate)
}

// ask answers a request in the path (RFC 6960 appendix A.1): base64 of its DER, with
// what a URL cannot hold escaped.
func (a *API) ask(w http.ResponseWriter, r *http.Request) {
	text := r.PathValue("request")
	if len(text) > base64.StdEncoding.EncodedLen(status.MaxQuestion) {
		httpkit.Refuse(w, r, protocol.CodeTooLarge, "")
		return
	}
	request, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		request = nil // malformed, as the responder will say
	}
	reply := a.reply(r, request)
	w.Header().Set("Content-Type", "application/ocsp-response")
	if reply.NextUpdate.IsZero() {
		_, _ = w.Write(reply.DER)
		return
	}
	a.serve(w, r, reply.DER, reply.Tag(), reply.ThisUpdate, reply.NextUpdate)
}

// post answers a request in the body.
func (a *API) post(w http.ResponseWriter, r *http.Request) {
	reply := a.reply(r, httpkit.Body(r))
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = w.Write(reply.DER)
}

func (a *API) reply(r *http.Request, request []byte) pki.Reply {
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	reply, err := a.responder.Answer(ctx, request)
	if err != nil && r.Context().Err() == nil {
		a.log.ErrorContext(ctx, "an OCSP request could not be answered", "request_id", httpkit.RequestID(ctx), "error", err)
	}
	return reply
}

// serve sends what others may keep (RFC 5019 section 6.2), or only that it is still
// so (RFC 9110 section 13.1.2).
func (a *API) serve(w http.ResponseWriter, r *http.Request, body []byte, tag string, since, until time.Time) {
	keep := max(0, min(keepFor, until.Sub(a.now())))
	h := w.Header()
	h.Set("Cache-Control", "public, no-transform, must-revalidate, max-age="+strconv.Itoa(int(keep.Seconds())))
	h.Set("Expires", a.now().Add(keep).UTC().Format(http.TimeFormat))
	h.Set("Last-Modified", since.UTC().Format(http.TimeFormat))
	h.Set("ETag", `"`+tag+`"`)
	for _, known := range r.Header.Values("If-None-Match") {
		for one := range strings.SplitSeq(known, ",") {
			if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == "*" || one == `"`+tag+`"` {
				h.Del("Content-Type")
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) //nolint:gosec // G705: signed DER of ours, under a media type that is no page
}
