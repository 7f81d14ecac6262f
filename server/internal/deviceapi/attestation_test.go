package deviceapi_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/swtpm"
)

// claimOf and evidenceOf are right in form and nothing else.
func claimOf(d *servertest.Device) *protocol.AttestationClaim {
	return &protocol.AttestationClaim{Protocol: protocol.Version, DeviceID: d.ID, EnrollmentID: d.EnrollmentID, Endorsement: []byte{1}, Key: []byte{1}}
}

func evidenceOf(d *servertest.Device) *protocol.AttestationEvidence {
	return &protocol.AttestationEvidence{Protocol: protocol.Version, DeviceID: d.ID, EnrollmentID: d.EnrollmentID, Nonce: make([]byte, protocol.AttestationNonce),
		Activation: []byte{1}, Quote: []byte{1}, QuoteSign: []byte{1}, PCRs: [][]byte{make([]byte, 32)}}
}

// attester is a device with a real software TPM, honest or not.
type attester struct {
	*servertest.Device
	*world

	tpm *swtpm.TPM
}

func (w *world) attester(id string, tpm *swtpm.TPM) *attester {
	w.t.Helper()
	return &attester{w.device(id), w, tpm}
}

// key is the public key of the device's certificate.
func (a *attester) key() []byte {
	a.t.Helper()
	leaf, err := x509.ParseCertificate(a.Chain[0])
	if err != nil {
		a.t.Fatal(err)
	}
	return leaf.RawSubjectPublicKeyInfo
}

// claim is an honest claim, and what became of it.
func (a *attester) claim(spoil ...func(*protocol.AttestationClaim)) (*protocol.AttestationChallenge, protocol.Code) {
	a.t.Helper()
	claim := claimOf(a.Device)
	claim.Endorsement, claim.Key = a.tpm.Claim()
	for _, f := range spoil {
		f(claim)
	}
	c := new(protocol.AttestationChallenge)
	problem, err := a.Post(protocol.PathAttestationChallenge, claim, c)
	if err != nil {
		a.t.Fatal(err)
	}
	if problem != nil {
		return nil, problem.Code
	}
	if err := c.Check(); err != nil {
		a.t.Fatal(err)
	}
	return c, ""
}

func (a *attester) challenge() *protocol.AttestationChallenge {
	a.t.Helper()
	c, code := a.claim()
	if code != "" {
		a.t.Fatalf("no challenge: %s", code)
	}
	return c
}

// answer is honest evidence for a challenge.
func (a *attester) answer(c *protocol.AttestationChallenge) *protocol.AttestationEvidence {
	a.t.Helper()
	e := evidenceOf(a.Device)
	e.Nonce = c.Nonce
	var err error
	if e.Activation, err = a.tpm.Solve(c); err != nil {
		a.t.Fatal(err)
	}
	e.Quote, e.QuoteSign, e.PCRs = a.tpm.Quote(evidence.QuoteData(c.Nonce, a.ID, a.key()), c.PCRs)
	return e
}

// bring brings evidence, and says in a word what became of it: the code of the refusal,
// or the verdict with the codes of its reasons.
func (a *attester) bring(e *protocol.AttestationEvidence) string {
	a.t.Helper()
	var r protocol.AttestationResult
	problem, err := a.Post(protocol.PathAttestationEvidence, e, &r)
	if err != nil {
		a.t.Fatal(err)
	}
	if problem != nil {
		return string(problem.Code)
	}
	if err := r.Check(); err != nil {
		a.t.Error(err)
	}
	said := []string{string(r.Verdict)}
	for _, reason := range r.Reasons {
		said = append(said, reason.Code)
	}
	if r.HardwareBound {
		said = append(said, "hardware-bound")
	}
	return strings.Join(said, " ")
}

// trust is the device's verdict, with the codes of the reasons that its TPM gives.
func (a *attester) trust() string {
	a.t.Helper()
	var page struct {
		Trust struct {
			Verdict string                                `json:"verdict"`
			Reasons []struct{ Code, Text, Weight string } `json:"reasons"`
		} `json:"trust"`
	}
	a.operator.Must("GET", "/api/devices/"+a.ID, nil, &page)
	said := []string{page.Trust.Verdict}
	for _, r := range page.Trust.Reasons {
		if strings.Contains(r.Code, "attest") || r.Code == "hardware-bound" {
			said = append(said, r.Code)
		}
	}
	return strings.Join(said, " ")
}

// baseline has a baseline of these values come into force, and returns its id.
func (w *world) baseline(name string, values map[string][]string, more map[string]any) string {
	w.t.Helper()
	in := map[string]any{"name": name, "values": values, "not_after": w.now().Add(24 * time.Hour), "cause_kind": "first-look", "cause_ref": "CHG-1"}
	for k, v := range more {
		in[k] = v
	}
	var asked struct {
		ID, Digest string
		ApprovalID string `json:"approval_id"`
	}
	w.operator.Must("POST", "/api/attestation/baselines", in, &asked)
	w.reviewer.Must("POST", "/api/approvals/"+asked.ApprovalID+"/review", map[string]string{"decision": "approve", "digest": asked.Digest, "reason": "seen"}, nil)
	return asked.ID
}

func values(e *protocol.AttestationEvidence, pcrs ...int) map[string][]string {
	m := map[string][]string{}
	for i, v := range e.PCRs {
		if n := quoted[i]; slices.Contains(pcrs, n) {
			m[fmt.Sprint(n)] = []string{fmt.Sprintf("%x", v)}
		}
	}
	return m
}

// quoted are registers that a test may change: 16 is for debugging.
var quoted = []int{0, 7, 16}

func newAttestation(t *testing.T, database string) (*world, *swtpm.Maker, *clock) {
	t.Helper()
	maker, c := swtpm.NewMaker(t, "Maker"), newClock()
	w := newWorld(t, database, servertest.Options{Now: c.now, Settings: map[string]string{
		"SENTINEL_ATTESTATION_MAKERS_DIR": maker.Folder(), "SENTINEL_ATTESTATION_PCRS": "16,0,7",
		"SENTINEL_SESSION_IDLE": "24h", "SENTINEL_SESSION_LIFETIME": "168h", // whoever looks is still signed in
	}})
	w.now = c.now
	return w, maker, c
}

// C6, RFC 9334: the whole way of evidence, from nothing to a trusted device, through
// drift and back.
func TestEvidenceOfARealTPMIsJudgedByBaselines(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		w, maker, clock := newAttestation(t, database)
		a := w.attester("edge-1", swtpm.Start(t).By(maker))
		step := func(what, want string) {
			t.Helper()
			w.Round()
			if got := a.trust(); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		bring := func(want string) *protocol.AttestationEvidence {
			t.Helper()
			e := a.answer(a.challenge())
			if got := a.bring(e); got != want {
				t.Errorf("the evidence is %s, want %s", got, want)
			}
			return e
		}
		step("before any evidence", "trusted")
		e := bring("warning no-baseline")
		step("without a baseline", "reserved attestation-drift")
		first := w.baseline("laptop", values(e, 0, 7, 16), nil)
		clock.advance(time.Second)
		step("with a baseline, and no other evidence", "trusted attested")
		bring("affirming")
		step("as the baseline says", "trusted attested")

		a.tpm.Extend(16, "an update") // drift gives a reason, and not a dead device
		updated := bring("warning pcr-16")
		step("after an update", "reserved attestation-drift")
		a.MustBeat()
		w.baseline("laptop", values(updated, 0, 7, 16), map[string]any{"overlap_seconds": 3600, "cause_kind": "system-update", "cause_ref": "CHG-2"})
		clock.advance(time.Second)
		step("as the next version says", "trusted attested")
		bring("affirming")

		w.baseline("bound", values(updated, 7), map[string]any{"hardware_bound": true})
		clock.advance(time.Second)
		step("two baselines, of which one is met", "trusted attested")
		for _, b := range w.baselines() {
			if b.Name == "laptop" && b.State == "active" {
				w.operator.Must("POST", "/api/attestation/baselines/"+b.ID+"/retire", map[string]string{"reason": "test"}, nil)
			}
		}
		clock.advance(time.Second)
		step("the other asks for a key in the TPM", "reserved attestation-drift")
		bring("warning key-not-certified")

		clock.advance(3*time.Hour + time.Second)
		step("evidence that nobody renewed", "reserved attestation-stale")
		if n := w.Count("attestation_baselines", "id = ? AND state = 'retired'", first); n != 1 {
			t.Error("the first version is not retired")
		}
		if n := w.Count("audit_entries", "action = 'attestation.result' AND result = 'done'"); n < 4 {
			t.Errorf("%d entries of results", n)
		}
	})
}

// ATT-02, ATT-03, ATT-05, ATT-06, ATT-10 and line 4 of the issue: what is not evidence of
// this TPM, fresh, for this device's certificate, is refused, each with its reason.
func TestWhatIsNotGenuineEvidenceIsRefusedEachWithItsReason(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		w, maker, clock := newAttestation(t, database)
		a := w.attester("edge-1", swtpm.Start(t).By(maker))
		b := w.attester("edge-2", swtpm.Start(t).By(maker))
		e := a.answer(a.challenge())
		w.baseline("all", values(e, 0, 7, 16), nil)
		good := func() {
			t.Helper()
			for _, d := range []*attester{a, b} {
				if got := d.bring(d.answer(d.challenge())); got != "affirming" {
					t.Fatalf("%s: good evidence is %s", d.ID, got)
				}
				if got := d.trust(); got != "trusted attested" {
					t.Errorf("%s is %s", d.ID, got)
				}
			}
		}
		good()
		other := func(c *protocol.AttestationChallenge) [32]byte {
			return evidence.QuoteData(bytes.Repeat([]byte{7}, 32), a.ID, a.key())
		}
		for name, c := range map[string]struct {
			spoil func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence)
			want  string
		}{
			"a wrong nonce": {func(_ *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Nonce = bytes.Repeat([]byte{7}, 32)
			}, "challenge-unknown"},
			"a quote about another nonce": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Quote, e.QuoteSign, e.PCRs = a.tpm.Quote(other(c), c.PCRs)
			}, "contraindicated qualifying-data"},
			"a quote about no certificate": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Quote, e.QuoteSign, e.PCRs = a.tpm.Quote(evidence.QuoteData(c.Nonce, a.ID, nil), c.PCRs)
			}, "contraindicated qualifying-data"},
			"a quote about another device": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Quote, e.QuoteSign, e.PCRs = a.tpm.Quote(evidence.QuoteData(c.Nonce, b.ID, a.key()), c.PCRs)
			}, "contraindicated qualifying-data"},
			"a quote for another certificate": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Quote, e.QuoteSign, e.PCRs = a.tpm.Quote(evidence.QuoteData(c.Nonce, b.ID, b.key()), c.PCRs)
			}, "contraindicated qualifying-data"},
			"a value that was not quoted": {func(_ *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.PCRs[1] = bytes.Repeat([]byte{1}, 32)
			}, "contraindicated pcr-values"},
			"values in another order": {func(_ *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.PCRs[0][0] ^= 1
				e.PCRs[0], e.PCRs[1] = e.PCRs[1], e.PCRs[0]
			}, "contraindicated pcr-values"},
			"fewer registers": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Quote, e.QuoteSign, e.PCRs = a.tpm.Quote(evidence.QuoteData(c.Nonce, a.ID, a.key()), []int{0, 7})
			}, "contraindicated pcr-selection"},
			"other registers": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Quote, e.QuoteSign, e.PCRs = a.tpm.Quote(evidence.QuoteData(c.Nonce, a.ID, a.key()), []int{0, 7, 23})
			}, "contraindicated pcr-selection"},
			"another TPM's quote": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Quote, e.QuoteSign, e.PCRs = b.tpm.Quote(evidence.QuoteData(c.Nonce, a.ID, a.key()), c.PCRs)
			}, "contraindicated quote-signature"},
			"a quote that was changed": {func(_ *protocol.AttestationChallenge, e *protocol.AttestationEvidence) { e.Quote[len(e.Quote)-1] ^= 1 }, "contraindicated quote-signature"},
			"bytes behind the quote":   {func(_ *protocol.AttestationChallenge, e *protocol.AttestationEvidence) { e.Quote = append(e.Quote, 0) }, "contraindicated quote-signature"},
			"a riddle that nobody solved": {func(_ *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Activation = bytes.Repeat([]byte{7}, 32)
			}, "contraindicated key-not-activated"},
			"half a solution": {func(_ *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.Activation = e.Activation[:31]
			}, "contraindicated key-not-activated"},
			"a certification as the quote": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				_, e.Quote, e.QuoteSign = a.tpm.Certify(evidence.QuoteData(c.Nonce, a.ID, a.key()))
			}, "contraindicated quote-form"},
			"a key in the TPM that is not the certificate's": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.CertifiedKey, e.Certification, e.CertificationSign = a.tpm.Certify(evidence.CertifyData(c.Nonce, a.ID, a.key()))
			}, "contraindicated certification-other-key"},
			"a certification about another nonce": {func(_ *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.CertifiedKey, e.Certification, e.CertificationSign = a.tpm.Certify(evidence.CertifyData(bytes.Repeat([]byte{7}, 32), a.ID, a.key()))
			}, "contraindicated certification-data"},
			"a certification with a quote's data": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.CertifiedKey, e.Certification, e.CertificationSign = a.tpm.Certify(evidence.QuoteData(c.Nonce, a.ID, a.key()))
			}, "contraindicated certification-data"},
			"another TPM's certification": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.CertifiedKey, e.Certification, e.CertificationSign = b.tpm.Certify(evidence.CertifyData(c.Nonce, a.ID, a.key()))
			}, "contraindicated certification-signature"},
			"a certification of another key": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.CertifiedKey, _, _ = b.tpm.Certify(evidence.CertifyData(c.Nonce, a.ID, a.key()))
				_, e.Certification, e.CertificationSign = a.tpm.Certify(evidence.CertifyData(c.Nonce, a.ID, a.key()))
			}, "contraindicated certification-name"},
			"a certified key that signs what TPMs say": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				_, e.Certification, e.CertificationSign = a.tpm.Certify(evidence.CertifyData(c.Nonce, a.ID, a.key()))
				_, e.CertifiedKey = a.tpm.Claim()
			}, "contraindicated certified-key"},
			"a quote as the certification": {func(c *protocol.AttestationChallenge, e *protocol.AttestationEvidence) {
				e.CertifiedKey, _, _ = a.tpm.Certify(evidence.CertifyData(c.Nonce, a.ID, a.key()))
				e.Certification, e.CertificationSign, _ = a.tpm.Quote(evidence.CertifyData(c.Nonce, a.ID, a.key()), c.PCRs)
			}, "contraindicated certification-form"},
		} {
			challenge := a.challenge()
			bad := a.answer(challenge)
			c.spoil(challenge, bad)
			got := a.bring(bad)
			if got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
			if strings.HasPrefix(c.want, "contraindicated") {
				if got := a.trust(); got != "untrusted attestation-refused" {
					t.Errorf("%s: the device is %s", name, got)
				}
				if got := a.bring(bad); got != "challenge-used" {
					t.Errorf("%s, again: %s", name, got)
				}
			}
		}
		a.MustBeat() // whatever is thought of its TPM, it goes on

		// Replayed, late, and for others.
		good()
		c := a.challenge()
		replayed := a.answer(c)
		for _, want := range []string{"affirming", "challenge-used", "challenge-used"} {
			if got := a.bring(replayed); got != want {
				t.Errorf("brought again: %s, want %s", got, want)
			}
		}
		if got := a.trust(); got != "trusted attested" {
			t.Errorf("a replay changed the device to %s", got)
		}
		atOnce, came := a.answer(a.challenge()), make(chan string, 8) // ENR-01's lesson
		for range cap(came) {
			go func() { came <- a.bring(atOnce) }()
		}
		counts := map[string]int{}
		for range cap(came) {
			counts[<-came]++
		}
		if counts["affirming"] != 1 || counts["challenge-used"] != cap(came)-1 {
			t.Errorf("brought eight times at once: %v", counts)
		}
		older := a.answer(a.challenge())
		newer := a.answer(a.challenge())
		if got := a.bring(older); got != "challenge-unknown" {
			t.Errorf("a challenge whose place was taken: %s", got)
		}
		theirs := *newer
		theirs.DeviceID, theirs.EnrollmentID = b.ID, b.EnrollmentID
		if got := b.bring(&theirs); got != "challenge-foreign" {
			t.Errorf("another device's evidence: %s", got)
		}
		borrowed := *newer
		borrowed.EnrollmentID = b.EnrollmentID
		for _, e := range []*protocol.AttestationEvidence{newer, &borrowed} {
			if got := b.bring(e); got != "identity-mismatch" {
				t.Errorf("another device's evidence, in its name: %s", got)
			}
		}
		clock.advance(10 * time.Minute)
		if got := a.bring(newer); got != "challenge-expired" {
			t.Errorf("after its time: %s", got)
		}
		good()

		// Another TPM, or another device's.
		foreign := swtpm.Start(t).By(swtpm.NewMaker(t, "Maker")) // of the same name
		stranger := swtpm.Start(t).By(maker)
		third := w.attester("edge-3", a.tpm)
		for name, c := range map[string]struct {
			of    *attester
			tpm   *swtpm.TPM
			want  protocol.Code
			spoil func(*protocol.AttestationClaim)
		}{
			"a TPM whose maker nobody knows":         {a, foreign, protocol.CodeEndorsementUntrusted, nil},
			"another TPM than before":                {a, stranger, protocol.CodeTPMChanged, nil},
			"the TPM of another device":              {a, b.tpm, protocol.CodeTPMTaken, nil},
			"a healthy TPM, from a device without":   {third, a.tpm, protocol.CodeTPMTaken, nil},
			"no certificate":                         {a, a.tpm, protocol.CodeEndorsementUntrusted, func(c *protocol.AttestationClaim) { c.Endorsement = []byte{1} }},
			"the maker's certificate":                {a, a.tpm, protocol.CodeEndorsementUntrusted, func(c *protocol.AttestationClaim) { c.Endorsement = maker.Issuer.Raw }},
			"a device's certificate":                 {a, a.tpm, protocol.CodeEndorsementUntrusted, func(c *protocol.AttestationClaim) { c.Endorsement = a.Chain[0] }},
			"a key that signs anything":              {a, a.tpm, protocol.CodeAttestationKey, func(c *protocol.AttestationClaim) { c.Key, _, _ = a.tpm.Certify([32]byte{}) }},
			"a name that is another device's":        {a, a.tpm, protocol.CodeIdentityMismatch, func(c *protocol.AttestationClaim) { c.DeviceID = b.ID }},
			"an enrollment that is another device's": {a, a.tpm, protocol.CodeIdentityMismatch, func(c *protocol.AttestationClaim) { c.EnrollmentID = b.EnrollmentID }},
		} {
			d := &attester{c.of.Device, w, c.tpm}
			spoil := c.spoil
			if spoil == nil {
				spoil = func(*protocol.AttestationClaim) {}
			}
			if _, code := d.claim(spoil); code != c.want {
				t.Errorf("%s: %q, want %s", name, code, c.want)
			}
		}
		// The attestation key of one TPM, the endorsement of another: neither solves it.
		mixed, code := a.claim(func(c *protocol.AttestationClaim) { _, c.Key = b.tpm.Claim() })
		if code != "" {
			t.Fatal(code)
		}
		for name, tpm := range map[string]*swtpm.TPM{"that of the endorsement": a.tpm, "that of the key": b.tpm} {
			if secret, err := tpm.Solve(mixed); err == nil {
				t.Errorf("%s solves it: %x", name, secret)
			}
		}
		good()
	})
}

// ATT-02: what was given before a restore is worth nothing after it.
func TestARestoreVoidsChallenges(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(*testing.T) string{
		"sqlite": func(*testing.T) string { return "" }, "postgres": func(t *testing.T) string { t.Helper(); return dbtest.PostgresURL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, maker, _ := newAttestation(t, database(t))
			a := w.attester("edge-1", swtpm.Start(t).By(maker))
			e := a.answer(a.challenge())
			w.MarkRestored()
			w.Server = w.Again()
			a.Device = a.At(w.Server)
			if got := a.bring(e); got != "challenge-unknown" {
				t.Errorf("evidence from before: %s", got)
			}
		})
	}
}

// ATT-09: a baseline that people did not agree to, or that a later one took the place of,
// is not judged by.
func TestOnlyTheNewestApprovedBaselineCounts(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		w, maker, clock := newAttestation(t, database)
		a := w.attester("edge-1", swtpm.Start(t).By(maker))
		e := a.answer(a.challenge())
		propose := func(v map[string][]string) (asked struct {
			ID, Digest string
			ApprovalID string `json:"approval_id"`
		}) {
			t.Helper()
			w.operator.Must("POST", "/api/attestation/baselines", map[string]any{"name": "x", "values": v, "not_after": w.now().Add(time.Hour), "cause_kind": "incident", "cause_ref": "INC-1"}, &asked)
			return asked
		}
		review := func(p *servertest.Person, id, digest string) string {
			t.Helper()
			_, problem, err := p.Do("POST", "/api/approvals/"+id+"/review", map[string]string{"decision": "approve", "digest": digest, "reason": "x"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if problem != nil {
				return string(problem.Code)
			}
			return ""
		}
		first, second := propose(values(e, 7)), propose(values(e, 0))
		if got := a.bring(e); got != "warning no-baseline" {
			t.Errorf("by proposals alone: %s", got)
		}
		if got := review(w.operator, first.ApprovalID, first.Digest); got != "forbidden" {
			t.Errorf("whoever proposed it agrees: %q", got)
		}
		if got := review(w.reviewer, first.ApprovalID, second.Digest); got != "conflict" {
			t.Errorf("by another digest: %q", got)
		}
		if got := review(w.reviewer, second.ApprovalID, second.Digest); got != "" {
			t.Errorf("the second: %s", got)
		}
		if got := review(w.reviewer, first.ApprovalID, first.Digest); got != "conflict" { // n-1 after n
			t.Errorf("the first, after the second: %q", got)
		}
		states := map[string]string{}
		for _, b := range w.baselines() {
			states[b.ID] = b.State
		}
		if states[first.ID] != "rejected" || states[second.ID] != "active" {
			t.Errorf("%v", states)
		}
		clock.advance(2 * time.Hour)
		if got := a.bring(a.answer(a.challenge())); got != "warning no-baseline" {
			t.Errorf("after its time: %s", got)
		}
	})
}

// ATT-09
func TestANewVersionEndsTheOneBefore(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		w, maker, clock := newAttestation(t, database)
		a := w.attester("edge-1", swtpm.Start(t).By(maker))
		before := a.answer(a.challenge())
		w.baseline("x", values(before, 16), nil)
		other := map[string][]string{"16": {strings.Repeat("ab", 32)}}
		for _, overlap := range []int{3600, 0} {
			w.baseline("x", other, map[string]any{"overlap_seconds": overlap})
			want := "affirming"
			if overlap == 0 {
				want = "warning pcr-16"
			}
			if got := a.bring(a.answer(a.challenge())); got != want {
				t.Errorf("with %d seconds of overlap: %s, want %s", overlap, got, want)
			}
			clock.advance(time.Second)
		}
	})
}

type baselineRow struct{ ID, Name, State string }

func (w *world) baselines() []baselineRow {
	w.t.Helper()
	var list struct {
		Items []baselineRow `json:"items"`
	}
	w.operator.Must("GET", "/api/attestation/baselines", nil, &list)
	return list.Items
}

// A device may have another TPM after a repair, once two people said so.
func TestATPMIsForgottenByTwo(t *testing.T) {
	t.Parallel()
	w, maker, _ := newAttestation(t, "sqlite:")
	a := w.attester("edge-1", swtpm.Start(t).By(maker))
	a.bring(a.answer(a.challenge()))
	a.tpm = swtpm.Start(t).By(maker)
	if _, code := a.claim(); code != protocol.CodeTPMChanged {
		t.Fatalf("another TPM: %q", code)
	}
	guard := w.Person("greta", "security")
	var asked struct {
		ApprovalID string `json:"approval_id"`
	}
	guard.Must("POST", "/api/attestation/devices/edge-1/forget-tpm", map[string]string{"reason": "another board"}, &asked)
	var found struct{ Digest string }
	guard.Must("GET", "/api/approvals/"+asked.ApprovalID, nil, &found)
	if _, code := a.claim(); code != protocol.CodeTPMChanged {
		t.Errorf("by one person: %q", code)
	}
	w.reviewer.Must("POST", "/api/approvals/"+asked.ApprovalID+"/review", map[string]string{"decision": "approve", "digest": found.Digest, "reason": "seen"}, nil)
	if got := a.bring(a.answer(a.challenge())); got != "warning no-baseline" {
		t.Errorf("by two: %s", got)
	}
}

// Without makers nothing is taken, and nothing is held against a device.
func TestWithoutMakersNoEvidenceIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:", servertest.Options{})
	d := w.device("edge-1")
	problem, err := d.Post(protocol.PathAttestationChallenge, claimOf(d), nil)
	if err != nil || problem == nil || problem.Code != protocol.CodeAttestationOff {
		t.Errorf("a claim: %v %v", problem, err)
	}
	if problem, err = d.Post(protocol.PathAttestationEvidence, evidenceOf(d), nil); err != nil || problem == nil || problem.Code != protocol.CodeAttestationOff {
		t.Errorf("evidence: %v %v", problem, err)
	}
	d.MustBeat()
}
