package httpkit

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Limits of a server's connections. What is zero takes its default, so that no
// server is without a limit.
type Limits struct {
	ReadHeader time.Duration // for a request's head; 5 s
	Read       time.Duration // for a whole request; 15 s
	Write      time.Duration // from the head's end to the answer's; 30 s
	Idle       time.Duration // between two requests; 3 min, and best above the interval of heartbeats
	MaxHeader  int           // bytes of a request's head; 16 KiB
	MaxStreams int           // HTTP/2 requests at once on one connection; 100
}

// NewServer makes a server with every limit set. A nil tlsConfig is plain HTTP.
func NewServer(h http.Handler, tlsConfig *tls.Config, l Limits) *http.Server {
	return &http.Server{
		Handler:           h,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: or(l.ReadHeader, 5*time.Second),
		ReadTimeout:       or(l.Read, 15*time.Second),
		WriteTimeout:      or(l.Write, 30*time.Second),
		IdleTimeout:       or(l.Idle, 3*time.Minute),
		MaxHeaderBytes:    or(l.MaxHeader, 16<<10),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: or(l.MaxStreams, 100),
			MaxReadFrameSize:     16 << 10,
		},
	}
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
