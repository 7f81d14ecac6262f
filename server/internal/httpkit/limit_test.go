package httpkit

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestCallersThatProveWhoTheyAreShareNoLimitUnlessAsked(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{false, true} {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		l, err := NewLimiter(1, 2, 10, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		through := func(_ Route, next http.Handler) http.Handler { return next }
		m := NewMux(Options{Limiter: l, LimitKnown: known, Guards: Guards{KindDevice: through}, Now: func() time.Time { return now }})
		m.Handle(Route{Method: "GET", Pattern: "/device", Policy: Device}, text("x"))
		m.Handle(Route{Method: "GET", Pattern: "/anyone", Policy: Anonymous}, text("x"))
		count := func(path string) (limited int) {
			for range 10 {
				w := httptest.NewRecorder()
				m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.Code == http.StatusTooManyRequests {
					limited++
				}
			}
			return limited
		}
		if got := count("/device"); (got > 0) != known {
			t.Errorf("known callers limited %t: %d of 10 requests were", known, got)
		}
		if count("/anyone") == 0 || count("/nowhere") != 10 {
			t.Errorf("strangers are not limited (known callers limited %t)", known)
		}
	}
}
