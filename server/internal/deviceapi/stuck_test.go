package deviceapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// serveStuck serves answers that do not come before until is closed.
func serveStuck(t *testing.T, until <-chan struct{}) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-until:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.CloseClientConnections)
	return s.URL
}
