package imports

import (
	"fmt"
	"slices"
	"strings"
)

// pkg is a package of the module, by its path inside the module ("." for its
// top), with what it imports: full paths.
type pkg struct {
	path    string
	imports []string
}

// layer orders the rooms of the server; a higher one may import a lower one.
type layer int

const (
	foundation layer = iota // what everything else stands on
	keys                    // where private keys are, as the settings say
	records                 // audit and jobs, written in the same transaction as the act
	authority               // who acts, and what the fleet's owner signs
	domain
	spanning // acts and reads over several domains
	kit      // what the surfaces share
	surface
	checks      // the production checklist, which asks everything below
	composition // builds the parts
	entry       // the commands, and the server as tests start it
)

// layers places the rooms of server/internal; every other room is a domain.
var layers = map[string]layer{
	"config": foundation, "db": foundation, "keyfile": foundation, "seal": foundation, "status": foundation,
	"keysource": keys,
	"audit":     records, "jobs": records,
	"authz": authority, "ceremony": authority,
	"flow": spanning, "view": spanning,
	"httpkit": kit, "proxy": kit, "fetch": kit,
	"deviceapi": surface, "adminapi": surface, "workloadapi": surface, "dashboard": surface, "statusapi": surface, "keysapi": surface,
	"preflight": checks,
	"app":       composition,
}

// testMachinery gives tests their databases.
const testMachinery = "server/internal/db/dbtest"

// databasePackages are what a query takes.
var databasePackages = []string{
	"database/sql", "github.com/uptrace/bun", "github.com/jackc/pgx", "modernc.org/sqlite",
}

// foreignToAgent must not be linked into the agent: databases, web frameworks
// and telemetry of the server's.
var foreignToAgent = append([]string{
	"github.com/pressly/goose", "modernc.org", "github.com/danielgtaylor/huma",
	"github.com/prometheus", "github.com/golang-jwt", "go.opentelemetry.io",
}, databasePackages...)

// foreignIn returns those of the agent's dependencies that must not be there.
func foreignIn(module string, deps []string) []string {
	banned := append([]string{module + "/server", module + "/migrations"}, foreignToAgent...)
	var found []string
	for _, dep := range deps {
		if withinAny(dep, banned) {
			found = append(found, dep)
		}
	}
	return found
}

// violations checks each package of the module and says, for each import that
// breaks a rule, which and why.
func violations(module string, packages []pkg) []string {
	var found []string
	for _, p := range packages {
		for _, imported := range p.imports {
			target, local := strings.CutPrefix(imported, module+"/")
			var why string
			if local {
				why = whyNotLocal(p.path, target)
			} else {
				why = whyNotForeign(p.path, imported)
			}
			if why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", p.path, imported, why))
			}
		}
	}
	return found
}

// whyNotLocal judges an import within the module; "" allows it.
func whyNotLocal(from, to string) string {
	switch top := topOf(from); {
	case within(to, testMachinery) && topOf(from) == "server" && !within(from, "server/servertest"):
		return "it is for tests"
	case (top == "shared" || top == "migrations") && topOf(to) != top:
		return top + " stands below everything else"
	case top == "agent" && topOf(to) == "server", top == "server" && topOf(to) == "agent":
		return "the agent and the server share only what is in shared"
	case top == "server" && topOf(to) == "server":
		return whyNotRoom(from, to)
	default:
		return ""
	}
}

func whyNotRoom(from, to string) string {
	fromRoom, fromLayer := place(from)
	toRoom, toLayer := place(to)
	switch {
	case fromLayer == surface && toRoom == "db":
		return "surfaces run no queries; ask a domain, flow or view"
	case fromRoom == toRoom, toLayer < fromLayer:
		return ""
	case fromLayer == domain && toLayer == domain:
		return "domains do not import domains; an act over several is a file in flow"
	case fromLayer == surface && toLayer == surface:
		return "surfaces do not import each other; what they share is in httpkit"
	default:
		return "imports flow the other way"
	}
}

// whyNotForeign judges an import of a package that is not of this module.
func whyNotForeign(from, to string) string {
	if !within(from, "server/internal") {
		return ""
	}
	_, l := place(from)
	switch {
	case l <= domain && within(to, "net/http"):
		return "domains and what is below them do not speak HTTP"
	case l == surface && withinAny(to, databasePackages):
		return "surfaces run no queries; ask a domain, flow or view"
	default:
		return ""
	}
}

// place returns the room and layer of a package of the server.
func place(path string) (room string, l layer) {
	inside, ok := strings.CutPrefix(path, "server/internal/")
	if !ok {
		return "server", entry
	}
	room = topOf(inside)
	l, ok = layers[room]
	if !ok {
		l = domain
	}
	return room, l
}

func topOf(path string) string {
	top, _, _ := strings.Cut(path, "/")
	return top
}

// within reports whether path is root or below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func withinAny(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(path, root) })
}
