package link

import (
	"errors"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Reaction is what the agent does after a heartbeat. See the package comment.
type Reaction int

// The reactions, from the best to the worst.
const (
	Go Reaction = iota
	AtOnce
	BackOff
	Slowly
	Rarely
)

func (r Reaction) String() string {
	return [...]string{"go on", "at once", "back off", "slowly", "rarely"}[r]
}

// Lasting says whether the refusal lasts until somebody acts: it is kept in the
// journal and makes `status` fail.
func (r Reaction) Lasting() bool { return r >= Slowly }

// reactions to the codes of a refusal. A code that is not here is Slowly.
var reactions = map[protocol.Code]Reaction{
	protocol.CodeEpochChanged: AtOnce,

	protocol.CodeRateLimited: BackOff,
	protocol.CodeNotReady:    BackOff,
	protocol.CodeInternal:    BackOff,

	protocol.CodeIssuingStopped: BackOff, // people stopped it, and people start it again

	protocol.CodeRevocationUnknown: BackOff, // the server asks the certificate's authority

	protocol.CodeReviewPending:      Slowly, // a person decides
	protocol.CodeReviewRejected:     Rarely,
	protocol.CodeCertificateRevoked: Rarely,
	protocol.CodeIssuedElsewhere:    Rarely,

	protocol.CodeDeviceSuspended:   Slowly,
	protocol.CodeDeviceHeld:        Slowly,
	protocol.CodeCounterStale:      Slowly,
	protocol.CodeCounterJump:       Slowly,
	protocol.CodeCertificateNotYet: Slowly, // a clock may be put right

	protocol.CodeDeviceRevoked:      Rarely,
	protocol.CodeDeviceUnknown:      Rarely,
	protocol.CodeDeviceGone:         Rarely,
	protocol.CodeIdentityMismatch:   Rarely,
	protocol.CodeCertificateMissing: Rarely,
	protocol.CodeCertificateUnknown: Rarely,
	protocol.CodeCertificateExpired: Rarely,
	protocol.CodeCertificateLost:    Rarely,
}

// React judges the outcome of a heartbeat.
func React(err error) Reaction {
	var refusal *RefusalError
	switch {
	case err == nil:
		return Go
	case !errors.As(err, &refusal):
		return BackOff // nobody answered, or not in our language
	case refusal.Problem.Code == "":
		return BackOff // something in between answered: a proxy, a load balancer
	}
	reaction, known := reactions[refusal.Problem.Code]
	if !known {
		return Slowly
	}
	return reaction
}
