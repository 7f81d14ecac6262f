package approval

import (
	"slices"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// Kind names what sort of act is asked for.
type Kind string

// The kinds of acts.
const (
	Enrollment Kind = "enrollment" // lets a device in
	Identity   Kind = "identity"   // gives a device another key
	Command    Kind = "command"    // has devices do something
)

// About is what every request of a kind has in common.
type About struct {
	Title string           // what is asked for, for people
	Vote  authz.Permission // what whoever decides must hold
}

// kinds is every kind there is. One that is not here is nobody's to decide.
var kinds = map[Kind]About{
	Enrollment: {"Let a device in", authz.EnrollmentReview},
	Identity:   {"Give a device another key", authz.IdentityReview},
	Command:    {"Have devices carry out a command", authz.CommandReview},
}

// About is what requests of this kind have in common; false for what is no kind.
func (k Kind) About() (About, bool) {
	a, ok := kinds[k]
	return a, ok
}

// Kinds lists every kind, sorted.
func Kinds() []Kind {
	list := make([]Kind, 0, len(kinds))
	for k := range kinds {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// VotedBy lists the kinds that whoever may do this decides on, sorted.
func VotedBy(may func(authz.Permission) bool) []Kind {
	return slices.DeleteFunc(Kinds(), func(k Kind) bool { return !may(kinds[k].Vote) })
}
