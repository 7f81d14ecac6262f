package dashboard

import (
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
)

// home is what this is, and whether it is healthy: for anyone who finds it.
func (c *Console) home(w http.ResponseWriter, r *http.Request) {
	report := c.deps.Health(r.Context())
	p := c.newPage(r, "", "Sentinel Secure X", struct {
		Health health.Report
		State  string
	}{report, healthWord(report)})
	c.show(w, r, http.StatusOK, "home", p)
}

// healthWord is a report in one word of the statuses.
func healthWord(r health.Report) string {
	if !r.Ready {
		return "not-ready"
	}
	for _, check := range r.Checks {
		if check.Reason != "" {
			return "warning"
		}
	}
	return "ready"
}
