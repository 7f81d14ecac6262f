package signing

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestABundleIsBelievedWithinItsTimeAndVersion(t *testing.T) {
	t.Parallel()
	f := newFleet(1, 2)
	pinned := f.pinned()
	env := must(SignBundle(t.Context(), f.bundle(pinned, 7), f.policy...))
	for name, test := range map[string]struct {
		now       time.Time
		highWater int64
		want      error
	}{
		"at its issue":               {testNow, 0, nil},
		"five minutes before":        {testNow.Add(-ClockSkew), 0, nil},
		"more than that before":      {testNow.Add(-ClockSkew - time.Microsecond), 0, ErrNotYetValid},
		"just before its end":        {testNow.Add(MaxBundleLife - time.Microsecond), 0, nil},
		"at its end":                 {testNow.Add(MaxBundleLife), 0, ErrExpired},
		"a year later":               {testNow.AddDate(1, 0, 0), 0, ErrExpired},
		"again":                      {testNow, 7, nil},
		"after a newer one":          {testNow, 8, ErrRollback},
		"expired after a newer one":  {testNow.AddDate(1, 0, 0), 8, ErrRollback},
		"in the zone of the device ": {testNow.In(time.FixedZone("x", -3600)), 7, nil},
	} {
		b, err := VerifyBundle(env, pinned, test.now, test.highWater)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
		// What only time is against comes back.
		if (b != nil) != (test.want == nil || test.want == ErrExpired || test.want == ErrNotYetValid) {
			t.Errorf("%s: bundle %v", name, b)
		}
	}
	b := must(VerifyBundle(env, pinned, testNow, 0))
	if rule, ok := b.Rule("run-script"); !ok || rule.Approvals != 2 || rule.Limits["max_seconds"] != 60 {
		t.Errorf("%+v", rule)
	}
	if _, ok := b.Rule("format-disk"); ok {
		t.Error("a kind that is not named is allowed")
	}
}

func TestABundleOfOthersIsNotBelieved(t *testing.T) {
	t.Parallel()
	f, other := newFleet(1, 2), newFleet(1, 1)
	pinned := f.pinned()
	change := func(change func(*PolicyBundle)) PolicyBundle { b := f.bundle(pinned, 1); change(&b); return b }
	recorded := func(s Signer) Key { return must(NewKey(PurposeCommand, must(s.Key().public()))) }
	for name, test := range map[string]struct {
		env  *Envelope
		want error
	}{
		"one signature of two":       {must(SignBundle(t.Context(), f.bundle(pinned, 1), f.policy[0])), ErrThreshold},
		"another fleet's signatures": {must(SignBundle(t.Context(), f.bundle(pinned, 1), other.policy...)), ErrThreshold},
		"another fleet":              {sign(PurposePolicyBundle, change(func(b *PolicyBundle) { b.FleetID = otherFleet }), f.policy...), ErrFleet},
		"another root":               {sign(PurposePolicyBundle, change(func(b *PolicyBundle) { b.RootDigest = other.pinned().Digest }), f.policy...), ErrRootDigest},
		"a root that is not there":   {sign(PurposePolicyBundle, change(func(b *PolicyBundle) { b.RootDigest = "" }), f.policy...), ErrRule},
		"signed by root keys":        {&Envelope{PurposePolicyBundle.PayloadType(), must(json.Marshal(f.bundle(pinned, 1))), sign(PurposeFleetRoot, f.bundle(pinned, 1), f.root...).Signatures}, ErrThreshold},
		"a fleet root":               {must(SignFleetRoot(t.Context(), f.document(1), f.root...)), ErrPurpose},
		"a fleet root, as a bundle":  {sign(PurposePolicyBundle, f.document(1), f.policy...), ErrMalformed},
		"a policy key that commands": {must(SignBundle(t.Context(), change(func(b *PolicyBundle) { b.CommandKeys = append(b.CommandKeys, recorded(f.policy[0])) }), f.policy...)), ErrRule},
		"a root key that commands":   {must(SignBundle(t.Context(), change(func(b *PolicyBundle) { b.CommandKeys = []Key{recorded(f.root[0])} }), f.policy...)), ErrRule},
	} {
		if b, err := VerifyBundle(test.env, pinned, testNow, 0); !errors.Is(err, test.want) || b != nil {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestABundleOutlivesAChangeOfRootIfItsKeysDo(t *testing.T) {
	t.Parallel()
	f := newFleet(1, 1)
	one := f.pinned()
	underOne := must(SignBundle(t.Context(), f.bundle(one, 1), f.policy...))
	two := must(one.Advance(must(SignFleetRoot(t.Context(), f.document(2), f.root...))))
	if _, err := VerifyBundle(underOne, two, testNow, 0); err != nil {
		t.Errorf("made under version 1, judged under 2: %v", err)
	}
	if _, err := VerifyBundle(must(SignBundle(t.Context(), f.bundle(two, 1), f.policy...)), one, testNow, 0); !errors.Is(err, ErrRootDigest) {
		t.Errorf("made under version 2, judged under 1: %v", err)
	}
	replaced := fleet{f.root, newSigners(PurposePolicyBundle, 1), f.command}
	three := must(two.Advance(must(SignFleetRoot(t.Context(), replaced.document(3), f.root...))))
	if _, err := VerifyBundle(underOne, three, testNow, 0); !errors.Is(err, ErrThreshold) {
		t.Errorf("by a policy key that was replaced: %v", err)
	}
}

func TestABundleThatBreaksARuleIsNeitherSignedNorBelieved(t *testing.T) {
	t.Parallel()
	f := newFleet(1, 1)
	pinned := f.pinned()
	kinds := func(k ...KindRule) func(*PolicyBundle) { return func(b *PolicyBundle) { b.Kinds = k } }
	var many []KindRule
	limits := map[string]int64{}
	for i := range maxKinds + 1 {
		many = append(many, KindRule{Kind: fmt.Sprintf("kind-%d", i), Approvals: 1})
		limits[fmt.Sprintf("limit_%d", i)] = 1
	}
	for name, change := range map[string]func(*PolicyBundle){
		"no fleet":                    func(b *PolicyBundle) { b.FleetID = "" },
		"half a root digest":          func(b *PolicyBundle) { b.RootDigest = b.RootDigest[:32] },
		"version 0":                   func(b *PolicyBundle) { b.Version = 0 },
		"version 2^53":                func(b *PolicyBundle) { b.Version = 1 << 53 },
		"no issue":                    func(b *PolicyBundle) { b.IssuedAt = time.Time{} },
		"no end":                      func(b *PolicyBundle) { b.ExpiresAt = time.Time{} },
		"an end at its issue":         func(b *PolicyBundle) { b.ExpiresAt = b.IssuedAt },
		"an end before its issue":     func(b *PolicyBundle) { b.ExpiresAt = b.IssuedAt.Add(-time.Hour) },
		"more than thirty days":       func(b *PolicyBundle) { b.ExpiresAt = b.ExpiresAt.Add(time.Microsecond) },
		"no command key":              func(b *PolicyBundle) { b.CommandKeys = nil },
		"a command key twice":         func(b *PolicyBundle) { b.CommandKeys = slices.Repeat(b.CommandKeys, 2) },
		"a result key":                func(b *PolicyBundle) { b.CommandKeys = keysOf(newSigner(PurposeResult)) },
		"too many command keys":       func(b *PolicyBundle) { b.CommandKeys = keysOf(newSigners(PurposeCommand, maxCommandKeys+1)...) },
		"no list of kinds":            func(b *PolicyBundle) { b.Kinds = nil },
		"a kind without a name":       kinds(KindRule{Approvals: 1}),
		"a kind in upper case":        kinds(KindRule{Kind: "Ping", Approvals: 1}),
		"a kind that ends in '-'":     kinds(KindRule{Kind: "ping-", Approvals: 1}),
		"a kind with a space":         kinds(KindRule{Kind: "run script", Approvals: 1}),
		"a kind that is too long":     kinds(KindRule{Kind: strings.Repeat("a", maxName+1), Approvals: 1}),
		"a kind twice":                kinds(KindRule{Kind: "ping"}, KindRule{Kind: "ping", Approvals: 1}),
		"approvals below 0":           kinds(KindRule{Kind: "ping", Approvals: -1}),
		"approvals beyond reach":      kinds(KindRule{Kind: "ping", Approvals: maxApprovals + 1}),
		"a sensitive kind without":    kinds(KindRule{Kind: "run-script"}),
		"a limit without a name":      kinds(KindRule{Kind: "ping", Limits: map[string]int64{"": 1}}),
		"a limit past what JSON does": kinds(KindRule{Kind: "ping", Limits: map[string]int64{"a": 1 << 53}}),
		"too many limits":             kinds(KindRule{Kind: "ping", Limits: limits}),
		"too many kinds":              kinds(many...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := f.bundle(pinned, 1)
			change(&b)
			if _, err := SignBundle(t.Context(), b, f.policy...); !errors.Is(err, ErrRule) && !errors.Is(err, ErrKey) {
				t.Errorf("signed: %v", err)
			}
			if got, err := VerifyBundle(sign(PurposePolicyBundle, b, f.policy...), pinned, testNow, 0); err == nil || got != nil {
				t.Error("believed")
			}
		})
	}
	t.Run("a bundle that allows nothing is good", func(t *testing.T) {
		t.Parallel()
		b := f.bundle(pinned, 1)
		b.Kinds = []KindRule{}
		if _, err := VerifyBundle(must(SignBundle(t.Context(), b, f.policy...)), pinned, testNow, 0); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("and so is one with every kind that needs no approval", func(t *testing.T) {
		t.Parallel()
		b := f.bundle(pinned, 1)
		b.Kinds = nil
		for _, kind := range AlwaysAllowed {
			b.Kinds = append(b.Kinds, KindRule{Kind: kind})
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// The keys are fixed, since the fuzzer carries its seeds from one process to
// others.
func FuzzPolicyBundle(f *testing.F) {
	signer := func(p Purpose, n byte) Signer {
		return must(NewSigner(p, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32))))
	}
	fl := fleet{[]Signer{signer(PurposeFleetRoot, 1)}, []Signer{signer(PurposePolicyBundle, 2)}, []Signer{signer(PurposeCommand, 3)}}
	digest := Digest([]byte("root"))
	root := FleetRoot{FleetID: testFleet, Root: KeySet{keysOf(fl.root...), 1}, Policy: KeySet{keysOf(fl.policy...), 1}}
	pinned := &PinnedRoot{Root: root, Digest: digest, digests: []string{digest}}
	good := must(json.Marshal(fl.bundle(pinned, 1)))
	if _, err := VerifyBundle(mustSeal(PurposePolicyBundle, string(good), fl.policy...), pinned, testNow, 1); err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"type":"policy-bundle","kinds":[]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		env, err := Seal(context.Background(), PurposePolicyBundle, payload, fl.policy...)
		if err != nil {
			return
		}
		b, err := VerifyBundle(env, pinned, testNow, 1)
		if err != nil && !errors.Is(err, ErrExpired) {
			return
		}
		if b.Version < 1 || len(b.CommandKeys) == 0 || b.ExpiresAt.Sub(b.IssuedAt) > MaxBundleLife || !bytes.Equal(must(json.Marshal(b)), payload) {
			t.Fatalf("accepted %s", payload)
		}
	})
}
