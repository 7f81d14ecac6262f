package preflight

import (
	"crypto/x509"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Facts are everything that rules judge by.
type Facts struct {
	At           time.Time
	Written      config.Profile  // what SENTINEL_PROFILE says
	Config       *config.Config  // as the production profile reads it
	Problems     config.Problems // of the same reading
	SettingsFile string          // "" when only the environment is read
	ProxyHeaders bool            // a proxy is said to pass certificates on in headers

	Files     Files
	Database  Database
	Fleet     Fleet
	Standing  *view.Standing // nil: it could not be read
	Listening *Listening     // nil: nobody asked, as before a start
	Service   Service
}

// Files are facts about what stands on the disk of this host.
type Files struct {
	DataDir    Entry
	Open       []Entry      // files and directories that users other than their owner may change
	Foreign    []Entry      // that belong neither to root nor to the owner of the data directory
	Repository string       // the source checkout that a secret or the data directory stands in
	Keys       []PrivateKey // found in the data directory and beside the files that settings name
	Cut        bool         // there was more than was looked at
	Asker      int          // user id of whoever looked; -1 where there are none
}

// Entry is a file or directory.
type Entry struct {
	Path  string
	Found bool
	Mode  fs.FileMode
	Owner int // user id; -1 where there are none
}

// PrivateKey is a private key in a file, by its public half.
type PrivateKey struct {
	Path   string
	Public string // SHA-256 of the public key (PKIX), hex
}

// Database is what is known of the database.
type Database struct {
	Asked    bool   // a connection was tried
	Refused  string // why there is none, without anything of the URL
	Session  db.Session
	Schema   db.SchemaStatus
	Fits     bool         // the schema is this program's
	Instance *db.Instance // nil before the first start
	Behind   string       // why it is older than this node remembers
	Unread   string       // why its tables could not be read
}

// Fleet is what the fleet's owner signed, and the keys around it.
type Fleet struct {
	Founded     bool
	Wrong       string            // why the stored documents are not believed
	Owner       map[string]string // what each key of the owner is for, by its public half
	Bundle      *signing.PolicyBundle
	CommandKey  string // why the server cannot sign commands; "" when it can
	Authorities []pki.Authority
	Sealed      string // why the stored keys cannot be opened; "" when they can
}

// Listening is what is found at the two addresses.
type Listening struct {
	People  Listener
	Machine Listener
	Sockets []Socket // that listen on the ports of the two; nil where the system does not say
}

// Listener is what answers at an address.
type Listener struct {
	Address     string
	Answers     bool
	TLS         bool
	Versions    []string // of TLS that it takes, the oldest first
	Resumes     bool     // it resumes a session
	Certificate *x509.Certificate
	Open        int      // status of the answer to a request without credentials
	Ready       bool     // people's side only
	NotReady    []string // checks of readiness that fail
	Wrong       string   // why the answers could not be read
}

// Socket is a listening socket of this host.
type Socket struct {
	Address string
	Port    int
	Owner   int // user id
}

// Service is how the operating system runs the server.
type Service struct {
	Looked  bool   // this system has services that we can read about
	Unit    string // path of the unit; "" without one
	Restart string
	User    string
}

// broken is the failure that the problems of some settings are.
func (f *Facts) broken(keys ...string) (Verdict, bool) {
	var found, change []string
	for _, p := range f.Problems {
		key := strings.TrimSuffix(p.Key, "_FILE")
		if !slices.Contains(keys, p.Key) && !slices.Contains(keys, key) {
			continue
		}
		found, change = append(found, p.Key+" "+p.Message), append(change, p.Fix)
	}
	if found == nil {
		return Verdict{}, false
	}
	return Verdict{Status: Fail, Found: strings.Join(found, "; "), Change: strings.Join(slices.Compact(change), "; ")}, true
}

// tables is the verdict of a rule that needs the database's tables, where they
// could not be read.
func (f *Facts) tables() (Verdict, bool) {
	switch {
	case f.Config.DatabaseURL == "":
		return waits(checkPostgreSQL), true
	case f.Config.DatabaseInTheClear():
		return waits(checkDatabaseTLS), true
	case f.Database.Refused != "" || !f.Database.Asked:
		return waits(checkReachable), true
	case !f.Database.Fits || f.Database.Unread != "" || f.Standing == nil:
		return waits(checkSchema), true
	}
	return Verdict{}, false
}

// founded is the same for what needs the fleet's documents.
func (f *Facts) founded() (Verdict, bool) {
	if v, missing := f.tables(); missing {
		return v, true
	}
	if !f.Fleet.Founded {
		return waits(checkFleetRoot), true
	}
	return Verdict{}, false
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return itoa(n) + " " + one + "s"
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// now is the one time of everything that is judged.
func (f *Facts) now() time.Time { return f.At }
