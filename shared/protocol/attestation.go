package protocol

import (
	"errors"
	"fmt"
	"time"
)

// Attestation in two messages, both over mutual TLS: the device says which TPM it
// has and is given a nonce and a riddle that only this TPM solves; then it brings
// the evidence. The device is the Attester, the server the Verifier (RFC 9334
// section 3). Structures of the TPM are as package evidence takes them.
const (
	PathAttestationChallenge = "/api/attestation/challenge"
	PathAttestationEvidence  = "/api/attestation/evidence"
)

// Limits of attestation.
const (
	MaxAttestationBody = 48 << 10 // five certificates in base64 and a key; evidence is under 8 KiB
	MaxEndorsement     = 4 << 10  // bytes of a certificate of a TPM or its maker
	MaxEndorsers       = 4        // the maker's certificates between a TPM's and a root
	MaxTPMKey          = 256      // bytes of a public area
	MaxAttested        = 1 << 10  // bytes of what a TPM signs
	MaxTPMSignature    = 128
	MaxCredential      = 1 << 10 // bytes of either part of a riddle
	MaxActivation      = 64      // bytes of its solution
	AttestationNonce   = 32      // bytes, of a server's random source
	MaxPCRs            = 24
	MaxAttestReasons   = 32
	pcrSize            = 32
)

// AttestationClaim says which TPM a device has (POST PathAttestationChallenge).
// Nothing in it is believed; the challenge is made so that lies lead nowhere.
type AttestationClaim struct {
	Protocol     int      `json:"protocol"`
	DeviceID     string   `json:"device_id"`
	EnrollmentID string   `json:"enrollment_id"`
	Endorsement  []byte   `json:"endorsement"`         // certificate of the TPM's endorsement key, DER
	Endorsers    [][]byte `json:"endorsers,omitempty"` // certificates of its maker, DER
	Key          []byte   `json:"key"`                 // attestation key: its public area
}

// AttestationChallenge is good once, for this device, its enrollment and the
// certificate that the connection proved, until it expires.
type AttestationChallenge struct {
	Nonce      []byte    `json:"nonce"`
	PCRs       []int     `json:"pcrs"`       // to be quoted, of the SHA-256 bank, ascending
	Credential []byte    `json:"credential"` // opened by the TPM of the endorsement key, for the attestation key named in it
	Secret     []byte    `json:"secret"`     // the seed of it, encrypted to the endorsement key
	ExpiresAt  time.Time `json:"expires_at"`
}

// AttestationEvidence is what a device's TPM says (POST PathAttestationEvidence).
type AttestationEvidence struct {
	Protocol     int    `json:"protocol"`
	DeviceID     string `json:"device_id"`
	EnrollmentID string `json:"enrollment_id"`
	Nonce        []byte `json:"nonce"`
	Activation   []byte `json:"activation"` // what the credential held

	Quote     []byte   `json:"quote"`
	QuoteSign []byte   `json:"quote_signature"`
	PCRs      [][]byte `json:"pcrs"` // their values, in the challenge's order

	// The certification of the key of the device's certificate, where the TPM holds it.
	CertifiedKey      []byte `json:"certified_key,omitempty"`
	Certification     []byte `json:"certification,omitempty"`
	CertificationSign []byte `json:"certification_signature,omitempty"`
}

// AttestationVerdict is what the server thinks of evidence: an Attestation Result
// (RFC 9334 section 8.4) in one word.
type AttestationVerdict string

// The verdicts.
const (
	AttestAffirming       AttestationVerdict = "affirming"       // genuine, and as a baseline says
	AttestWarning         AttestationVerdict = "warning"         // genuine, and not as a baseline says
	AttestContraindicated AttestationVerdict = "contraindicated" // not genuine
)

// AttestationReason says why, for people and programs.
type AttestationReason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// AttestationResult answers evidence.
type AttestationResult struct {
	Verdict       AttestationVerdict  `json:"verdict"`
	Reasons       []AttestationReason `json:"reasons,omitempty"`
	HardwareBound bool                `json:"hardware_bound"`
	AgainSeconds  int                 `json:"again_seconds"` // when the next evidence is due
}

// Check holds a claim to form and limits.
func (c *AttestationClaim) Check() error {
	if err := checkSpeaker(c.Protocol, c.DeviceID, c.EnrollmentID); err != nil {
		return err
	}
	if len(c.Endorsers) > MaxEndorsers {
		return fmt.Errorf("more than %d endorsers", MaxEndorsers)
	}
	for _, der := range append([][]byte{c.Endorsement}, c.Endorsers...) {
		if len(der) == 0 || len(der) > MaxEndorsement {
			return fmt.Errorf("a certificate must have 1 to %d bytes", MaxEndorsement)
		}
	}
	return within("key", c.Key, 1, MaxTPMKey)
}

// Check holds a challenge to form and limits.
func (c *AttestationChallenge) Check() error {
	if len(c.PCRs) == 0 || len(c.PCRs) > MaxPCRs {
		return fmt.Errorf("1 to %d pcrs must be asked for", MaxPCRs)
	}
	for i, n := range c.PCRs {
		if n < 0 || n >= MaxPCRs || i > 0 && n <= c.PCRs[i-1] {
			return fmt.Errorf("pcrs must be ascending numbers from 0 to %d", MaxPCRs-1)
		}
	}
	return errors.Join(
		within("nonce", c.Nonce, AttestationNonce, AttestationNonce),
		within("credential", c.Credential, 1, MaxCredential),
		within("secret", c.Secret, 1, MaxCredential),
	)
}

// Check holds evidence to form and limits. Whether it is genuine it does not say.
func (e *AttestationEvidence) Check() error {
	if err := checkSpeaker(e.Protocol, e.DeviceID, e.EnrollmentID); err != nil {
		return err
	}
	if len(e.PCRs) == 0 || len(e.PCRs) > MaxPCRs {
		return fmt.Errorf("pcrs must have 1 to %d values", MaxPCRs)
	}
	for _, v := range e.PCRs {
		if err := within("a value of pcrs", v, pcrSize, pcrSize); err != nil {
			return err
		}
	}
	least := 0 // of the certification: it is there as a whole, or not at all
	if len(e.CertifiedKey)+len(e.Certification)+len(e.CertificationSign) > 0 {
		least = 1
	}
	return errors.Join(
		within("nonce", e.Nonce, AttestationNonce, AttestationNonce),
		within("activation", e.Activation, 1, MaxActivation),
		within("quote", e.Quote, 1, MaxAttested),
		within("quote_signature", e.QuoteSign, 1, MaxTPMSignature),
		within("certified_key", e.CertifiedKey, least, MaxTPMKey),
		within("certification", e.Certification, least, MaxAttested),
		within("certification_signature", e.CertificationSign, least, MaxTPMSignature),
	)
}

// Check holds a result to form and limits.
func (r *AttestationResult) Check() error {
	switch r.Verdict {
	case AttestAffirming, AttestWarning, AttestContraindicated:
	default:
		return errors.New("a verdict that is not known here")
	}
	if len(r.Reasons) > MaxAttestReasons {
		return fmt.Errorf("more than %d reasons", MaxAttestReasons)
	}
	for _, reason := range r.Reasons {
		if err := errors.Join(CheckText("a reason's code", reason.Code, 64), CheckText("a reason's text", reason.Text, 512)); err != nil {
			return err
		}
	}
	return nil
}

func checkSpeaker(version int, deviceID, enrollmentID string) error {
	if err := checkVersion(version); err != nil {
		return err
	}
	if err := CheckDeviceID(deviceID); err != nil {
		return err
	}
	if err := CheckID(enrollmentID); err != nil {
		return fmt.Errorf("enrollment_id: %w", err)
	}
	return nil
}

func within(name string, b []byte, least, most int) error {
	if len(b) < least || len(b) > most {
		return fmt.Errorf("%s must have %d to %d bytes", name, least, most)
	}
	return nil
}
