package imports

import (
	"slices"
	"testing"
)

func TestRules(t *testing.T) {
	t.Parallel()
	const m = "example.org/m"
	for _, c := range []struct {
		from, imports string
		allowed       bool
	}{
		{"server", m + "/server/internal/app", true},
		{"server", m + "/server/internal/config", true},
		{"server/internal/app", m + "/server/internal/adminapi", true},
		{"server/internal/app", m + "/server/internal/db", true},
		{"server/internal/app", "net/http", true},
		{"server/internal/adminapi", m + "/server/internal/flow", true},
		{"server/internal/adminapi", m + "/server/internal/httpkit", true},
		{"server/internal/adminapi", m + "/server/internal/adminapi/schema", true},
		{"server/internal/adminapi", m + "/server/internal/deviceapi", false},
		{"server/internal/adminapi", m + "/server/internal/app", false},
		{"server/internal/adminapi", m + "/server/internal/db", false},
		{"server/internal/adminapi", "database/sql", false},
		{"server/internal/dashboard", "github.com/uptrace/bun", false},
		{"server/internal/httpkit", m + "/server/internal/dashboard", false},
		{"server/internal/httpkit", "net/http", true},
		{"server/internal/flow", m + "/server/internal/pki", true},
		{"server/internal/flow", m + "/server/internal/view", false},
		{"server/internal/flow", m + "/server/internal/httpkit", false},
		{"server/internal/pki", m + "/server/internal/device", false},
		{"server/internal/pki", m + "/server/internal/pki/ocsp", true},
		{"server/internal/pki", m + "/server/internal/audit", true},
		{"server/internal/pki", m + "/server/internal/db", true},
		{"server/internal/pki", m + "/server/internal/flow", false},
		{"server/internal/pki", m + "/shared/certs", true},
		{"server/internal/pki", "net/http", false},
		{"server/internal/pki/ocsp", "net/http/httptrace", false},
		{"server/internal/pki", "net/netip", true},
		{"server/internal/pki", m + "/server/internal/db/dbtest", false},
		{"server/internal/newroom", m + "/server/internal/device", false},
		{"server/servertest", m + "/server/internal/db/dbtest", true},
		{"server/internal/pki", m + "/server/internal/authz", true},
		{"server/internal/authz", m + "/server/internal/audit", true},
		{"server/internal/audit", m + "/server/internal/authz", false},
		{"server/internal/audit", m + "/server/internal/jobs", false},
		{"server/internal/db", m + "/server/internal/audit", false},
		{"server/internal/db", m + "/migrations", true},
		{"server/internal/db", "database/sql", true},
		{"server/internal/pki", m + "/agent/internal/enroll", false},
		{"agent", m + "/server/servertest", false},
		{"agent", m + "/shared/protocol", true},
		{"agent/internal/app", m + "/agent/internal/link", true},
		{"agent/internal/link", "net/http", true},
		{"shared/certs", m + "/shared/signing", true},
		{"shared/certs", m + "/server/internal/pki", false},
		{"shared/certs", m + "/migrations", false},
	} {
		found := violations(m, []pkg{{path: c.from, imports: []string{c.imports}}})
		if allowed := len(found) == 0; allowed != c.allowed {
			t.Errorf("%s imports %s: allowed is %t, want %t %q", c.from, c.imports, allowed, c.allowed, found)
		}
	}
}

func TestForeignIn(t *testing.T) {
	t.Parallel()
	const m = "example.org/m"
	own := []string{"net/http", m + "/shared/certs", m + "/agent/internal/link", "golang.org/x/sys/unix"}
	if found := foreignIn(m, own); len(found) != 0 {
		t.Errorf("the agent may have %q", found)
	}
	foreign := []string{
		m + "/server/internal/db", m + "/migrations", "database/sql", "github.com/uptrace/bun",
		"github.com/jackc/pgx/v5/stdlib", "modernc.org/libc", "github.com/pressly/goose/v3",
		"github.com/danielgtaylor/huma/v2", "github.com/prometheus/client_golang/prometheus",
		"github.com/golang-jwt/jwt/v5", "go.opentelemetry.io/otel",
	}
	if found := foreignIn(m, slices.Concat(own, foreign)); !slices.Equal(found, foreign) {
		t.Errorf("found only %q", found)
	}
}
