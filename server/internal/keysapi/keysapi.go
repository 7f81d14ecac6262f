package keysapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/assertion"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// API shows keys.
type API struct {
	keys *assertion.Service
	log  *slog.Logger
}

// New makes the surface.
func New(keys *assertion.Service, log *slog.Logger) *API { return &API{keys, log} }

// Register adds every route of the surface.
func (a *API) Register(m *httpkit.Mux) {
	m.Handle(httpkit.Route{Method: "GET", Pattern: "/.well-known/{purpose}/jwks.json", Policy: httpkit.Anonymous}, http.HandlerFunc(a.set))
}

// set serves the JWK set of a purpose. Whoever keeps it asks again in time to know a key
// before it signs.
func (a *API) set(w http.ResponseWriter, r *http.Request) {
	set, err := a.keys.Set(r.Context(), signing.Purpose(r.PathValue("purpose")))
	if errors.Is(err, assertion.ErrPurpose) {
		httpkit.Refuse(w, r, protocol.CodeNotFound, "")
		return
	}
	if err != nil {
		a.log.ErrorContext(r.Context(), "a JWK set could not be made", "request_id", httpkit.RequestID(r.Context()), "error", err)
		httpkit.Refuse(w, r, protocol.CodeInternal, "")
		return
	}
	sum := sha256.Sum256(set)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	h := w.Header()
	h.Set("Cache-Control", "public, must-revalidate, max-age="+strconv.Itoa(int(assertion.MaxAge.Seconds())))
	h.Set("ETag", tag)
	for _, known := range r.Header.Values("If-None-Match") { // RFC 9110 section 13.1.2
		for one := range strings.SplitSeq(known, ",") {
			if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == "*" || one == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
	}
	h.Set("Content-Type", "application/jwk-set+json") // RFC 7517 section 8.5.2
	_, _ = w.Write(set)                               //nolint:gosec // G705: JSON of ours, under a media type that is no page
}
