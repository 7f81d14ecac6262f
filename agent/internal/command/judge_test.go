package command

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func TestACommandIsDoneOnlyIfEverythingAllowsIt(t *testing.T) {
	t.Parallel()
	const otherEnrollment = "0198c1f0-aaaa-7cc2-8a5d-0a4f6f1c2b3d"
	older := journal.Mark{Version: 2, Digest: signing.Digest([]byte("an older bundle"))}
	many := func(targets ...signing.Target) []signing.Target {
		for n := range 20 {
			targets = append(targets, signing.Target{DeviceID: "other-" + string(rune('a'+n)), EnrollmentID: otherEnrollment})
		}
		return targets
	}
	self := signing.Target{DeviceID: "edge-1", EnrollmentID: enrollment}
	for name, c := range map[string]struct {
		change  func(*signing.CommandStatement)
		fleet   func(t *testing.T, f *fleet)                // before it is signed
		deliver func(f *fleet, d *protocol.CommandDelivery) // after
		device  func(*Device)
		past    Past
		want    Reason
	}{
		"a ping":                        {},
		"at the moment before its end":  {device: func(d *Device) { d.Now = day.Add(time.Hour - time.Microsecond) }},
		"a little before its beginning": {device: func(d *Device) { d.Now = day.Add(-signing.ClockSkew) }},
		"with parameters within the limits": {change: func(s *signing.CommandStatement) {
			s.Parameters = map[string]signing.Parameter{"echo": signing.Text("$(reboot); `id` | 'rm' %PATH%")}
		}},
		"under a bundle of before": {
			change: func(s *signing.CommandStatement) { s.PolicyVersion, s.PolicyDigest = older.Version, older.Digest },
			device: func(d *Device) { d.Before = []journal.Mark{older} },
		},
		"after the bundle expired, of the kinds that are left": {
			change: func(s *signing.CommandStatement) {
				s.NotBefore, s.NotAfter = day.Add(31*24*time.Hour), day.Add(32*24*time.Hour)
			},
			device: func(d *Device) { d.Now = day.Add(31 * 24 * time.Hour) },
		},
		"as the last one of the hour": {past: Past{Begun: func(string, time.Time) int { return 59 }}},

		"garbage": {deliver: func(_ *fleet, d *protocol.CommandDelivery) { d.Statement = json.RawMessage("{}") }, want: Malformed},
		"too long": {deliver: func(_ *fleet, d *protocol.CommandDelivery) {
			d.Statement = json.RawMessage(strings.Repeat("x", protocol.MaxStatement+1))
		}, want: Malformed},
		"nothing":                     {deliver: func(_ *fleet, d *protocol.CommandDelivery) { d.Statement = nil }, want: Malformed},
		"a proof that is none":        {deliver: func(_ *fleet, d *protocol.CommandDelivery) { d.Proof = json.RawMessage(`{"x":1}`) }, want: Malformed},
		"by the key of another fleet": {fleet: func(t *testing.T, f *fleet) { f.Commander = agenttest.Signer(t, signing.PurposeCommand) }, want: UnknownSigner},
		"a bundle in its place":       {deliver: func(f *fleet, d *protocol.CommandDelivery) { d.Statement, _ = f.BundleWith(t, f.root.Digest, 9, nil) }, want: UnknownSigner},
		"changed after signing":       {deliver: func(_ *fleet, d *protocol.CommandDelivery) { d.Statement = changed(t, d.Statement) }, want: BadSignature},
		"by a key that the bundle in force has dropped": {fleet: func(t *testing.T, f *fleet) {
			f.put(t, 4, func(b *signing.PolicyBundle) {
				b.CommandKeys = []signing.Key{agenttest.Signer(t, signing.PurposeCommand).Key()}
			})
		}, want: UnknownSigner},
		"while the bundle is void": {device: func(d *Device) { d.Void = true }, want: PolicyVoid},

		"under another id":                       {deliver: func(_ *fleet, d *protocol.CommandDelivery) { d.ActionID = id(77) }, want: OtherAction},
		"of another fleet":                       {change: func(s *signing.CommandStatement) { s.FleetID = otherEnrollment }, want: OtherFleet},
		"under another root":                     {change: func(s *signing.CommandStatement) { s.RootDigest = signing.Digest(nil) }, want: UnknownRoot},
		"under a bundle that was never in force": {change: func(s *signing.CommandStatement) { s.PolicyVersion, s.PolicyDigest = older.Version, older.Digest }, want: UnknownPolicy},
		"under a bundle with another version":    {change: func(s *signing.CommandStatement) { s.PolicyVersion++ }, want: UnknownPolicy},

		"for another device": {change: func(s *signing.CommandStatement) {
			s.Targets = signing.NewTargets([]signing.Target{{DeviceID: "edge-2", EnrollmentID: enrollment}})
		}, want: NotATarget},
		"for this device before it enrolled": {change: func(s *signing.CommandStatement) {
			s.Targets = signing.NewTargets([]signing.Target{{DeviceID: "edge-1", EnrollmentID: otherEnrollment}})
		}, want: NotATarget},
		"for many without a proof": {change: func(s *signing.CommandStatement) { s.Targets = signing.NewTargets(many(self)) }, want: NotATarget},
		"for many others, with their proof": {
			change:  func(s *signing.CommandStatement) { s.Targets = signing.NewTargets(many()) },
			deliver: func(_ *fleet, d *protocol.CommandDelivery) { d.Proof = proof(t, many(), 3) }, want: NotATarget,
		},
		"for many, with a proof": {
			change:  func(s *signing.CommandStatement) { s.Targets = signing.NewTargets(many(self)) },
			deliver: func(_ *fleet, d *protocol.CommandDelivery) { d.Proof = proof(t, many(self), 0) },
		},

		"long before its beginning": {device: func(d *Device) { d.Now = day.Add(-signing.ClockSkew - time.Microsecond) }, want: NotYetValid},
		"at its end":                {device: func(d *Device) { d.Now = day.Add(time.Hour) }, want: Expired},
		"90 days later":             {device: func(d *Device) { d.Now = day.AddDate(0, 0, 90) }, want: Expired},

		"of a kind without a rule": {fleet: func(t *testing.T, f *fleet) {
			f.put(t, 4, func(b *signing.PolicyBundle) { b.Kinds = []signing.KindRule{{Kind: "collect-facts"}} })
		}, want: KindNotAllowed},
		"of a kind that is not known here": {
			change: func(s *signing.CommandStatement) { s.Kind = "run-script" },
			fleet: func(t *testing.T, f *fleet) {
				f.put(t, 4, func(b *signing.PolicyBundle) { b.Kinds = []signing.KindRule{{Kind: "run-script", Approvals: 1}} })
			}, want: KindNotAllowed,
		},
		"with a parameter of another kind": {change: func(s *signing.CommandStatement) {
			s.Parameters = map[string]signing.Parameter{"delay-seconds": signing.Number(1)}
		}, want: BadParameter},
		"with a parameter beyond the limit": {
			change: func(s *signing.CommandStatement) {
				s.Parameters = map[string]signing.Parameter{"echo": signing.Text("12345")}
			},
			fleet: func(t *testing.T, f *fleet) {
				f.put(t, 4, func(b *signing.PolicyBundle) {
					b.Kinds = []signing.KindRule{{Kind: "ping", Limits: map[string]int64{"echo": 4}}}
				})
			}, want: BadParameter,
		},
		"that needs an approval": {fleet: func(t *testing.T, f *fleet) {
			f.put(t, 4, func(b *signing.PolicyBundle) { b.Kinds = []signing.KindRule{{Kind: "ping", Approvals: 1}} })
		}, want: ApprovalsMissing},
		"after the bundle expired, without a rule": {
			fleet: func(t *testing.T, f *fleet) {
				f.put(t, 4, func(b *signing.PolicyBundle) { b.Kinds = []signing.KindRule{{Kind: "collect-facts"}} })
			},
			change: func(s *signing.CommandStatement) {
				s.NotBefore, s.NotAfter = day.Add(31*24*time.Hour), day.Add(32*24*time.Hour)
			},
			device: func(d *Device) { d.Now = day.Add(31 * 24 * time.Hour) }, want: KindNotAllowed,
		},
		"once too often":                     {past: Past{Begun: func(string, time.Time) int { return 60 }}, want: RateLimited},
		"made after what was lost":           {device: func(d *Device) { d.After = day.Add(-time.Microsecond) }},
		"made with the last that was lost":   {device: func(d *Device) { d.After = day }, want: JournalLost},
		"made before the last that was lost": {device: func(d *Device) { d.After, d.Now = day.Add(time.Hour), day.Add(2*time.Hour) }, want: JournalLost},
		"when nothing can be written down":   {past: Past{Begun: none.Begun, Full: true}, want: JournalFull},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			if c.fleet != nil {
				c.fleet(t, f)
			}
			s := f.statement(1, "ping")
			if c.change != nil {
				c.change(&s)
			}
			d := f.Deliver(t, s)
			if c.deliver != nil {
				c.deliver(f, &d)
			}
			device := f.device()
			if c.device != nil {
				c.device(&device)
			}
			past := c.past
			if past.Begun == nil {
				past = none
			}
			got, reason := Judge(d, device, past)
			if reason != c.want || reason == "" && (got == nil || got.ActionID != id(1)) {
				t.Errorf("%q, want %q (%+v)", reason, c.want, got)
			}
		})
	}
}

// An expired bundle leaves the kinds that are always allowed, and those only.
func TestALapsedBundleLeavesHarmlessKindsOnly(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.put(t, 4, func(b *signing.PolicyBundle) {
		b.Kinds = append(b.Kinds, signing.KindRule{Kind: "run-script", Approvals: 1})
	})
	d := f.device()
	d.Now = f.bundle.ExpiresAt
	for _, kind := range signing.AlwaysAllowed {
		if reason := d.judgeKind(new(f.statement(1, kind))); reason != "" {
			t.Errorf("%s: %q", kind, reason)
		}
	}
	if reason := d.judgeKind(new(f.statement(1, "run-script"))); reason != PolicyLapsed {
		t.Errorf("a kind that needs approvals: %q", reason)
	}
}

// CMD-02: in a fleet of ten, a command for one is done by that one.
func TestNoDeviceDoesWhatIsForAnother(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	name := func(n int) string { return "edge-" + string(rune('a'+n)) }
	for to := range 10 {
		s := f.statement(to, "ping")
		s.Targets = signing.NewTargets([]signing.Target{{DeviceID: name(to), EnrollmentID: enrollment}})
		delivery := f.Deliver(t, s)
		for at := range 10 {
			d := f.device()
			d.Target.DeviceID = name(at)
			if _, reason := Judge(delivery, d, none); (reason == "") != (at == to) {
				t.Errorf("for %s at %s: %q", name(to), name(at), reason)
			}
		}
	}
}

// CMD-09: whoever has the server, its database and every key in it but the policy
// key can have done what the bundle allows and nothing else.
func TestACommandKeyAloneAllowsNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.put(t, 4, func(b *signing.PolicyBundle) { b.Kinds = []signing.KindRule{} })
	stranger := agenttest.NewFleet(t, day) // makes bundles of its own
	forged, _ := stranger.BundleWith(t, f.root.Digest, 99, nil)
	env, err := signing.ParseEnvelope(forged)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signing.VerifyBundle(env, f.root, f.now, 4); err == nil {
		t.Fatal("a bundle by no policy key is believed")
	}
	for n, kind := range append(signing.Kinds(), "run-script", "install-update") {
		if _, reason := Judge(f.Deliver(t, f.statement(n, kind)), f.device(), none); reason != KindNotAllowed {
			t.Errorf("%s: %q", kind, reason)
		}
	}
}

func changed(t testing.TB, statement json.RawMessage) json.RawMessage {
	t.Helper()
	env, err := signing.ParseEnvelope(statement)
	if err != nil {
		t.Fatal(err)
	}
	env.Payload = []byte(strings.Replace(string(env.Payload), `"requester":"ada"`, `"requester":"bob"`, 1))
	data, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func proof(t testing.TB, targets []signing.Target, index int64) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(signing.ProofOf(signing.NewTargets(targets), signing.TargetTree(targets), index))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func FuzzJudge(f *testing.F) {
	fl := newFleet(f)
	good := fl.Deliver(f, fl.statement(1, "ping"))
	f.Add(good.ActionID, []byte(good.Statement), []byte(nil))
	f.Add(id(2), []byte(good.Statement), []byte(`{"index":0,"hashes":[]}`))
	f.Add("", []byte("{}"), []byte("{"))
	f.Fuzz(func(t *testing.T, action string, statement, proof []byte) {
		d := protocol.CommandDelivery{ActionID: action, Statement: statement, Proof: proof}
		c, reason := Judge(d, fl.device(), none)
		if reason == "" && (c == nil || action != good.ActionID || digestOf(statement) != digestOf(good.Statement)) {
			t.Fatalf("something that nobody signed is done: %q", statement)
		}
		digestOf(statement)
	})
}

// CMD-04: a device that lost its journal does not say of what it may have done that it
// refused it, even where the keys that it believes are others since.
func TestOnlyWhatCannotHaveBegunIsSaidToBeRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after  time.Duration // of the loss, against now; 0 for none
		reason Reason
		want   bool
	}{
		"lost":                            {-time.Hour, JournalLost, true},
		"another key is believed":         {-time.Hour, UnknownSigner, true},
		"no key is":                       {-time.Hour, PolicyVoid, true},
		"when none of them is valid":      {-signing.MaxCommandLife, UnknownSigner, false},
		"just before":                     {-signing.MaxCommandLife + time.Microsecond, UnknownSigner, true},
		"nothing was lost":                {0, UnknownSigner, false},
		"it is for another":               {-time.Hour, NotATarget, false},
		"it never was a statement at all": {-time.Hour, Malformed, false},
	} {
		d := Device{Now: day}
		if c.after != 0 {
			d.After = day.Add(c.after)
		}
		if got := d.mayHaveBegun(c.reason); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
