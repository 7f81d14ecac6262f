package httpkit

import (
	"context"
	"encoding/json"
	"net/http"
)

// Live answers that the process does.
func Live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"live":true}`))
}

// Ready answers with a report: 200 when ready, 503 when not.
func Ready[R any](report func(ctx context.Context) (R, bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		said, ready := report(r.Context())
		body, err := json.Marshal(said)
		if err != nil { // types of ours that always encode
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(body)
	}
}
