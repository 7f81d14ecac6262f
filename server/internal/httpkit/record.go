package httpkit

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// recorder notes what is answered. Through Unwrap an http.ResponseController
// reaches the writer below.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 { // 1xx are not the answer
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// recovered answers a panic with a problem, and reports whether the connection
// must end because an answer had begun.
func (m *Mux) recovered(rec *recorder, r *http.Request, p any) (abort bool) {
	if p == nil {
		return false
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return true
	}
	text := fmt.Sprint(p)
	m.o.Log.LogAttrs(r.Context(), slog.LevelError, "panic in a handler", slog.String("surface", m.o.Surface),
		slog.String("request_id", RequestID(r.Context())), slog.String("panic", text[:min(len(text), 500)]),
		slog.String("stack", string(debug.Stack())))
	if rec.status != 0 {
		return true
	}
	Refuse(rec, r, protocol.CodeInternal, "")
	return false
}

// done counts and logs a request. What the caller chose freely (path, query,
// headers, an unheard-of method) is in neither.
func (m *Mux) done(rec *recorder, r *http.Request, e *endpoint, begin time.Time) {
	method, route := "other", "none"
	if e != nil {
		method, route = e.route.Method, e.route.Pattern
	}
	status := rec.status
	if status == 0 {
		status = http.StatusOK
	}
	took := m.o.Now().Sub(begin)
	m.o.Metrics.observe(m.o.Surface, method, route, status, took)
	m.o.Log.LogAttrs(r.Context(), m.o.Level, "request",
		slog.String("surface", m.o.Surface), slog.String("request_id", RequestID(r.Context())),
		slog.String("source", Source(r)), slog.String("method", method), slog.String("route", route),
		slog.Int("status", status), slog.Int64("bytes", rec.bytes), slog.Int64("took_us", took.Microseconds()))
}
