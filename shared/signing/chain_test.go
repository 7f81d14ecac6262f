package signing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// sign seals a root whatever it says, for what SignFleetRoot refuses to sign.
func sign(p Purpose, document any, signers ...Signer) *Envelope {
	payload := must(json.Marshal(document))
	return must(Seal(context.Background(), p, payload, signers...))
}

func TestAFirstRootIsBelievedByItsDigestOrOnFirstUse(t *testing.T) {
	t.Parallel()
	f := newFleet(2, 1)
	env := must(SignFleetRoot(t.Context(), f.document(1), f.root...))
	digest := Digest(env.Payload)
	for _, want := range []string{"", digest} {
		p, err := VerifyFirstRoot(env, want)
		if err != nil || p.Digest != digest || p.Root.FleetID != testFleet || len(p.Envelopes) != 1 || !p.Includes(digest) {
			t.Fatal(p, err)
		}
	}
	other := newFleet(1, 1)
	later := sign(PurposeFleetRoot, f.document(2), f.root...)
	for name, test := range map[string]struct {
		env    *Envelope
		digest string
		want   error
	}{
		"another digest":         {env, strings.Repeat("0", 64), ErrRootDigest},
		"a digest in upper case": {env, strings.ToUpper(digest), ErrRootDigest},
		"half a digest":          {env, digest[:32], ErrRootDigest},
		"version 2":              {later, "", ErrGap},
		"one signature of two":   {must(SignFleetRoot(t.Context(), f.document(1), f.root[0])), "", ErrThreshold},
		"another's signatures":   {must(SignFleetRoot(t.Context(), f.document(1), other.root...)), "", ErrThreshold},
		"signed as something":    {sign(PurposeResult, f.document(1), newSigner(PurposeResult)), "", ErrPurpose},
		"no document":            {mustSeal(PurposeFleetRoot, "x", f.root...), "", ErrMalformed},
		"an empty document":      {mustSeal(PurposeFleetRoot, "{}", f.root...), "", ErrMalformed},
	} {
		if p, err := VerifyFirstRoot(test.env, test.digest); !errors.Is(err, test.want) || p != nil {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestOnlyTheNextRootOfTheSameFleetFollows(t *testing.T) {
	t.Parallel()
	f, g := newFleet(2, 1), newFleet(2, 2)
	one := f.pinned()
	both := slices.Concat(f.root, g.root)
	second := g.document(2)
	env := must(SignFleetRoot(t.Context(), second, both...))
	two, err := one.Advance(env)
	if err != nil {
		t.Fatal(err)
	}
	if two.Root.Version != 2 || len(two.Envelopes) != 2 || !two.Includes(one.Digest) || !two.Includes(two.Digest) || len(one.Envelopes) != 1 || one.Includes(two.Digest) {
		t.Fatal("the chain is not longer by one, or the old one changed")
	}
	change := func(from FleetRoot, change func(*FleetRoot)) FleetRoot { change(&from); return from }
	for name, test := range map[string]struct {
		env  *Envelope
		want error
	}{
		"without the old keys":      {must(SignFleetRoot(t.Context(), second, g.root...)), ErrThreshold},
		"with one of the old keys":  {must(SignFleetRoot(t.Context(), second, append(g.root, f.root[0])...)), ErrThreshold},
		"without the new keys":      {must(SignFleetRoot(t.Context(), second, f.root...)), ErrThreshold},
		"with one of the new keys":  {must(SignFleetRoot(t.Context(), second, append(f.root, g.root[0])...)), ErrThreshold},
		"version 3":                 {sign(PurposeFleetRoot, g.document(3), both...), ErrGap},
		"version 1 again":           {sign(PurposeFleetRoot, g.document(1), both...), ErrRollback},
		"the first itself":          {must(SignFleetRoot(t.Context(), f.document(1), f.root...)), ErrRollback},
		"a version near overflow":   {sign(PurposeFleetRoot, g.document(1<<53-1), both...), ErrGap},
		"a version past the limit":  {sign(PurposeFleetRoot, g.document(1<<53), both...), ErrRule},
		"another fleet":             {sign(PurposeFleetRoot, change(second, func(r *FleetRoot) { r.FleetID = otherFleet }), both...), ErrFleet},
		"issued before the first":   {sign(PurposeFleetRoot, change(second, func(r *FleetRoot) { r.IssuedAt = r.IssuedAt.Add(-time.Microsecond) }), both...), ErrRollback},
		"a threshold beyond reach":  {sign(PurposeFleetRoot, change(second, func(r *FleetRoot) { r.Root.Threshold = 3 }), both...), ErrRule},
		"a bundle":                  {must(SignBundle(t.Context(), f.bundle(one, 1), f.policy...)), ErrPurpose},
		"signed by the policy keys": {&Envelope{env.PayloadType, env.Payload, sign(PurposePolicyBundle, second, f.policy...).Signatures}, ErrThreshold},
	} {
		if p, err := one.Advance(test.env); !errors.Is(err, test.want) || p != nil {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
	t.Run("and no older one after it", func(t *testing.T) {
		t.Parallel()
		for name, env := range map[string]*Envelope{"the same": env, "the first": must(SignFleetRoot(t.Context(), f.document(1), both...))} {
			if _, err := two.Advance(env); !errors.Is(err, ErrRollback) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAChainIsVerifiedFromItsBeginning(t *testing.T) {
	t.Parallel()
	f := newFleet(1, 1)
	chain := func(n int) (list [][]byte) {
		for v := range n {
			list = append(list, must(must(SignFleetRoot(context.Background(), f.document(int64(v+1)), f.root...)).Marshal()))
		}
		return list
	}
	full := chain(MaxRootChain)
	p, err := VerifyRootChain(full, "")
	if err != nil || p.Root.Version != MaxRootChain || len(p.Envelopes) != MaxRootChain || !bytes.Equal(p.Envelopes[5], full[5]) {
		t.Fatal(err)
	}
	again, err := VerifyRootChain(p.Envelopes, Digest(must(ParseEnvelope(full[0])).Payload))
	if err != nil || again.Digest != p.Digest {
		t.Fatal(err)
	}
	if _, err := p.Advance(must(SignFleetRoot(t.Context(), f.document(MaxRootChain+1), f.root...))); !errors.Is(err, ErrRule) {
		t.Errorf("one beyond the longest: %v", err)
	}
	other := newFleet(1, 1)
	stranger := must(must(SignFleetRoot(t.Context(), other.document(2), other.root...)).Marshal())
	for name, test := range map[string]struct {
		list [][]byte
		want error
	}{
		"nothing":               {nil, ErrMalformed},
		"too many":              {append(slices.Clone(full), full[0]), ErrMalformed},
		"junk":                  {[][]byte{[]byte("x")}, ErrMalformed},
		"without its beginning": {full[1:3], ErrGap},
		"with a gap":            {[][]byte{full[0], full[2]}, ErrGap},
		"backwards":             {[][]byte{full[0], full[1], full[0]}, ErrRollback},
		"the same twice":        {[][]byte{full[0], full[0]}, ErrRollback},
		"another's second":      {[][]byte{full[0], stranger}, ErrThreshold},
	} {
		if _, err := VerifyRootChain(test.list, ""); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
	if _, err := VerifyRootChain(full[:2], p.Digest); !errors.Is(err, ErrRootDigest) {
		t.Errorf("pinned otherwise: %v", err)
	}
}

func FuzzFleetRoot(f *testing.F) {
	fl := newFleet(2, 1)
	f.Add(must(json.Marshal(fl.document(1))))
	f.Add([]byte(`{"type":"fleet-root","version":1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		env := &Envelope{PurposeFleetRoot.PayloadType(), payload, []Signature{{"k", []byte("s")}}}
		r, err := readRoot(env)
		if err != nil {
			return
		}
		if r.Root.Threshold < 1 || r.Policy.Threshold < 1 || r.Version < 1 || !bytes.Equal(must(json.Marshal(r)), payload) {
			t.Fatalf("accepted %s", payload)
		}
		if _, err := VerifyFirstRoot(env, ""); err == nil {
			t.Fatal("accepted without a signature")
		}
	})
}
