package approval

import (
	"slices"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// Kind names what sort of act is asked for.
type Kind string

// The kinds of acts.
const (
	Enrollment  Kind = "enrollment"   // lets a device in
	Identity    Kind = "identity"     // gives a device another key
	Command     Kind = "command"      // has devices do something
	Resume      Kind = "resume"       // ends a suspension
	Resync      Kind = "resync"       // ends a hold after a counter went back
	Rights      Kind = "rights"       // gives an account rights that approve or widen rights
	FactorReset Kind = "factor-reset" // takes the second factors of an account that approves away
	Quorum      Kind = "quorum"       // lets fewer people approve
	Issuing     Kind = "issuing"      // lets certificates be issued again
	Baseline    Kind = "baseline"     // says what a healthy device's TPM proves
	ForgetTPM   Kind = "forget-tpm"   // lets a device have another TPM
)

// Path is what a number of people is set for.
type Path string

// The paths. What has none takes one person beside whoever asks.
const (
	Commands     Path = "commands"
	Certificates Path = "certificates"
	Identities   Path = "identity"
)

// Paths lists every path.
func Paths() []Path { return []Path{Commands, Certificates, Identities} }

// About is what every request of a kind has in common.
type About struct {
	Title   string           // what is asked for, for people
	Vote    authz.Permission // what whoever decides must hold
	Ask     authz.Permission // what a person who asks must still hold when it is carried out; "" where none asks
	Delayed bool             // it takes effect some time after it was approved, and can be cancelled until then
	Waited  bool             // something of its own waits for it (an enrollment, a device's request, a command), and ends it when its time is over
}

// kinds is every kind there is. One that is not here is nobody's to decide.
var kinds = map[Kind]About{
	Enrollment:  {Title: "Let a device in", Vote: authz.EnrollmentReview, Waited: true},
	Identity:    {Title: "Give a device another key", Vote: authz.IdentityReview, Waited: true},
	Command:     {Title: "Have devices carry out a command", Vote: authz.CommandReview, Ask: authz.CommandCreate, Waited: true},
	Resume:      {Title: "End the suspension of a device", Vote: authz.DeviceReview, Ask: authz.DeviceResume},
	Resync:      {Title: "Release a device that is held", Vote: authz.DeviceReview, Ask: authz.DeviceResync},
	Rights:      {Title: "Give an account rights that approve or widen rights", Vote: authz.AccountReview, Ask: authz.AccountManage, Delayed: true},
	FactorReset: {Title: "Take away the second factors of an account that approves", Vote: authz.AccountReview, Ask: authz.AccountManage, Delayed: true},
	Quorum:      {Title: "Let fewer people approve", Vote: authz.AccountReview, Delayed: true},
	Issuing:     {Title: "Issue certificates again", Vote: authz.PKIReview, Ask: authz.PKIStart},
	Baseline:    {Title: "Put a baseline into force", Vote: authz.BaselineReview, Ask: authz.BaselinePropose},
	ForgetTPM:   {Title: "Let a device have another TPM", Vote: authz.DeviceReview, Ask: authz.DeviceResync},
}

// About is what requests of this kind have in common; false for what is no kind.
func (k Kind) About() (About, bool) {
	a, ok := kinds[k]
	return a, ok
}

// Alone lists the kinds that nothing waits for, sorted.
func Alone() []Kind {
	return slices.DeleteFunc(Kinds(), func(k Kind) bool { return kinds[k].Waited })
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
