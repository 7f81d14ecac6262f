package trust

import (
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Verdict is the answer.
type Verdict string

// The verdicts. Reserved are devices that nothing is wrong with but that the
// owner would want to know more of.
const (
	Trusted   Verdict = "trusted"
	Reserved  Verdict = "reserved"
	Untrusted Verdict = "untrusted"
)

// Reason says why, for people and programs.
type Reason struct {
	Code   string `json:"code"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do about it
	Weight Weight `json:"weight"`
}

// Weight is what a reason does to the verdict.
type Weight string

// The weights.
const (
	For     Weight = "for"
	Reserve Weight = "reserve"
	Against Weight = "against"
)

// Facts are what the decision rests on.
type Facts struct {
	State       string // of the identity: active, suspended, revoked, retired
	StateReason string
	HeldReason  string // "" when not held
	ReviewedBy  string // who let the device in; "" when nobody reviewed it
	FirstUse    bool   // the device trusted the fleet root on first use
	NotBefore   time.Time
	NotAfter    time.Time // of the current certificate; zero when there is none
	Revoked     bool      // the certificate
	Attestation Attestation
}

// Attestation is what is known of a device by its TPM.
type Attestation struct {
	Expected      bool                        // a baseline is in force for the device
	Verdict       protocol.AttestationVerdict // on its last evidence; "" when it brought none
	Why           string                      // the verdict's reasons
	Baseline      string                      // that the evidence is as
	HardwareBound bool                        // the TPM holds the key of the certificate that the evidence came under
	OtherKey      bool                        // which is not the one that it goes by now
	At, Until     time.Time                   // of the evidence; until when it counts
}

// Decision is a verdict with its reasons, the decisive ones first.
type Decision struct {
	Verdict    Verdict   `json:"verdict"`
	Reasons    []Reason  `json:"reasons"`
	HoldsUntil time.Time `json:"holds_until,omitzero"` // zero: until a fact changes
}

// Decide judges the facts at a time.
func Decide(f Facts, now time.Time) Decision {
	var d Decision
	d.identity(f)
	d.certificate(f, now)
	if f.HeldReason != "" {
		d.add(Against, "held", "its counter went back: "+f.HeldReason,
			"find out whether it was restored from a snapshot or copied, then resync it, or revoke it")
	}
	if f.FirstUse {
		d.add(Reserve, "first-use", "it trusted the fleet root that it was shown first",
			"compare the fleet root's digest on the device (sentinel-agent status) with the server's")
	}
	d.attestation(&f.Attestation, now)
	d.Verdict = Trusted
	for _, r := range d.Reasons {
		switch {
		case r.Weight == Against:
			d.Verdict = Untrusted
		case r.Weight == Reserve && d.Verdict == Trusted:
			d.Verdict = Reserved
		}
	}
	d.order()
	if d.Verdict == Untrusted && f.State != "active" {
		d.HoldsUntil = time.Time{} // no date changes that
	}
	return d
}

func (d *Decision) identity(f Facts) {
	switch f.State {
	case "active":
		if f.ReviewedBy == "" {
			d.add(Reserve, "unreviewed", "it was let in without a review", "compare its key code with the device's own")
		} else {
			d.add(For, "reviewed", "its identity was approved by "+f.ReviewedBy, "")
		}
	case "suspended":
		d.add(Against, "suspended", "it is suspended: "+f.StateReason, "resume it once the reason is gone")
	case "revoked":
		d.add(Against, "revoked", "it is revoked: "+f.StateReason, "revocation is final: let it in anew under another device_id")
	default:
		d.add(Against, "not-active", "it is not in use any more: "+f.StateReason, "let it in anew under another device_id")
	}
}

func (d *Decision) certificate(f Facts, now time.Time) {
	switch {
	case f.NotAfter.IsZero():
		d.add(Against, "no-certificate", "it has no certificate", "let it enroll")
	case f.Revoked:
		d.add(Against, "certificate-revoked", "its certificate is revoked", "let it in anew under another device_id; if another authority issued the certificate, it goes on with a new one from there, once a person agreed")
	case now.Before(f.NotBefore):
		d.add(Against, "certificate-not-yet", "its certificate is not valid yet", "compare the clocks")
		d.HoldsUntil = f.NotBefore
	case now.After(f.NotAfter):
		d.add(Against, "certificate-expired", "its certificate expired at "+f.NotAfter.UTC().Format(time.RFC3339),
			"switch it on: it asks for the way back within 90 days, and a person agrees (sentinel-server device identity-requests)")
	default:
		d.add(For, "certificate-valid", "its certificate is valid until "+f.NotAfter.UTC().Format(time.RFC3339), "")
		// The last second is still part of the life (RFC 5280 section 4.1.2.5).
		d.HoldsUntil = f.NotAfter.Add(time.Second)
	}
}

// attestation weighs evidence. What is not genuine stays against the device until newer
// evidence is; all else that is wrong with it is a reserve.
func (d *Decision) attestation(a *Attestation, now time.Time) {
	const again = "let the agent bring evidence: it does so by itself while it reaches its TPM and the server (the agent's log says what is in the way)"
	at := a.At.UTC().Format(time.RFC3339)
	switch {
	case a.Verdict == "" && a.Expected:
		d.add(Reserve, "not-attested", "a baseline is in force for it, and it brought no evidence of its TPM", again)
		return
	case a.Verdict == "":
		return
	case a.Verdict == protocol.AttestContraindicated:
		d.add(Against, "attestation-refused", "its TPM's evidence is not genuine: "+a.Why, "find out who or what answers for its TPM")
		return
	case !now.Before(a.Until):
		d.add(Reserve, "attestation-stale", "its TPM's last evidence, of "+at+", does not count any more", again)
		return
	case a.OtherKey:
		d.add(Reserve, "attestation-other-key", "its TPM's evidence is about the certificate before", again)
	case a.Verdict == protocol.AttestAffirming:
		d.add(For, "attested", "its TPM vouches that it started as "+a.Baseline+" says, "+at, "")
	default:
		d.add(Reserve, "attestation-drift", "its TPM's evidence is genuine, and not as expected: "+a.Why,
			"find out what changed; if it was meant to, propose a baseline (sentinel-server attestation propose)")
	}
	if a.HardwareBound && !a.OtherKey {
		d.add(For, "hardware-bound", "its TPM holds the key of its certificate", "")
	}
	if d.HoldsUntil.IsZero() || a.Until.Before(d.HoldsUntil) {
		d.HoldsUntil = a.Until
	}
}

func (d *Decision) add(w Weight, code, text, advice string) {
	d.Reasons = append(d.Reasons, Reason{Code: code, Text: text, Advice: advice, Weight: w})
}

// order puts the decisive reasons first and keeps the rest as it is.
func (d *Decision) order() {
	var sorted []Reason
	for _, w := range []Weight{Against, Reserve, For} {
		for _, r := range d.Reasons {
			if r.Weight == w {
				sorted = append(sorted, r)
			}
		}
	}
	d.Reasons = sorted
}
