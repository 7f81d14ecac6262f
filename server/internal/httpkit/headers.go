package httpkit

import "net/http"

// setHeaders sets what every answer carries. A surface that serves pages replaces
// Content-Security-Policy with its own.
func setHeaders(h http.Header, r *http.Request, id string) {
	h.Set("X-Request-ID", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000") // RFC 6797: only over TLS
	}
}
