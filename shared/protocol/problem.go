package protocol

// Code names why a request was refused, for the decision that it causes. The
// problem's type is "urn:sentinel:problem:" and the code.
type Code string

// What the agent does about each code is told beside it.
const (
	// Enrollment. The agent stops and tells the person, unless noted.
	CodeTokenUnknown   Code = "token-unknown"   // never existed, or mistyped
	CodeTokenUsedUp    Code = "token-used-up"   // every use is taken
	CodeTokenExpired   Code = "token-expired"   //
	CodeTokenRevoked   Code = "token-revoked"   //
	CodeCSRMalformed   Code = "csr-malformed"   // not one PKCS#10 request
	CodeCSRSignature   Code = "csr-signature"   // not signed by its own key
	CodeWeakKey        Code = "weak-key"        // a key type or size that is not taken
	CodeWrongName      Code = "wrong-name"      // common name is not the device_id
	CodeExtraNames     Code = "extra-names"     // asks for more than its name
	CodeDeviceExists   Code = "device-exists"   // the device_id is taken
	CodeDeviceGone     Code = "device-gone"     // the device_id was revoked or retired, for good
	CodeEnrollConflict Code = "enroll-conflict" // the enrollment_id belongs to another request
	CodeEnrollUnknown  Code = "enroll-unknown"  //
	CodeEnrollFull     Code = "enroll-full"     // too many wait for review, or another of the device: try again later
	CodePollInvalid    Code = "poll-invalid"    // not signed by the key that enrolls
	CodeNonceStale     Code = "nonce-stale"     // poll again at once with the nonce of this problem
	CodeCAMismatch     Code = "ca-mismatch"     // the device sees another server CA: someone is in between

	// Identity of the caller, at any device route.
	CodeCertificateMissing Code = "certificate-missing"
	CodeCertificateUnknown Code = "certificate-unknown" // not from here, or not the one on record
	CodeCertificateLost    Code = "certificate-lost"    // lost since the database came from a backup: recover, see enrollment
	CodeCertificateExpired Code = "certificate-expired" // it is the one on record: recover, see enrollment
	CodeCertificateNotYet  Code = "certificate-not-yet" // a clock is wrong
	CodeIdentityMismatch   Code = "identity-mismatch"   // says it is another device
	CodeDeviceRevoked      Code = "device-revoked"      // final
	CodeDeviceSuspended    Code = "device-suspended"    // keep asking, slowly
	CodeDeviceHeld         Code = "device-held"         // counters went back: keep asking, slowly
	CodeDeviceUnknown      Code = "device-unknown"      // the server does not know it (any more)

	// Certificates that another authority issued.
	CodeReviewPending      Code = "review-pending"      // a person has to let this certificate in first: ask again later; at enrollment, poll with the nonce
	CodeReviewRejected     Code = "review-rejected"     // a person did not let it in
	CodeCertificateRevoked Code = "certificate-revoked" // its authority says so
	CodeRevocationUnknown  Code = "revocation-unknown"  // its authority has not said yet that it is not: back off
	CodeIssuedElsewhere    Code = "issued-elsewhere"    // this server issues none to this device: it comes with one of another authority

	// Counters.
	CodeCounterStale Code = "counter-stale" // equal or lower than the stored one
	CodeCounterJump  Code = "counter-jump"  // too far ahead
	CodeEpochChanged Code = "epoch-changed" // go on at once in Epoch with Nonce

	// Renewal and recovery.
	CodeRenewalInvalid  Code = "renewal-invalid"  // not signed by both keys, or not of the device's certificate
	CodeRenewalConflict Code = "renewal-conflict" // another request of this device is under way
	CodeRenewalEarly    Code = "renewal-early"    // too many in too short a time: try again later
	CodeRecoveryLate    Code = "recovery-late"    // expired too long ago: enroll anew
	CodeIssuingStopped  Code = "issuing-stopped"  // no certificate is issued for now, at enrollment too: back off as Retry-After says

	// Attestation. None of these is about the device's other business.
	CodeAttestationOff       Code = "attestation-off"       // the server takes no evidence: ask again tomorrow
	CodeEndorsementUntrusted Code = "endorsement-untrusted" // the TPM's certificate leads to no maker that is believed
	CodeAttestationKey       Code = "attestation-key"       // the key is of a form that is not taken
	CodeTPMChanged           Code = "tpm-changed"           // another TPM than the one on record for the device
	CodeTPMTaken             Code = "tpm-taken"             // the TPM on record for another device
	CodeChallengeUnknown     Code = "challenge-unknown"     // never made, or a newer one took its place: ask for a challenge
	CodeChallengeUsed        Code = "challenge-used"        // as above: each is good once
	CodeChallengeExpired     Code = "challenge-expired"     // as above
	CodeChallengeForeign     Code = "challenge-foreign"     // made for another device, enrollment or certificate

	// Any route.
	CodeMalformed   Code = "malformed"
	CodeTooLarge    Code = "too-large"
	CodeRateLimited Code = "rate-limited" // back off as Retry-After says
	CodeNotReady    Code = "not-ready"    // the server cannot judge now: back off
	CodeNotFound    Code = "not-found"
	CodeInternal    Code = "internal"
)

// ProblemType is the prefix of every problem's type URI.
const ProblemType = "urn:sentinel:problem:"

// Problem is a refusal in the form of RFC 9457 section 3. Its media type is
// application/problem+json. Nothing in it repeats what the caller sent.
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"` // urn:uuid: and the request id
	Code     Code   `json:"code"`

	// With CodeEpochChanged: go on in Epoch, with Nonce, above Counter. The agent
	// raises its counter at most by MaxCounterJump for it.
	Epoch   string `json:"epoch,omitempty"`
	Nonce   string `json:"nonce,omitempty"` // also with CodeNonceStale and CodeReviewPending
	Counter int64  `json:"counter,omitempty"`
}

// Error makes a problem an error, for the agent.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}
