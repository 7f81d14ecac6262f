package httpkit

import (
	"maps"
	"net/http"
)

// setHeaders sets what every answer carries. A surface that serves pages replaces
// Content-Security-Policy with its own.
func setHeaders(h http.Header, r *http.Request, id string) {
	maps.Copy(h, always)
	h.Set("X-Request-ID", id)
	if r.TLS != nil {
		maps.Copy(h, overTLS)
	}
}

// The values are shared by all answers: a header is set or deleted, never appended to.
var (
	always = canonical(map[string]string{
		"X-Content-Type-Options":       "nosniff",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
	})
	overTLS = canonical(map[string]string{"Strict-Transport-Security": "max-age=31536000"}) // RFC 6797 section 7.2
)

func canonical(values map[string]string) http.Header {
	h := make(http.Header, len(values))
	for name, value := range values {
		h.Set(name, value)
	}
	return h
}
