package attestation

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/swtpm"
)

// ATT-01, ATT-03, ATT-04, ATT-10: what real TPMs sign is taken for what it is, about
// whom it is, and for nothing else. The same through a whole server is in package
// deviceapi.
func TestForgedEvidenceProvesNothing(t *testing.T) {
	t.Parallel()
	a, b := swtpm.Start(t), swtpm.Start(t)
	secret, nonce, elsewhere := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)
	mine, theirs := Subject{"edge-1", []byte("key 1")}, Subject{"edge-2", []byte("key 2")}
	pcrs := []int{0, 7, 16}
	c := &Challenge{Key: a.AttestationKey(), SecretDigest: digestOf(secret), PCRs: "[0,7,16]"}
	quote := func(e *protocol.AttestationEvidence, tpm *swtpm.TPM, nonce []byte, s Subject, pcrs []int) {
		e.Quote, e.QuoteSign, e.PCRs = tpm.Quote(evidence.QuoteData(nonce, s.DeviceID, s.PublicKey), pcrs)
	}
	certify := func(e *protocol.AttestationEvidence, tpm *swtpm.TPM, data [32]byte) {
		e.CertifiedKey, e.Certification, e.CertificationSign = tpm.Certify(data)
	}
	of := func(s Subject, nonce []byte) [32]byte { return evidence.CertifyData(nonce, s.DeviceID, s.PublicKey) }
	for name, f := range map[string]struct {
		forge func(e *protocol.AttestationEvidence)
		want  string
	}{
		"genuine":                   {func(*protocol.AttestationEvidence) {}, ""},
		"about another nonce":       {func(e *protocol.AttestationEvidence) { quote(e, a, elsewhere, mine, pcrs) }, CodeQualifyingData},
		"about another device":      {func(e *protocol.AttestationEvidence) { quote(e, a, nonce, Subject{"edge-2", mine.PublicKey}, pcrs) }, CodeQualifyingData},
		"about another certificate": {func(e *protocol.AttestationEvidence) { quote(e, a, nonce, theirs, pcrs) }, CodeQualifyingData},
		"of another TPM":            {func(e *protocol.AttestationEvidence) { quote(e, b, nonce, mine, pcrs) }, CodeQuoteSignature},
		"changed":                   {func(e *protocol.AttestationEvidence) { e.Quote[len(e.Quote)-1] ^= 1 }, CodeQuoteSignature},
		"longer":                    {func(e *protocol.AttestationEvidence) { e.Quote = append(e.Quote, 0) }, CodeQuoteSignature},
		"of fewer registers":        {func(e *protocol.AttestationEvidence) { quote(e, a, nonce, mine, []int{0, 7}) }, CodeSelection},
		"of other registers":        {func(e *protocol.AttestationEvidence) { quote(e, a, nonce, mine, []int{0, 7, 23}) }, CodeSelection},
		"of another value":          {func(e *protocol.AttestationEvidence) { e.PCRs[1] = elsewhere }, CodeValues},
		"of values that are joined": {func(e *protocol.AttestationEvidence) {
			e.PCRs = [][]byte{slices.Concat(e.PCRs[0], e.PCRs[1]), e.PCRs[2]}
		}, CodeSelection},
		"of values cut elsewhere": {func(e *protocol.AttestationEvidence) {
			all := slices.Concat(e.PCRs...)
			e.PCRs = [][]byte{all[:31], all[31:64], all[64:]}
		}, CodeValues},
		"of a key that is not proven": {func(e *protocol.AttestationEvidence) { e.Activation = elsewhere }, CodeNotActivated},
		"a certification as a quote":  {func(e *protocol.AttestationEvidence) { _, e.Quote, e.QuoteSign = a.Certify(of(mine, nonce)) }, CodeQuoteForm},

		"certified: another key":         {func(e *protocol.AttestationEvidence) { certify(e, a, of(mine, nonce)) }, CodeCertOtherKey},
		"certified: another nonce":       {func(e *protocol.AttestationEvidence) { certify(e, a, of(mine, elsewhere)) }, CodeCertData},
		"certified: another certificate": {func(e *protocol.AttestationEvidence) { certify(e, a, of(theirs, nonce)) }, CodeCertData},
		"certified: with a quote's data": {func(e *protocol.AttestationEvidence) {
			certify(e, a, evidence.QuoteData(nonce, mine.DeviceID, mine.PublicKey))
		}, CodeCertData},
		"certified: by another TPM": {func(e *protocol.AttestationEvidence) { certify(e, b, of(mine, nonce)) }, CodeCertSignature},
		"certified: another than shown": {func(e *protocol.AttestationEvidence) {
			certify(e, a, of(mine, nonce))
			e.CertifiedKey, _, _ = b.Certify(of(mine, nonce))
		}, CodeCertName},
		"certified: an attestation key": {func(e *protocol.AttestationEvidence) { certify(e, a, of(mine, nonce)); e.CertifiedKey = c.Key }, CodeCertifiedKey},
		"certified: by a quote": {func(e *protocol.AttestationEvidence) {
			certify(e, a, of(mine, nonce))
			e.Certification, e.CertificationSign, _ = a.Quote(of(mine, nonce), pcrs)
		}, CodeCertForm},
	} {
		e := &protocol.AttestationEvidence{Nonce: nonce, Activation: secret}
		quote(e, a, nonce, mine, pcrs)
		f.forge(e)
		got := ""
		p := Appraise(c, e, mine)
		if !p.Genuine() {
			got = p.Reasons[0].Code
		}
		if got != f.want || p.HardwareBound || p.Genuine() != (f.want == "") || !p.Genuine() && len(p.PCRs) != 0 {
			t.Errorf("%s: %q, want %q: %+v", name, got, f.want, p)
		}
	}
}
