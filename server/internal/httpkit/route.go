package httpkit

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// Kind is a sort of policy. A surface has one guard for each that it knows.
type Kind string

// The kinds of policies.
const (
	KindAnonymous  Kind = "anonymous"
	KindDevice     Kind = "device"
	KindMonitoring Kind = "monitoring"
	KindPermission Kind = "permission"
	KindConsole    Kind = "console"
	KindHalf       Kind = "half-signed-in"
)

// Policy says who may call a route. The zero Policy is none, and no route has it.
type Policy struct {
	kind       Kind
	permission authz.Permission
}

// The policies beside permissions.
var (
	Anonymous       = Policy{kind: KindAnonymous}  // anyone
	Device          = Policy{kind: KindDevice}     // a device by its certificate
	MonitoringToken = Policy{kind: KindMonitoring} // whoever holds the monitoring token
	HalfSignedIn    = Policy{kind: KindHalf}       // whoever holds the token of a sign-in that misses a step; the step checks it
)

// Need is the policy of a route for people who are signed in and have p.
func Need(p authz.Permission) Policy { return Policy{KindPermission, p} }

// Console is Need for the pages of the console, whose callers are known by a
// cookie and never by a token.
func Console(p authz.Permission) Policy { return Policy{KindConsole, p} }

// Kind is the policy's sort, "" for none.
func (p Policy) Kind() Kind { return p.kind }

// Permission is what a policy of KindPermission or KindConsole asks for.
func (p Policy) Permission() authz.Permission { return p.permission }

// String names the policy for documents and tests.
func (p Policy) String() string {
	switch p.kind {
	case KindPermission:
		return string(p.permission)
	case KindConsole:
		return "console " + string(p.permission)
	}
	return string(p.kind)
}

// Route is one method of one path pattern of http.ServeMux, and what it takes.
type Route struct {
	Method  string
	Pattern string // such as /api/admin/sessions/{id}/revoke
	Policy  Policy
	MaxBody int64  // bytes; 0: it takes no body
	Media   string // type of the body; "" is application/json
}

// Guard puts the check of a route's policy before its handler.
type Guard func(Route, http.Handler) http.Handler

// Guards are a surface's guards. Anonymous needs none.
type Guards map[Kind]Guard

// MonitoringGuard lets in whoever presents one of the tokens as a bearer token: the
// present one, and while it changes the one before. An empty token is none.
func MonitoringGuard(tokens ...[]byte) Guard {
	var wanted [][sha256.Size]byte
	for _, token := range tokens {
		if len(token) > 0 {
			wanted = append(wanted, sha256.Sum256(token))
		}
	}
	return func(_ Route, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got, ok := Bearer(r)
			sum := sha256.Sum256([]byte(got)) // of equal length, so that the comparison tells nothing
			same := 0
			for _, want := range wanted {
				same |= subtle.ConstantTimeCompare(sum[:], want[:])
			}
			if !ok || same != 1 {
				Refuse(w, r, CodeUnauthenticated, "")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
