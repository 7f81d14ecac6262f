package httpkit

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// takeBody reads the body before the handler runs, within the route's limit and
// of its media type. Bodies are small on every route, so that the handler
// starts with all of it or not at all.
func takeBody(route Route, next http.Handler) http.Handler {
	media := route.Media
	if media == "" {
		media = "application/json"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var code protocol.Code
		switch {
		case r.ContentLength > route.MaxBody:
			code = protocol.CodeTooLarge
		case route.MaxBody > 0 && !isMedia(r.Header, media):
			code = CodeMediaType
		default:
			code = readBody(w, r, route.MaxBody)
		}
		if code != "" {
			if r.ProtoMajor == 1 {
				w.Header().Set("Connection", "close") // what is left of the body is not read
			}
			Refuse(w, r, code, "")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// atOnce is how much memory is taken for a body before any of it has come, in bytes:
// enough for a heartbeat, and little for who says much and sends nothing.
const atOnce = 4 << 10

// readBody puts the whole body in memory in place of the connection's reader.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) protocol.Code {
	var in bytes.Buffer
	in.Grow(int(max(min(r.ContentLength, atOnce), 0)) + bytes.MinRead)
	_, err := in.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return protocol.CodeTooLarge
	case err != nil:
		return protocol.CodeMalformed
	}
	r.Body = &body{*bytes.NewReader(in.Bytes()), in.Bytes()}
	return ""
}

// body is a request's body once all of it is in memory.
type body struct {
	bytes.Reader
	data []byte
}

// Close does nothing: the connection's own reader is the server's to close.
func (*body) Close() error { return nil }

// Body is the whole body of a request that came in by a Mux, and none of another. It is
// the caller's to read and not to change.
func Body(r *http.Request) []byte {
	if b, ok := r.Body.(*body); ok {
		return b.data
	}
	return nil
}

// isMedia demands the media type, in UTF-8 and not encoded further.
func isMedia(h http.Header, want string) bool {
	types := h.Values("Content-Type")
	if len(types) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	got, params, err := mime.ParseMediaType(types[0])
	if err != nil || got != want {
		return false
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return false
		}
	}
	return true
}
