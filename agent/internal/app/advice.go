package app

import (
	"context"
	"errors"
	"io/fs"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

// Exit codes of the program.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitRefused     = 2 // refused, revoked, suspended, held, expired
	ExitNotEnrolled = 3
	ExitRestart     = 4 // told to end, for the supervisor to start it again
)

// ExitCode of a command that ended with err.
func ExitCode(err error) int {
	var refusal *link.RefusalError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, enroll.ErrOver):
		return ExitRefused
	case errors.As(err, &refusal) && link.React(err).Lasting():
		return ExitRefused
	case errors.Is(err, journal.ErrNotEnrolled), errors.Is(err, ErrUnfinished), errors.Is(err, enroll.ErrPending),
		errors.Is(err, enroll.ErrUnsent), errors.Is(err, enroll.ErrStopped):
		return ExitNotEnrolled
	case errors.Is(err, command.ErrRestart):
		return ExitRestart
	}
	return ExitError
}

const startOver = "if this state cannot be restored: sentinel-agent unenroll, and enroll anew"

// advices say the next thing to try. The first that fits counts.
var advices = []struct {
	err error
	try string
}{
	{enroll.ErrMissing, "sentinel-agent enroll --help shows what an enrollment needs; `sentinel-server enroll-token create` prints the whole command"},
	{enroll.ErrEnrolled, "sentinel-agent status shows it; to leave that fleet first: sentinel-agent unenroll"},
	{enroll.ErrOther, "finish that one with: sentinel-agent enroll; or drop it with: sentinel-agent unenroll"},
	{enroll.ErrPending, "run the same command again, it goes on where it stopped; no token is needed any more"},
	{enroll.ErrBetween, "do not go on; from another network, compare --ca-fingerprint with what `sentinel-server fleet` prints, and tell your security team"},
	{enroll.ErrClock, "set this device's clock, then run the same command again; if it is right, the server's certificate or clock is not"},
	{enroll.ErrNotOurs, "nothing was accepted; compare --fleet-root with the one that the operator was given, and tell the operator"},
	{certs.ErrPinMismatch, "compare --ca-fingerprint and --server with what `sentinel-server enroll-token create` prints; if both are right, do not go on: someone may be in between"},
	{certs.ErrNotCA, "--ca-fingerprint must be that of the server's CA, not of the server's own certificate; take it " + config.AsPrinted},
	{link.ErrNotServer, "check --server (the exact name counts) and this device's clock; if both are right, someone may be in between"},
	{link.ErrNoAnswer, "check the address, the network and the proxy (SENTINEL_AGENT_PROXY), and whether the server runs"},
	{link.ErrBadAnswer, "check that the address is the server's machine listener, and that server and agent are of fitting versions"},
	{ErrUnfinished, "sentinel-agent enroll goes on with it, once a reviewer has approved the key code"},
	{journal.ErrInUse, "stop that one first: if it is the service, sentinel-agent service stop; if it runs in the foreground, Ctrl+C where it does, or end that process"},
	{journal.ErrLoose, "make the directory the agent's alone; if others could read it, take the key for copied: sentinel-agent unenroll, and enroll anew"},
	{journal.ErrNewer, "run the newer agent again, or: sentinel-agent unenroll, and enroll anew"},
	{journal.ErrDamaged, startOver + "; an older copy of the journal would make the server hold the device"},
	{journal.ErrNotEnrolled, "sentinel-agent enroll --help"},
	{identity.ErrPair, "name the files that the authority's tools wrote: --certificate-file with the certificate first, --key-file with its key, mode 0600"},
	{identity.ErrExposed, "take the key for copied: sentinel-agent unenroll, have the device revoked, and enroll anew"},
	{identity.ErrNoKey, startOver},
	{identity.ErrBadKey, startOver},
	{identity.ErrBadCertificate, startOver},
	{pins.ErrDamaged, startOver},
	{command.ErrRestart, "nothing under a service manager, which starts it again; in the foreground: sentinel-agent run"},
	{command.ErrNewer, "run the newer agent again, or: sentinel-agent unenroll, and enroll anew"},
	{command.ErrDamaged, "start the agent: it begins a new one, and does nothing that it may have done before"},
	{service.ErrNoManager, "run it in the foreground: sentinel-agent run"},
	{service.ErrNotInstalled, "sentinel-agent service install"},
	{service.ErrInstalled, "sentinel-agent service start; or uninstall it first"},
	{service.ErrPackaged, "remove the package with the system's package manager"},
	{fs.ErrPermission, "run it as root, or as an administrator"},
	{enroll.ErrStopped, "run the same command again, it goes on where it stopped; no token is needed any more"},
	{context.Canceled, "run the same command again, it goes on where it stopped"},
}

// Advise says the next thing to try after err.
func Advise(err error) string {
	var refused *enroll.RefusedError
	var problems config.Problems
	switch {
	case errors.As(err, &refused) && refused.Code != "":
		return adviseCode(refused.Code)
	case errors.As(err, &refused):
		return "ask the reviewer, then enroll anew with a new token"
	case errors.Is(err, enroll.ErrUnsent):
		return adviseUnsent(err)
	case errors.As(err, &problems):
		return "put right what is named above, all of it; --help of the command describes the settings"
	}
	for _, a := range advices {
		if errors.Is(err, a.err) {
			return a.try
		}
	}
	if refusal, ok := errors.AsType[*link.RefusalError](err); ok {
		return adviseCode(refusal.Problem.Code)
	}
	return "sentinel-agent status shows how the device stands; sentinel-agent --help lists the commands"
}

// adviseUnsent is for a request that the server has not taken: nothing is stored
// there, so it needs its token again.
func adviseUnsent(err error) string {
	const again = "run the same command again, with the token: it is still needed"
	if refusal, ok := errors.AsType[*link.RefusalError](err); ok && refusal.Problem.Code == protocol.CodeEnrollFull {
		return codeAdvices[protocol.CodeEnrollFull] + "; then " + again
	}
	return again
}

const newToken = "ask an operator for a new token, and run the command again with it"

// codeAdvices are for refusals of the server.
var codeAdvices = map[protocol.Code]string{
	protocol.CodeTokenUnknown: "check that the token was copied whole, or " + newToken,
	protocol.CodeTokenUsedUp:  newToken,
	protocol.CodeTokenExpired: newToken,
	protocol.CodeTokenRevoked: newToken,
	protocol.CodeDeviceExists: "choose another --device-id: a name belongs to one device for good",
	protocol.CodeDeviceGone:   "choose another --device-id: that name is gone for good",
	protocol.CodeEnrollFull:   "ask a reviewer to work off the pending enrollments",

	protocol.CodeDeviceRevoked:      "the device was revoked for good; ask an operator why. If it is to come back: sentinel-agent unenroll, and enroll under another name",
	protocol.CodeReviewPending:      "wait until a reviewer has let the certificate in; the agent goes on by itself then",
	protocol.CodeReviewRejected:     "a reviewer did not let the certificate in; ask an operator why",
	protocol.CodeCertificateRevoked: "the authority that issued the certificate has revoked it; get another one from it, in the same files",
	protocol.CodeRevocationUnknown:  "wait: the server asks the certificate's authority whether it is revoked; if it lasts, ask an operator",
	protocol.CodeIssuedElsewhere:    "this server issues no certificates to devices: enroll with one of the other authority, --certificate-file and --key-file",
	protocol.CodeDeviceUnknown:      "the server does not know this device any more; ask an operator. To join again: sentinel-agent unenroll, and enroll anew",
	protocol.CodeDeviceSuspended:    "wait, or ask an operator to lift the suspension; the agent goes on by itself then",
	protocol.CodeDeviceHeld:         "the counters went back, as after a restored or copied disk; ask an operator to check for a copy and to resync the device",
	protocol.CodeCounterStale:       "the counters went back, as after a restored or copied disk; ask an operator to resync the device",
	protocol.CodeCounterJump:        "ask an operator to resync the device",
	protocol.CodeCertificateLost:    "keep the agent running: it asks to be let in again, and a reviewer approves its key code",
	protocol.CodeCertificateExpired: "keep the agent running: it asks to be let in again, and a reviewer approves its key code; if the certificate is valid by this device's clock, set the clock",
	protocol.CodeCertificateNotYet:  "set the clocks of this device and of the server; the agent goes on by itself then",
	protocol.CodeCertificateUnknown: "the server does not take this device's certificate; ask an operator. To join again: sentinel-agent unenroll, and enroll anew",
	protocol.CodeIdentityMismatch:   "the certificate is of another device; sentinel-agent unenroll, and enroll anew. With a certificate of another authority, give --device-id the device's name in it",
	protocol.CodeRecoveryLate:       "the certificate expired too long ago; join again under another --device-id: sentinel-agent unenroll, then sentinel-agent enroll with a new token",
	protocol.CodeRenewalInvalid:     "the agent makes another request later; if that is refused too, ask an operator",
	protocol.CodeRenewalConflict:    "wait; the agent makes another request by itself, or goes on when the server has dropped the other one, within a day",
	protocol.CodeRenewalEarly:       "wait; the agent asks again by itself",
	protocol.CodeRateLimited:        "wait a little, then try again",
	protocol.CodeNotReady:           "wait a little, then try again",
	protocol.CodeIssuingStopped:     "wait until people start issuing again (sentinel-server ca status); the agent asks again by itself",
}

func adviseCode(code protocol.Code) string {
	if try, ok := codeAdvices[code]; ok {
		return try
	}
	return "ask an operator what the server's log says about this device"
}
