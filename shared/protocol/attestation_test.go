package protocol

import (
	"bytes"
	"encoding/json"
	"testing"
)

const anID = "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"

func goodClaim() *AttestationClaim {
	return &AttestationClaim{Protocol: Version, DeviceID: "edge-1", EnrollmentID: anID, Endorsement: []byte{1}, Key: []byte{1}}
}

func goodChallenge() *AttestationChallenge {
	return &AttestationChallenge{Nonce: make([]byte, AttestationNonce), PCRs: []int{0, 7, 23}, Credential: []byte{1}, Secret: []byte{1}}
}

func goodEvidence() *AttestationEvidence {
	return &AttestationEvidence{Protocol: Version, DeviceID: "edge-1", EnrollmentID: anID, Nonce: make([]byte, AttestationNonce), Activation: []byte{1},
		Quote: []byte{1}, QuoteSign: []byte{1}, PCRs: [][]byte{make([]byte, 32)}}
}

func TestAttestationMessagesAreHeldToTheirLimits(t *testing.T) {
	t.Parallel()
	long := make([]byte, 8<<10)
	for name, refused := range map[string]error{
		"a claim of another protocol":         spoilt(goodClaim(), func(c *AttestationClaim) { c.Protocol = 2 }).Check(),
		"a claim without a certificate":       spoilt(goodClaim(), func(c *AttestationClaim) { c.Endorsement = nil }).Check(),
		"a claim with a long certificate":     spoilt(goodClaim(), func(c *AttestationClaim) { c.Endorsers = [][]byte{long} }).Check(),
		"a claim with many certificates":      spoilt(goodClaim(), func(c *AttestationClaim) { c.Endorsers = make([][]byte, MaxEndorsers+1) }).Check(),
		"a claim with a long key":             spoilt(goodClaim(), func(c *AttestationClaim) { c.Key = long }).Check(),
		"a claim without a key":               spoilt(goodClaim(), func(c *AttestationClaim) { c.Key = nil }).Check(),
		"a challenge without a nonce":         spoilt(goodChallenge(), func(c *AttestationChallenge) { c.Nonce = nil }).Check(),
		"a challenge with a short nonce":      spoilt(goodChallenge(), func(c *AttestationChallenge) { c.Nonce = c.Nonce[1:] }).Check(),
		"a challenge for no pcr":              spoilt(goodChallenge(), func(c *AttestationChallenge) { c.PCRs = nil }).Check(),
		"a challenge for a pcr twice":         spoilt(goodChallenge(), func(c *AttestationChallenge) { c.PCRs = []int{1, 1} }).Check(),
		"a challenge for a pcr that is not":   spoilt(goodChallenge(), func(c *AttestationChallenge) { c.PCRs = []int{24} }).Check(),
		"a challenge for a negative pcr":      spoilt(goodChallenge(), func(c *AttestationChallenge) { c.PCRs = []int{-1} }).Check(),
		"a challenge with a long riddle":      spoilt(goodChallenge(), func(c *AttestationChallenge) { c.Credential = long }).Check(),
		"evidence without a nonce":            spoilt(goodEvidence(), func(e *AttestationEvidence) { e.Nonce = nil }).Check(), // ATT-05
		"evidence without a solution":         spoilt(goodEvidence(), func(e *AttestationEvidence) { e.Activation = nil }).Check(),
		"evidence without a quote":            spoilt(goodEvidence(), func(e *AttestationEvidence) { e.Quote = nil }).Check(),
		"evidence without a signature":        spoilt(goodEvidence(), func(e *AttestationEvidence) { e.QuoteSign = nil }).Check(),
		"evidence without values":             spoilt(goodEvidence(), func(e *AttestationEvidence) { e.PCRs = nil }).Check(),
		"evidence with a short value":         spoilt(goodEvidence(), func(e *AttestationEvidence) { e.PCRs = [][]byte{{1}} }).Check(),
		"evidence with a long quote":          spoilt(goodEvidence(), func(e *AttestationEvidence) { e.Quote = long }).Check(),
		"evidence with half a certification":  spoilt(goodEvidence(), func(e *AttestationEvidence) { e.Certification = []byte{1} }).Check(),
		"evidence of a device in capitals":    spoilt(goodEvidence(), func(e *AttestationEvidence) { e.DeviceID = "Edge-1" }).Check(),
		"a result with an unknown verdict":    (&AttestationResult{Verdict: "fine"}).Check(),
		"a result with a control character":   (&AttestationResult{Verdict: AttestWarning, Reasons: []AttestationReason{{Text: "\x1b"}}}).Check(),
		"a result with more reasons than are": (&AttestationResult{Verdict: AttestWarning, Reasons: make([]AttestationReason, MaxAttestReasons+1)}).Check(),
	} {
		if refused == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, err := range map[string]error{
		"claim": goodClaim().Check(), "challenge": goodChallenge().Check(), "evidence": goodEvidence().Check(),
		"result": (&AttestationResult{Verdict: AttestAffirming}).Check(),
	} {
		if err != nil {
			t.Errorf("a good %s: %v", name, err)
		}
	}
}

func spoilt[T any](v *T, spoil func(*T)) *T {
	spoil(v)
	return v
}

// fuzzMessage: what passes is within the limits, and comes back as it was written.
func fuzzMessage[T any](t *testing.T, data []byte, check func(*T) error) {
	var v T
	if Decode(data, &v) != nil || check(&v) != nil {
		return
	}
	first, err := json.Marshal(&v)
	if err != nil {
		t.Fatal(err)
	}
	var again T
	if err := Decode(first, &again); err != nil {
		t.Fatalf("%s does not come back: %v", first, err)
	}
	if second, err := json.Marshal(&again); err != nil || !bytes.Equal(first, second) {
		t.Fatalf("%s became %s, %v", first, second, err)
	}
}

func seed(f *testing.F, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
}

func FuzzAttestationClaim(f *testing.F) {
	seed(f, goodClaim())
	f.Fuzz(func(t *testing.T, data []byte) { fuzzMessage(t, data, (*AttestationClaim).Check) })
}

func FuzzAttestationChallenge(f *testing.F) {
	seed(f, goodChallenge())
	f.Fuzz(func(t *testing.T, data []byte) { fuzzMessage(t, data, (*AttestationChallenge).Check) })
}

func FuzzAttestationEvidence(f *testing.F) {
	seed(f, goodEvidence())
	f.Fuzz(func(t *testing.T, data []byte) { fuzzMessage(t, data, (*AttestationEvidence).Check) })
}

func FuzzAttestationResult(f *testing.F) {
	seed(f, &AttestationResult{Verdict: AttestWarning, Reasons: []AttestationReason{{"pcr-7", "changed"}}})
	f.Fuzz(func(t *testing.T, data []byte) { fuzzMessage(t, data, (*AttestationResult).Check) })
}
