package attestation

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/swtpm"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// C6: hardware-bound is said only where the very key of the certificate is certified.
func TestADeviceIsHardwareBoundByTheVeryKeyOfItsCertificate(t *testing.T) {
	t.Parallel()
	tpm := swtpm.Start(t)
	secret, nonce := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	area, _, _ := tpm.Certify([32]byte{}) // the same key each time
	held, err := evidence.ParseDeviceKey(area)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(held.Public)
	if err != nil {
		t.Fatal(err)
	}
	c := &Challenge{Key: tpm.AttestationKey(), SecretDigest: digestOf(secret), PCRs: "[0,16]"}
	subject := Subject{DeviceID: "edge-1", PublicKey: der}
	e := &protocol.AttestationEvidence{Nonce: nonce, Activation: secret}
	e.Quote, e.QuoteSign, e.PCRs = tpm.Quote(evidence.QuoteData(nonce, "edge-1", der), []int{0, 16})
	if p := Appraise(c, e, subject); !p.Genuine() || p.HardwareBound || len(p.PCRs) != 2 {
		t.Fatalf("without a certification: %+v", p)
	}
	e.CertifiedKey, e.Certification, e.CertificationSign = tpm.Certify(evidence.CertifyData(nonce, "edge-1", der))
	if p := Appraise(c, e, subject); !p.Genuine() || !p.HardwareBound {
		t.Fatalf("with one: %+v", p)
	}
	c.Key = area // ATT-03: a key that signs anything, whatever it signed
	if p := Appraise(c, e, subject); p.Genuine() || p.Reasons[0].Code != CodeKey {
		t.Errorf("by a key that signs anything: %+v", p)
	}
}

func judged(b ...Baseline) func(p Proof) string {
	return func(p Proof) string {
		j := Judge(&p, b, noon)
		said := []string{string(j.Verdict)}
		for _, r := range j.Reasons {
			said = append(said, r.Code)
			if r.Text == "" || protocol.CheckText("text", r.Text, 512) != nil {
				said = append(said, "badly told")
			}
		}
		if j.Baseline != "" {
			said = append(said, "as "+j.Baseline)
		}
		return strings.Join(said, " ")
	}
}

func TestEvidenceIsComparedWithTheBaselinesInForce(t *testing.T) {
	t.Parallel()
	base := func(name string, change ...func(*Baseline)) Baseline {
		b := Baseline{Name: name, Version: 3, State: Active, NotBefore: 1, NotAfter: 1 << 60, Values: map[int][]string{0: {"aa", "bb"}, 7: {"cc"}}}
		for _, f := range change {
			f(&b)
		}
		return b
	}
	bound := func(b *Baseline) { b.HardwareBound = true }
	later := func(b *Baseline) { b.NotBefore = b.NotAfter - 1 }
	over := func(b *Baseline) { b.NotAfter = 2 }
	proposed := func(b *Baseline) { b.State = Proposed }
	retired := func(b *Baseline) { b.State = Retired }
	good := Proof{PCRs: map[int]string{0: "bb", 7: "cc", 16: "dd"}}
	for name, c := range map[string]struct {
		baselines []Baseline
		proof     Proof
		want      string
	}{
		"as one says":           {[]Baseline{base("a")}, good, "affirming as a version 3"},
		"as the second says":    {[]Baseline{base("a", bound), base("b")}, good, "affirming as b version 3"},
		"a value that is not":   {[]Baseline{base("a")}, Proof{PCRs: map[int]string{0: "bb", 7: "dd"}}, "warning pcr-7"},
		"two values":            {[]Baseline{base("a")}, Proof{PCRs: map[int]string{0: "x", 7: "y"}}, "warning pcr-0 pcr-7"},
		"a register not quoted": {[]Baseline{base("a")}, Proof{PCRs: map[int]string{0: "bb"}}, "warning pcr-7"},
		"no key in the TPM":     {[]Baseline{base("a", bound)}, good, "warning key-not-certified"},
		"a key in the TPM":      {[]Baseline{base("a", bound)}, Proof{PCRs: good.PCRs, HardwareBound: true}, "affirming as a version 3"},
		"as none of two says":   {[]Baseline{base("a", bound), base("b", bound)}, good, "warning key-not-certified other-baselines"},
		"no baseline":           {nil, good, "warning no-baseline"},
		"one that is to come":   {[]Baseline{base("a", later)}, good, "warning no-baseline"},
		"one whose time is up":  {[]Baseline{base("a", over)}, good, "warning no-baseline"},
		"one that is proposed":  {[]Baseline{base("a", proposed)}, good, "warning no-baseline"},
		"one that is retired":   {[]Baseline{base("a", retired)}, good, "warning no-baseline"},
		"not genuine":           {[]Baseline{base("a")}, refused(CodeValues, "text"), "contraindicated pcr-values"},
	} {
		if got := judged(c.baselines...)(c.proof); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestABaselineIsHeldToItsRules(t *testing.T) {
	t.Parallel()
	value := strings.Repeat("ab", 32)
	good := func() Proposal {
		return Proposal{Name: "laptops", Values: map[int][]string{7: {value}}, NotBefore: noon, NotAfter: noon.Add(time.Hour), Cause: Cause{Kind: "incident", Ref: "INC-1"}}
	}
	for name, spoil := range map[string]func(*Proposal){
		"no name":                    func(p *Proposal) { p.Name = "" },
		"a name in capitals":         func(p *Proposal) { p.Name = "Laptops" },
		"a label that is none":       func(p *Proposal) { p.Label = "x" },
		"a label without a value":    func(p *Proposal) { p.Label = "x=" },
		"no values":                  func(p *Proposal) { p.Values = nil },
		"a register without values":  func(p *Proposal) { p.Values[0] = nil },
		"a register nobody quotes":   func(p *Proposal) { p.Values[9] = []string{value} },
		"a short value":              func(p *Proposal) { p.Values[7] = []string{"ab"} },
		"a value in capitals":        func(p *Proposal) { p.Values[7] = []string{strings.ToUpper(value)} },
		"more values than are":       func(p *Proposal) { p.Values[7] = make([]string, maxValues+1) },
		"no end":                     func(p *Proposal) { p.NotAfter = time.Time{} },
		"an end in the past":         func(p *Proposal) { p.NotBefore, p.NotAfter = noon.Add(-2*time.Hour), noon.Add(-time.Hour) },
		"an end before the begin":    func(p *Proposal) { p.NotBefore = noon.Add(2 * time.Hour) },
		"an end that is far":         func(p *Proposal) { p.NotAfter = noon.Add(MaxLife + time.Second) },
		"a life that is long":        func(p *Proposal) { p.NotBefore, p.NotAfter = noon.Add(-MaxLife), noon.Add(time.Hour) },
		"an overlap before":          func(p *Proposal) { p.OverlapSeconds = -1 },
		"an overlap that is long":    func(p *Proposal) { p.OverlapSeconds = 1 << 40 },
		"no cause":                   func(p *Proposal) { p.Cause = Cause{} },
		"a cause without reference":  func(p *Proposal) { p.Cause.Ref = "" },
		"a cause nobody knows":       func(p *Proposal) { p.Cause.Kind = "mood" },
		"a reference with a newline": func(p *Proposal) { p.Cause.Ref = "a\nb" },
	} {
		p := good()
		spoil(&p)
		if p.Check([]int{0, 7}, noon) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	p := good()
	if err := p.Check([]int{0, 7}, noon); err != nil {
		t.Error(err)
	}
	first, err := Action{ID: "x", Version: 1, Proposal: p}.Bytes()
	if err != nil || !strings.HasPrefix(string(first), `{"type":"attestation-baseline","id":"x","version":1,"name":"laptops"`) {
		t.Errorf("%s, %v", first, err)
	}
}

func TestABaselineCoversDevicesByTheirLabels(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"site": "bern", "empty": ""}
	for label, want := range map[string]bool{"": true, "site=bern": true, "site=basel": false, "other=bern": false, "site=": false, "missing=": false} {
		if got := (&Baseline{Label: label}).Covers(labels); got != want {
			t.Errorf("%q: %v", label, got)
		}
	}
}

func TestOnlyAMakerThatIsBelievedVouches(t *testing.T) {
	t.Parallel()
	maker, other := swtpm.NewMaker(t, "Maker"), swtpm.NewMaker(t, "Maker")
	makers, err := LoadMakers(maker.Folder())
	if err != nil {
		t.Fatal(err)
	}
	good := maker.Endorse(&rsaKey(t, 2048).PublicKey)
	e, err := makers.Judge(good, nil, noon)
	if err != nil || len(e.Digest) != 64 || e.Issuer != "CN=Maker" {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, _, err := e.Riddle(rand.Reader, []byte("name"), make([]byte, 32)); err != nil {
		t.Error(err)
	}
	alone := NewMakers(maker.Root)
	if _, err := alone.Judge(good, nil, noon); err == nil {
		t.Error("without the certificate between: accepted")
	}
	if _, err := alone.Judge(good, [][]byte{{1}, maker.Issuer.Raw}, noon); err != nil {
		t.Errorf("with it: %v", err)
	}
	for name, c := range map[string]struct {
		certificate []byte
		between     [][]byte
		at          time.Time
	}{
		"another maker":                 {other.Endorse(&rsaKey(t, 2048).PublicKey), [][]byte{other.Issuer.Raw, other.Root.Raw}, noon},
		"no certificate":                {[]byte("x"), nil, noon},
		"the maker's own":               {maker.Issuer.Raw, nil, noon},
		"before its time":               {good, nil, time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)},
		"after its time":                {good, nil, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)},
		"a key that no TPM makes of it": {maker.Endorse(&rsaKey(t, 3072).PublicKey), nil, noon},
	} {
		if _, err := makers.Judge(c.certificate, c.between, c.at); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := (*Makers)(nil).Judge(good, nil, noon); !errors.Is(err, ErrOff) {
		t.Errorf("without makers: %v", err)
	}
	for name, dir := range map[string]string{"a directory that is not there": "/does/not/exist", "an empty directory": t.TempDir()} {
		if _, err := LoadMakers(dir); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
