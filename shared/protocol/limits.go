package protocol

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what the network may bring. A body over its limit is refused with
// CodeTooLarge before it is decoded.
const (
	MaxEnrollBody    = 32 << 10 // a CSR of a P-384 key is under 1 KiB, facts under 12 KiB
	MaxPollBody      = 8 << 10
	MaxHeartbeatBody = 96 << 10  // results in base64 above all; without any it is under 2 KiB
	MaxRenewBody     = 16 << 10  // a CSR in base64 twice, and two signatures
	MaxAnswerBody    = 512 << 10 // fleet roots, bundles and commands together

	MaxCommands  = 8        // delivered in one answer
	MaxStatement = 16 << 10 // bytes of a statement's envelope
	MaxProof     = 4 << 10  // bytes of a proof
	MaxAcks      = 32       // in one heartbeat
	MaxResults   = 4        // in one heartbeat
	MaxResult    = 20 << 10 // bytes of a result's envelope
	MaxDocuments = 4        // policy bundles, or fleet roots, in one answer

	MaxCSR       = 4 << 10
	MaxToken     = 128
	MaxFacts     = 32
	MaxFactKey   = 64
	MaxFactValue = 256
	MaxVersion   = 64  // characters of an agent version
	MaxOpaque    = 512 // characters of a nonce or receipt

	// MaxCounter is the largest integer that every JSON reader keeps exactly
	// (RFC 8259 section 6). At one heartbeat a second it lasts 285 million years.
	MaxCounter = 1<<53 - 1
	// MaxCounterJump bounds how far a counter may rise at once, so that one bad
	// message cannot use up the range. An agent that tries every second for half a
	// year without an answer stays below it.
	MaxCounterJump = 1 << 24
)

// ErrDeviceID says that a device_id has not the one form allowed.
var ErrDeviceID = errors.New("device_id must be 1 to 64 characters of a-z, 0-9, '.', '_' and '-', beginning and ending with a letter or digit")

// CheckDeviceID accepts exactly one spelling of an identity: lower-case ASCII, so
// that case, Unicode look-alikes and trailing dots never make a second one. The
// form is also a valid SPIFFE path segment.
func CheckDeviceID(id string) error {
	if len(id) == 0 || len(id) > 64 {
		return ErrDeviceID
	}
	for i := range len(id) {
		c := id[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		inner := c == '.' || c == '_' || c == '-'
		if !alnum && (!inner || i == 0 || i == len(id)-1) {
			return ErrDeviceID
		}
	}
	return nil
}

// CheckID accepts a UUID in its usual lower-case form (RFC 9562 section 4).
func CheckID(id string) error {
	if len(id) != 36 {
		return errors.New("an id must be a UUID of 36 characters")
	}
	for i := range len(id) {
		c := id[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return errors.New("an id must be a UUID such as 0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d")
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return errors.New("an id must be a UUID in lower-case hexadecimal")
			}
		}
	}
	return nil
}

// CheckText accepts one line of printable text of at most limit bytes: what a
// device says of itself ends up in tables, logs and terminals.
func CheckText(name, text string, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s is not UTF-8", name)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		return fmt.Errorf("%s has a character that cannot be printed at byte %d", name, i)
	}
	return nil
}

// Check holds the facts to their limits.
func (f Facts) Check() error {
	if len(f) > MaxFacts {
		return fmt.Errorf("more than %d facts", MaxFacts)
	}
	for k, v := range f {
		if k == "" {
			return errors.New("a fact without a name")
		}
		if err := CheckText("a fact's name", k, MaxFactKey); err != nil {
			return err
		}
		if err := CheckText("the fact "+k, v, MaxFactValue); err != nil {
			return err
		}
	}
	return nil
}

// Check holds the request to form and limits. It says nothing of whether the
// token or the CSR is good.
func (r *EnrollRequest) Check() error {
	if err := checkVersion(r.Protocol); err != nil {
		return err
	}
	if err := CheckID(r.EnrollmentID); err != nil {
		return fmt.Errorf("enrollment_id: %w", err)
	}
	if err := CheckDeviceID(r.DeviceID); err != nil {
		return err
	}
	if len(r.Certificate) > MaxRenewBody || len(r.Certificate) > 0 && len(r.Recovery) == 0 {
		return errors.New("a certificate comes with a recovery, and is not longer than a renewal")
	}
	if len(r.Recovery) > 0 {
		if r.Token != "" || len(r.CSR) > 0 || len(r.Recovery) > MaxRenewBody {
			return errors.New("a recovery has neither token nor csr, and is not longer than a renewal")
		}
		return r.Facts.Check()
	}
	if r.Token == "" || len(r.Token) > MaxToken {
		return fmt.Errorf("token must have 1 to %d characters", MaxToken)
	}
	if len(r.CSR) == 0 || len(r.CSR) > MaxCSR {
		return fmt.Errorf("csr must have 1 to %d bytes of DER", MaxCSR)
	}
	return r.Facts.Check()
}

// Check holds the poll to form.
func (p *EnrollPoll) Check() error {
	if err := CheckID(p.EnrollmentID); err != nil {
		return fmt.Errorf("enrollment_id: %w", err)
	}
	if p.Nonce == "" || len(p.Nonce) > MaxOpaque {
		return errors.New("nonce is missing or too long")
	}
	if len(p.CAFingerprint) != 64 {
		return errors.New("ca_fingerprint must be 64 hexadecimal characters")
	}
	return nil
}

// Check holds the heartbeat to form and limits.
func (h *Heartbeat) Check() error {
	if err := checkVersion(h.Protocol); err != nil {
		return err
	}
	if err := CheckDeviceID(h.DeviceID); err != nil {
		return err
	}
	for name, id := range map[string]string{"enrollment_id": h.EnrollmentID, "epoch": h.Epoch, "boot_id": h.BootID} {
		if err := CheckID(id); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if h.Counter < 1 || h.Counter > MaxCounter {
		return fmt.Errorf("counter must be 1 to %d", int64(MaxCounter))
	}
	if h.PolicyVersion < 0 || h.RootVersion < 0 {
		return errors.New("a version must not be negative")
	}
	if err := CheckText("agent_version", h.AgentVersion, MaxVersion); err != nil {
		return err
	}
	if len(h.Nonce) > MaxOpaque || len(h.Receipt) > MaxOpaque {
		return errors.New("nonce or receipt is too long")
	}
	if len(h.Acks) > MaxAcks || len(h.Results) > MaxResults {
		return fmt.Errorf("more than %d acks or %d results", MaxAcks, MaxResults)
	}
	for _, id := range h.Acks {
		if err := CheckID(id); err != nil {
			return fmt.Errorf("acks: %w", err)
		}
	}
	for _, r := range h.Results {
		if len(r) == 0 || len(r) > MaxResult {
			return fmt.Errorf("a result must have 1 to %d bytes", MaxResult)
		}
	}
	return h.Facts.Check()
}

// Check holds a delivery to form and limits. What it says is not believed for it.
func (d *CommandDelivery) Check() error {
	if err := CheckID(d.ActionID); err != nil {
		return fmt.Errorf("action_id: %w", err)
	}
	if len(d.Statement) == 0 || len(d.Statement) > MaxStatement || len(d.Proof) > MaxProof {
		return fmt.Errorf("a statement has 1 to %d bytes, a proof at most %d", MaxStatement, MaxProof)
	}
	return nil
}

func checkVersion(v int) error {
	if v != Version {
		return fmt.Errorf("protocol %d is not spoken here, %d is", v, Version)
	}
	return nil
}
