package attestation

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Reasons why evidence is not genuine.
const (
	CodeKey              = "attestation-key"         // a form that is not taken
	CodeNotActivated     = "key-not-activated"       // not proven to be in the TPM that the maker vouches for
	CodeQuoteSignature   = "quote-signature"         // not signed by that key
	CodeQuoteForm        = "quote-form"              // not a quote
	CodeQualifyingData   = "qualifying-data"         // about another nonce, device or certificate
	CodeSelection        = "pcr-selection"           // about other PCRs than were asked for
	CodeValues           = "pcr-values"              // the values are not those that were quoted
	CodeCertifiedKey     = "certified-key"           // a form that is not taken
	CodeCertSignature    = "certification-signature" // not signed by the attestation key
	CodeCertForm         = "certification-form"      // not a certification
	CodeCertData         = "certification-data"      // about another nonce, device or certificate
	CodeCertName         = "certification-name"      // of another key than the one shown with it
	CodeCertOtherKey     = "certification-other-key" // that key is not the certificate's
	CodeNoBaseline       = "no-baseline"             // genuine, and nothing to compare it with
	CodeKeyNotCertified  = "key-not-certified"       // a baseline asks that the TPM holds the certificate's key
	codePCR              = "pcr-"                    // and its number: its value is none of the baseline's
	maxPCRReasons        = protocol.MaxPCRs
	maxBaselinesInAnswer = 3
)

// Subject is whose evidence it is: what the connection proved.
type Subject struct {
	DeviceID  string
	PublicKey []byte // of the certificate, PKIX DER
}

// Proof is what evidence proves: nothing, when Reasons say why it is not genuine.
type Proof struct {
	Reasons       []protocol.AttestationReason
	PCRs          map[int]string // values in lower-case hex
	HardwareBound bool           // the TPM holds the certificate's key
	Resets        uint32
}

// Genuine reports whether the evidence is what it says it is.
func (p *Proof) Genuine() bool { return len(p.Reasons) == 0 }

// Appraise judges evidence by the challenge that it answers. Whatever is signed is
// verified over the very bytes that are then read.
func Appraise(c *Challenge, e *protocol.AttestationEvidence, s Subject) Proof {
	key, err := evidence.ParseAttestationKey(c.Key)
	if err != nil {
		return refused(CodeKey, "the attestation key is of a form that is not taken")
	}
	if subtle.ConstantTimeCompare([]byte(digestOf(e.Activation)), []byte(c.SecretDigest)) != 1 {
		return refused(CodeNotActivated, "the attestation key is not proven to be in the TPM that its maker vouches for")
	}
	if key.Verify(e.Quote, e.QuoteSign) != nil {
		return refused(CodeQuoteSignature, "the quote is not signed by the attestation key")
	}
	q, err := evidence.ParseQuote(e.Quote)
	if err != nil {
		return refused(CodeQuoteForm, "what is signed is not a quote of the SHA-256 bank")
	}
	about := evidence.QuoteData(e.Nonce, s.DeviceID, s.PublicKey)
	if !bytes.Equal(q.Data, about[:]) {
		return refused(CodeQualifyingData, "the quote is about another nonce, device or certificate")
	}
	if !slices.Equal(q.PCRs, c.pcrs()) || len(e.PCRs) != len(q.PCRs) {
		return refused(CodeSelection, "the quote is about other registers than were asked for")
	}
	// The digest is over the values one behind another, and does not say where one ends.
	other := func(v []byte) bool { return len(v) != sha256.Size }
	if digest := evidence.PCRDigest(e.PCRs); slices.ContainsFunc(e.PCRs, other) || !bytes.Equal(q.Digest, digest[:]) {
		return refused(CodeValues, "the values of the registers are not those that were quoted")
	}
	p := Proof{PCRs: map[int]string{}, Resets: q.Resets}
	for i, n := range q.PCRs {
		p.PCRs[n] = hex.EncodeToString(e.PCRs[i])
	}
	if len(e.Certification) > 0 {
		if reason := certified(key, e, s); reason != nil {
			return Proof{Reasons: []protocol.AttestationReason{*reason}}
		}
		p.HardwareBound = true
	}
	return p
}

// certified makes sure that the attestation key's TPM holds the very key of the
// certificate. It says why not.
func certified(key *evidence.Key, e *protocol.AttestationEvidence, s Subject) *protocol.AttestationReason {
	held, err := evidence.ParseDeviceKey(e.CertifiedKey)
	if err != nil {
		return &protocol.AttestationReason{Code: CodeCertifiedKey, Text: "the certified key is of a form that is not taken"}
	}
	if key.Verify(e.Certification, e.CertificationSign) != nil {
		return &protocol.AttestationReason{Code: CodeCertSignature, Text: "the certification is not signed by the attestation key"}
	}
	c, err := evidence.ParseCertification(e.Certification)
	if err != nil {
		return &protocol.AttestationReason{Code: CodeCertForm, Text: "what is signed is not a certification of a key"}
	}
	about := evidence.CertifyData(e.Nonce, s.DeviceID, s.PublicKey)
	if !bytes.Equal(c.Data, about[:]) {
		return &protocol.AttestationReason{Code: CodeCertData, Text: "the certification is about another nonce, device or certificate"}
	}
	if !bytes.Equal(c.Name, held.Name) {
		return &protocol.AttestationReason{Code: CodeCertName, Text: "the certification is of another key than the one shown with it"}
	}
	der, err := x509.MarshalPKIXPublicKey(held.Public)
	if err != nil || !bytes.Equal(der, s.PublicKey) {
		return &protocol.AttestationReason{Code: CodeCertOtherKey, Text: "the certified key is not the one of the device's certificate"}
	}
	return nil
}

func refused(code, text string) Proof {
	return Proof{Reasons: []protocol.AttestationReason{{Code: code, Text: text}}}
}

// Judgement is what a proof means by the baselines.
type Judgement struct {
	Verdict  protocol.AttestationVerdict
	Reasons  []protocol.AttestationReason
	Baseline string    // that it is as, by name and version; "" for none
	Until    time.Time // when that baseline ends; zero for none
}

// Judge compares a proof with the baselines of the device that are in force at a time:
// it is affirming if it is as one of them says.
func Judge(p *Proof, baselines []Baseline, now time.Time) Judgement {
	if !p.Genuine() {
		return Judgement{Verdict: protocol.AttestContraindicated, Reasons: p.Reasons}
	}
	j := Judgement{Verdict: protocol.AttestWarning}
	var names []string
	for i := range baselines {
		b := &baselines[i]
		if !b.InForce(now) {
			continue
		}
		differs := b.differs(p)
		if len(differs) == 0 {
			return Judgement{Verdict: protocol.AttestAffirming, Baseline: b.Title(), Until: b.NotAfter.Time()}
		}
		if names == nil { // the reasons are those of the newest
			j.Reasons = differs
		}
		names = append(names, b.Title())
	}
	if names == nil {
		j.Reasons = []protocol.AttestationReason{{Code: CodeNoBaseline, Text: "no baseline is in force for the device"}}
		return j
	}
	if more := names[1:]; len(more) > 0 {
		more = more[:min(len(more), maxBaselinesInAnswer)]
		j.Reasons = append(j.Reasons, protocol.AttestationReason{Code: "other-baselines", Text: "nor is it as " + strings.Join(more, ", ")})
	}
	return j
}

// differs says where a proof is not as the baseline says.
func (b *Baseline) differs(p *Proof) (list []protocol.AttestationReason) {
	for _, n := range b.numbers() {
		if len(list) == maxPCRReasons {
			break
		}
		value, proven := p.PCRs[n]
		switch {
		case !proven:
			list = append(list, protocol.AttestationReason{Code: fmt.Sprint(codePCR, n), Text: fmt.Sprintf("register %d, which %s names, was not quoted", n, b.Title())})
		case !slices.Contains(b.Values[n], value):
			list = append(list, protocol.AttestationReason{Code: fmt.Sprint(codePCR, n), Text: fmt.Sprintf("register %d (%s) is not as %s says", n, measures(n), b.Title())})
		}
	}
	if b.HardwareBound && !p.HardwareBound {
		list = append(list, protocol.AttestationReason{Code: CodeKeyNotCertified, Text: b.Title() + " asks that the TPM holds the certificate's key, and it was not certified"})
	}
	return list
}

// measures is what a register stands for (TCG PC Client Platform Firmware Profile,
// section 3.3.4; above 7 as Linux uses them).
func measures(n int) string {
	words := []string{
		"firmware", "firmware settings", "option ROMs", "their settings", "boot loader", "its settings", "power events", "secure boot",
		"boot loader's commands", "initial file system", "kernel's measurements", "unified kernel image", "kernel's command line", "system extensions", "shim's keys", "system identity",
	}
	if n < len(words) {
		return words[n]
	}
	return "of the system's own use"
}
