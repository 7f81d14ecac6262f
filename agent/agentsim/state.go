package agentsim

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
)

// State is what a device holds on to.
type State struct {
	Begun        bool // an enrollment
	Enrolled     bool
	EnrollmentID string
	FirstRoot    string
	Root, Policy int64 // versions in force
	RootDigest   string
	PolicyDigest string
	Commands     int64 // how many were ever begun
	Counter      int64 // the last one used
	Epoch        string
	Accepted     int64  // the last counter accepted
	Refusal      string // the code of the answer since
}

// ReadState looks at the journal in a state directory, which another may hold. It
// does not judge the file, as the agent does when it starts: it is asked often.
func ReadState(dir string) (State, error) {
	data, err := os.ReadFile(filepath.Join(dir, "journal.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	var file struct {
		State journal.State `json:"state"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return State{}, err
	}
	s := &file.State
	out := State{Begun: true, EnrollmentID: s.EnrollmentID}
	e := s.Enrolled
	if e == nil {
		return out, nil
	}
	out.Enrolled, out.FirstRoot, out.Root, out.Policy, out.Counter, out.Epoch = true, e.FirstRoot, e.Root.Version, e.Policy.Version, e.Counter, e.Epoch
	out.RootDigest, out.PolicyDigest, out.Commands = e.Root.Digest, e.Policy.Digest, e.Commands
	if e.Accepted != nil {
		out.Accepted = e.Accepted.Counter
	}
	if e.Refusal != nil {
		out.Refusal = string(e.Refusal.Code)
	}
	return out, nil
}
