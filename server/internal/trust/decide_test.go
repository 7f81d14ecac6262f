package trust

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestAVerdictFollowsFromItsFacts(t *testing.T) {
	t.Parallel()
	end := noon.Add(time.Hour)
	for name, c := range map[string]struct {
		change func(f *Facts)
		now    time.Time
		want   Verdict
		codes  string // of the reasons, the decisive ones first
		until  time.Time
	}{
		"reviewed, in date":             {func(*Facts) {}, noon, Trusted, "reviewed certificate-valid", end.Add(time.Second)},
		"in its last second":            {func(*Facts) {}, end, Trusted, "reviewed certificate-valid", end.Add(time.Second)},
		"after its last second":         {func(*Facts) {}, end.Add(time.Second), Untrusted, "certificate-expired reviewed", time.Time{}},
		"in its first second":           {func(f *Facts) { f.NotBefore = noon }, noon, Trusted, "reviewed certificate-valid", end.Add(time.Second)},
		"before its first second":       {func(f *Facts) { f.NotBefore = noon.Add(1) }, noon, Untrusted, "certificate-not-yet reviewed", noon.Add(1)},
		"let in without a review":       {func(f *Facts) { f.ReviewedBy = "" }, noon, Reserved, "unreviewed certificate-valid", end.Add(time.Second)},
		"it trusted on first use":       {func(f *Facts) { f.FirstUse = true }, noon, Reserved, "first-use reviewed certificate-valid", end.Add(time.Second)},
		"both of these":                 {func(f *Facts) { f.FirstUse, f.ReviewedBy = true, "" }, noon, Reserved, "unreviewed first-use certificate-valid", end.Add(time.Second)},
		"held":                          {func(f *Facts) { f.HeldReason = "x" }, noon, Untrusted, "held reviewed certificate-valid", end.Add(time.Second)},
		"held, and first use":           {func(f *Facts) { f.HeldReason, f.FirstUse = "x", true }, noon, Untrusted, "held first-use reviewed certificate-valid", end.Add(time.Second)},
		"suspended":                     {func(f *Facts) { f.State = "suspended" }, noon, Untrusted, "suspended certificate-valid", time.Time{}},
		"suspended before it is valid":  {func(f *Facts) { f.State, f.NotBefore = "suspended", noon.Add(1) }, noon, Untrusted, "suspended certificate-not-yet", time.Time{}},
		"revoked":                       {func(f *Facts) { f.State, f.Revoked = "revoked", true }, noon, Untrusted, "revoked certificate-revoked", time.Time{}},
		"revoked, its certificate not":  {func(f *Facts) { f.State = "revoked" }, noon, Untrusted, "revoked certificate-valid", time.Time{}},
		"active, its certificate is":    {func(f *Facts) { f.Revoked = true }, noon, Untrusted, "certificate-revoked reviewed", time.Time{}},
		"retired":                       {func(f *Facts) { f.State = "retired" }, noon, Untrusted, "not-active certificate-valid", time.Time{}},
		"no state at all":               {func(f *Facts) { f.State = "" }, noon, Untrusted, "not-active certificate-valid", time.Time{}},
		"a state nobody knows":          {func(f *Facts) { f.State = "Active" }, noon, Untrusted, "not-active certificate-valid", time.Time{}},
		"no certificate":                {func(f *Facts) { f.NotAfter = time.Time{} }, noon, Untrusted, "no-certificate reviewed", time.Time{}},
		"everything against it at once": {func(f *Facts) { *f = Facts{HeldReason: "x", FirstUse: true} }, noon, Untrusted, "not-active no-certificate held first-use", time.Time{}},
	} {
		f := Facts{State: "active", ReviewedBy: "alice", NotBefore: noon.Add(-time.Minute), NotAfter: end}
		c.change(&f)
		d := Decide(f, c.now)
		var codes []string
		for _, r := range d.Reasons {
			codes = append(codes, r.Code)
			if r.Text == "" || r.Weight != For && r.Advice == "" {
				t.Errorf("%s: %s says neither what nor what to do: %+v", name, r.Code, r)
			}
		}
		if d.Verdict != c.want || strings.Join(codes, " ") != c.codes || !d.HoldsUntil.Equal(c.until) {
			t.Errorf("%s: %s for %v until %v, want %s for %s until %v", name, d.Verdict, codes, d.HoldsUntil, c.want, c.codes, c.until)
		}
		if !slices.IsSortedFunc(d.Reasons, func(a, b Reason) int { return rank(a.Weight) - rank(b.Weight) }) {
			t.Errorf("%s: the decisive reasons are not first: %v", name, codes)
		}
	}
}

func TestWhatATPMProvesIsWeighed(t *testing.T) {
	t.Parallel()
	soon, end := noon.Add(time.Minute), noon.Add(time.Hour)
	fresh := Attestation{Expected: true, Verdict: protocol.AttestAffirming, Baseline: "x version 1", At: noon, Until: soon}
	for name, c := range map[string]struct {
		change func(a *Attestation)
		want   Verdict
		codes  string
		until  time.Time
	}{
		"as expected":                    {func(*Attestation) {}, Trusted, "reviewed certificate-valid attested", soon},
		"with its key in the TPM":        {func(a *Attestation) { a.HardwareBound = true }, Trusted, "reviewed certificate-valid attested hardware-bound", soon},
		"not as expected":                {func(a *Attestation) { a.Verdict = protocol.AttestWarning }, Reserved, "attestation-drift reviewed certificate-valid", soon},
		"drift, its key in the TPM":      {func(a *Attestation) { a.Verdict, a.HardwareBound = protocol.AttestWarning, true }, Reserved, "attestation-drift reviewed certificate-valid hardware-bound", soon},
		"a verdict that nobody knows":    {func(a *Attestation) { a.Verdict = "fine" }, Reserved, "attestation-drift reviewed certificate-valid", soon},
		"not genuine":                    {func(a *Attestation) { a.Verdict = protocol.AttestContraindicated }, Untrusted, "attestation-refused reviewed certificate-valid", end.Add(time.Second)},
		"not genuine, long ago":          {func(a *Attestation) { a.Verdict, a.Until = protocol.AttestContraindicated, noon.Add(-time.Hour) }, Untrusted, "attestation-refused reviewed certificate-valid", end.Add(time.Second)},
		"at its end":                     {func(a *Attestation) { a.Until, a.HardwareBound = noon, true }, Reserved, "attestation-stale reviewed certificate-valid", end.Add(time.Second)},
		"of the certificate before":      {func(a *Attestation) { a.OtherKey, a.HardwareBound = true, true }, Reserved, "attestation-other-key reviewed certificate-valid", soon},
		"none, and none is expected":     {func(a *Attestation) { *a = Attestation{} }, Trusted, "reviewed certificate-valid", end.Add(time.Second)},
		"none, and some is expected":     {func(a *Attestation) { *a = Attestation{Expected: true} }, Reserved, "not-attested reviewed certificate-valid", end.Add(time.Second)},
		"longer than the certificate is": {func(a *Attestation) { a.Until = end.Add(time.Hour) }, Trusted, "reviewed certificate-valid attested", end.Add(time.Second)},
	} {
		f := Facts{State: "active", ReviewedBy: "alice", NotBefore: noon.Add(-time.Minute), NotAfter: end, Attestation: fresh}
		c.change(&f.Attestation)
		d := Decide(f, noon)
		var codes []string
		for _, r := range d.Reasons {
			codes = append(codes, r.Code)
			if r.Text == "" || r.Weight != For && r.Advice == "" {
				t.Errorf("%s: %s says neither what nor what to do: %+v", name, r.Code, r)
			}
		}
		if d.Verdict != c.want || strings.Join(codes, " ") != c.codes || !d.HoldsUntil.Equal(c.until) {
			t.Errorf("%s: %s for %v until %v, want %s for %s until %v", name, d.Verdict, codes, d.HoldsUntil, c.want, c.codes, c.until)
		}
	}
}

func rank(w Weight) int { return slices.Index([]Weight{Against, Reserve, For}, w) }

// A device is trusted only if nothing speaks against it: the verdict over every
// combination of facts.
func TestNothingThatSpeaksAgainstADeviceIsOutweighed(t *testing.T) {
	t.Parallel()
	times := []time.Time{{}, noon.Add(-time.Hour), noon, noon.Add(time.Hour)}
	for _, state := range []string{"active", "suspended", "revoked", "retired", ""} {
		for _, held := range []string{"", "x"} {
			for _, reviewer := range []string{"", "alice"} {
				for flags := range 4 {
					for _, notBefore := range times {
						for _, notAfter := range times {
							f := Facts{State: state, HeldReason: held, ReviewedBy: reviewer, FirstUse: flags&1 != 0, Revoked: flags&2 != 0, NotBefore: notBefore, NotAfter: notAfter}
							sound := state == "active" && held == "" && !f.Revoked && !notAfter.IsZero() && !noon.Before(notBefore) && !noon.After(notAfter)
							want := Untrusted
							switch {
							case sound && (reviewer == "" || f.FirstUse):
								want = Reserved
							case sound:
								want = Trusted
							}
							if got := Decide(f, noon); got.Verdict != want {
								t.Fatalf("%+v: %s, want %s", f, got.Verdict, want)
							}
						}
					}
				}
			}
		}
	}
}
