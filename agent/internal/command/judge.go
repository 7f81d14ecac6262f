package command

import (
	"errors"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Reason is why a command was not done, or not done well: fixed words that the
// server and its operators can act on.
type Reason string

// The reasons of a refusal, in the order in which they are asked for.
const (
	Malformed        Reason = "malformed"         // not a statement in an envelope
	UnknownSigner    Reason = "unknown-signer"    // by no command key of the bundle in force
	BadSignature     Reason = "bad-signature"     // changed after it was signed
	PolicyVoid       Reason = "policy-void"       // the fleet root took the bundle's signers away
	OtherAction      Reason = "other-action"      // delivered under an id that is not the statement's
	OtherFleet       Reason = "other-fleet"       //
	NotATarget       Reason = "not-a-target"      //
	JournalLost      Reason = "journal-lost"      // it may have been begun in a journal that was lost
	UnknownRoot      Reason = "unknown-root"      // made under a fleet root that is not in the pinned chain
	UnknownPolicy    Reason = "unknown-policy"    // made under a bundle that was never in force here
	NotYetValid      Reason = "not-yet-valid"     //
	Expired          Reason = "expired"           //
	PolicyLapsed     Reason = "policy-lapsed"     // the bundle has expired, and the kind is not of those that are left
	KindNotAllowed   Reason = "kind-not-allowed"  // not known here, or without a rule in the bundle in force
	BadParameter     Reason = "bad-parameter"     // not taken by the kind, or beyond the rule's limits
	ApprovalsMissing Reason = "approvals-missing" //
	RateLimited      Reason = "rate-limited"      //
	JournalFull      Reason = "journal-full"      // nothing can be written down, so nothing is done
)

// hourly is how often a kind is begun within an hour, at most. Together with the
// longest life of a statement this bounds what the journal has to hold:
// 82 an hour in 7 days are 13,776.
var hourly = map[string]int{"ping": 60, "collect-facts": 12, "rotate-certificate": 4, "restart-agent": 6}

// Device is what a command is judged by.
type Device struct {
	Target signing.Target // this device, in this enrollment
	Now    time.Time      // never below the time floor
	Root   *signing.PinnedRoot
	Bundle *signing.PolicyBundle // in force
	Policy journal.Mark          // its version and digest
	Before []journal.Mark        // bundles that were in force before
	Void   bool                  // see pins.Pins
	After  time.Time             // what was made until then is not done; see Anew
}

// Past is what the journal of commands says about a kind.
type Past struct {
	Begun func(kind string, since time.Time) int // how many were begun after that
	Full  bool
}

// Judge says whether a delivery may be done. "" means yes. The statement comes
// back as soon as a key of the bundle in force has signed it, with a refusal too.
// Whether the action id was begun before is asked earlier, by whoever holds the
// journal.
func Judge(delivery protocol.CommandDelivery, d Device, past Past) (*signing.CommandStatement, Reason) {
	if delivery.Check() != nil {
		return nil, Malformed
	}
	env, err := signing.ParseEnvelope(delivery.Statement)
	if err != nil {
		return nil, Malformed
	}
	if d.Void {
		return nil, PolicyVoid
	}
	c, err := signing.VerifyCommand(env, d.Bundle)
	switch {
	case errors.Is(err, signing.ErrThreshold), errors.Is(err, signing.ErrPurpose):
		return nil, UnknownSigner
	case errors.Is(err, signing.ErrSignature):
		return nil, BadSignature
	case err != nil:
		return nil, Malformed
	}
	proof, err := readProof(delivery.Proof)
	if err != nil {
		return c, Malformed
	}
	switch {
	case c.ActionID != delivery.ActionID:
		return c, OtherAction
	case c.FleetID != d.Root.Root.FleetID:
		return c, OtherFleet
	case c.Targets.Includes(d.Target, proof) != nil:
		return c, NotATarget
	case !d.After.IsZero() && !c.NotBefore.After(d.After):
		return c, JournalLost
	}
	if reason := d.judgeOrigin(c); reason != "" {
		return c, reason
	}
	switch {
	case d.Now.Before(c.NotBefore.Add(-signing.ClockSkew)):
		return c, NotYetValid
	case !d.Now.Before(c.NotAfter):
		return c, Expired
	}
	if reason := d.judgeKind(c); reason != "" {
		return c, reason
	}
	if most, limited := hourly[c.Kind]; limited && past.Begun(c.Kind, d.Now.Add(-time.Hour)) >= most {
		return c, RateLimited
	}
	if past.Full {
		return c, JournalFull
	}
	return c, ""
}

// mayHaveBegun says whether what is not done now, for this reason, may have been begun
// in a journal that was lost. Who signed is asked of the bundle in force: another one may
// have said yes.
func (d Device) mayHaveBegun(reason Reason) bool {
	switch reason {
	case JournalLost:
		return true
	case UnknownSigner, PolicyVoid:
		return !d.After.IsZero() && d.Now.Before(d.After.Add(signing.MaxCommandLife))
	}
	return false
}

// judgeOrigin asks whether the statement was made under what this device believes. A
// bundle of before will do: who signed was asked of the one in force.
func (d Device) judgeOrigin(c *signing.CommandStatement) Reason {
	policy := journal.Mark{Version: c.PolicyVersion, Digest: c.PolicyDigest}
	switch {
	case !d.Root.Includes(c.RootDigest):
		return UnknownRoot
	case policy != d.Policy && !slices.Contains(d.Before, policy):
		return UnknownPolicy
	}
	return ""
}

// judgeKind asks whether the bundle in force allows the kind with its parameters.
func (d Device) judgeKind(c *signing.CommandStatement) Reason {
	rule, ok := d.Bundle.Rule(c.Kind)
	switch {
	case !ok:
		return KindNotAllowed
	case !d.Now.Before(d.Bundle.ExpiresAt) && !slices.Contains(signing.AlwaysAllowed, c.Kind):
		return PolicyLapsed
	}
	switch err := signing.CheckKind(c.Kind, c.Parameters, rule); {
	case errors.Is(err, signing.ErrParameter):
		return BadParameter
	case err != nil:
		return KindNotAllowed
	case rule.Approvals > 0:
		return ApprovalsMissing
	}
	return ""
}

// readProof is nil without one.
func readProof(data []byte) (*signing.Proof, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var p signing.Proof
	if err := protocol.Decode(data, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// digestOf names what a delivery brought, for a result about it.
func digestOf(statement []byte) string {
	if env, err := signing.ParseEnvelope(statement); err == nil {
		return signing.Digest(env.Payload)
	}
	return signing.Digest(statement)
}
