package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// ATT-04: every ordered pair of purposes, in every way to dress one as another.
func TestWhatIsSignedForOnePurposeCountsForNoOther(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pairs := 0
	for _, p := range Purposes() {
		signer, private, err := GenerateEd25519(p)
		if err != nil {
			t.Fatal(err)
		}
		sealed := mustSeal(p, "{}", signer)
		for _, q := range Purposes() {
			if p == q {
				if _, _, err := sealed.Verify(p, []Key{signer.Key()}, 1); err != nil {
					t.Errorf("%s as itself: %v", p, err)
				}
				continue
			}
			pairs++
			asQ := must(NewKey(q, private.Public())) // the same key, recorded for both
			renamed := signer.Key()
			renamed.Purpose = q
			both := []Key{signer.Key(), asQ, renamed, {ID: asQ.ID, Purpose: q, Algorithm: asQ.Algorithm, Public: newSigner(q).Key().Public}}
			refuse := func(how string, e *Envelope, as Purpose, keys []Key) {
				if _, _, err := e.Verify(as, keys, 1); err == nil {
					t.Errorf("%s as %s by %s", p, q, how)
				}
			}
			for _, k := range both {
				refuse("the envelope as it is", sealed, q, []Key{k})
			}
			refuse("all records", sealed, q, both)

			typed := &Envelope{q.PayloadType(), sealed.Payload, sealed.Signatures}
			for _, k := range both {
				refuse("another payload type", typed, q, []Key{k})
			}
			typed.Signatures = []Signature{{asQ.ID, sealed.Signatures[0].Sig}}
			refuse("another payload type and keyid", typed, q, both)

			// The holder of a key for p signs bytes of q's type.
			overQ := must(signer.Sign(ctx, PAE(q.PayloadType(), []byte("{}"))))
			forged := &Envelope{q.PayloadType(), []byte("{}"), []Signature{{signer.Key().ID, overQ}}}
			refuse("signing the other type", forged, q, []Key{signer.Key(), renamed})
			refuse("signing the other type, believed as p", forged, p, []Key{signer.Key()})

			if _, err := Seal(ctx, q, []byte("{}"), signer); !errors.Is(err, ErrPurpose) {
				t.Errorf("sealing %s with a key of %s: %v", q, p, err)
			}
		}
	}
	if want := len(Purposes()) * (len(Purposes()) - 1); pairs != want || pairs < 90 {
		t.Fatalf("%d pairs, want %d", pairs, want)
	}
	if _, _, err := mustSeal(PurposeResult, "{}", newSigner(PurposeResult)).Verify("other", nil, 1); !errors.Is(err, ErrPurpose) {
		t.Error("a purpose that does not exist:", err)
	}
}

// UPD-09
func TestAThresholdCountsDistinctKeys(t *testing.T) {
	t.Parallel()
	s := newSigners(PurposePolicyBundle, 3)
	keys := keysOf(s...)
	two := mustSeal(PurposePolicyBundle, "{}", s[0], s[1])
	same := keys[0]
	same.ID = strings.Repeat("0", 32) // the same key under another id
	twice := &Envelope{two.PayloadType, two.Payload, []Signature{two.Signatures[0], two.Signatures[0]}}
	alias := &Envelope{two.PayloadType, two.Payload, []Signature{two.Signatures[0], {same.ID, two.Signatures[0].Sig}}}
	stranger := mustSeal(PurposePolicyBundle, "{}", s[0], newSigner(PurposePolicyBundle))
	spoilt := &Envelope{two.PayloadType, two.Payload, slices.Clone(two.Signatures)}
	spoilt.Signatures[1].Sig = bytes.Clone(two.Signatures[1].Sig)
	spoilt.Signatures[1].Sig[0] ^= 1
	exchanged := &Envelope{two.PayloadType, two.Payload, []Signature{{keys[0].ID, two.Signatures[1].Sig}, {keys[1].ID, two.Signatures[0].Sig}}}
	unknownID := &Envelope{two.PayloadType, two.Payload, []Signature{{"x", two.Signatures[0].Sig}, {"y", two.Signatures[1].Sig}}}

	for name, test := range map[string]struct {
		e         *Envelope
		keys      []Key
		threshold int
		want      error
	}{
		"two of three":                          {two, keys, 2, nil},
		"one of three":                          {two, keys, 1, nil},
		"a key listed twice counts once":        {two, []Key{keys[0], keys[0], keys[0]}, 2, ErrThreshold},
		"three of three":                        {two, keys, 3, ErrThreshold},
		"threshold 0":                           {two, keys, 0, ErrThreshold},
		"threshold -1":                          {two, keys, -1, ErrThreshold},
		"no keys":                               {two, nil, 1, ErrThreshold},
		"a signature twice":                     {twice, keys, 2, ErrMalformed},
		"a signature twice, threshold 1":        {twice, keys, 1, ErrMalformed},
		"one key under two ids":                 {alias, []Key{keys[0], same}, 2, ErrKey},
		"a stranger's signature":                {stranger, keys, 2, ErrThreshold},
		"a stranger's beside one that counts":   {stranger, keys, 1, nil},
		"a signature that is spoilt":            {spoilt, keys, 2, ErrSignature},
		"a spoilt one, though enough would be":  {spoilt, keys, 1, ErrSignature},
		"signatures exchanged":                  {exchanged, keys, 1, ErrSignature},
		"good signatures under unknown ids":     {unknownID, keys, 1, ErrThreshold},
		"a record with another key's id":        {two, []Key{{keys[0].ID, keys[0].Purpose, keys[0].Algorithm, keys[2].Public}}, 1, ErrKey},
		"a record with another algorithm":       {two, []Key{{keys[0].ID, keys[0].Purpose, ECDSAP256, keys[0].Public}}, 1, ErrKey},
		"an envelope without signatures":        {&Envelope{two.PayloadType, two.Payload, nil}, keys, 1, ErrMalformed},
		"an envelope of another payload":        {&Envelope{two.PayloadType, []byte("[]"), two.Signatures}, keys, 1, ErrSignature},
		"an envelope of another version's type": {&Envelope{strings.Replace(two.PayloadType, "v1", "v2", 1), two.Payload, two.Signatures}, keys, 1, ErrPurpose},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payload, who, err := test.e.Verify(PurposePolicyBundle, test.keys, test.threshold)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if good := test.want == nil; (payload != nil) != good || (len(who) > 0) != good {
				t.Fatalf("payload %q, signers %v", payload, who)
			}
		})
	}
}

func TestTheRecordFixesTheAlgorithm(t *testing.T) {
	t.Parallel()
	for want, s := range map[Algorithm]Signer{
		Ed25519:   newSigner(PurposeResult),
		ECDSAP256: ecdsaSigner(PurposeResult, elliptic.P256()),
		ECDSAP384: ecdsaSigner(PurposeResult, elliptic.P384()),
	} {
		k := s.Key()
		if k.Algorithm != want || k.Check() != nil || len(k.ID) != 32 {
			t.Fatalf("%+v", k)
		}
		pae := PAE("t", []byte("p"))
		sig := must(s.Sign(t.Context(), pae))
		if err := k.Verify(pae, sig); err != nil {
			t.Error(want, err)
		}
		for name, bad := range map[string][]byte{"empty": nil, "cut": sig[:len(sig)-1], "a byte behind": append(bytes.Clone(sig), 0), "zeros": make([]byte, len(sig)), "doubled": append(bytes.Clone(sig), sig...)} {
			if err := k.Verify(pae, bad); !errors.Is(err, ErrSignature) {
				t.Errorf("%s, %s signature: %v", want, name, err)
			}
		}
		for name, change := range map[string]func(*Key){
			"id":              func(k *Key) { k.ID = strings.ToUpper(k.ID) + "A" },
			"no id":           func(k *Key) { k.ID = "" },
			"purpose":         func(k *Key) { k.Purpose = PurposeCommand },
			"unknown purpose": func(k *Key) { k.Purpose = "any" },
			"no purpose":      func(k *Key) { k.Purpose = "" },
			"algorithm":       func(k *Key) { k.Algorithm = "none" },
			"no algorithm":    func(k *Key) { k.Algorithm = "" },
			"another's algorithm": func(k *Key) {
				k.Algorithm = map[Algorithm]Algorithm{Ed25519: ECDSAP256, ECDSAP256: ECDSAP384, ECDSAP384: Ed25519}[k.Algorithm]
			},
			"no key":        func(k *Key) { k.Public = nil },
			"a byte behind": func(k *Key) { k.Public = append(bytes.Clone(k.Public), 0) },
			"an element within": func(k *Key) { // which x509 passes over
				k.Public = append(bytes.Clone(k.Public), 5, 0)
				k.Public[1] += 2
			},
			"a key that is junk":   func(k *Key) { k.Public = []byte("junk") },
			"a key that is long":   func(k *Key) { k.Public = make([]byte, 1<<16) },
			"a certificate as key": func(k *Key) { k.Public, _ = testCAs() },
		} {
			bad := k
			change(&bad)
			if err := bad.Check(); !errors.Is(err, ErrKey) {
				t.Errorf("%s, other %s: %v", want, name, err)
			}
			if err := bad.Verify(pae, sig); !errors.Is(err, ErrKey) {
				t.Errorf("%s, other %s, verified: %v", want, name, err)
			}
		}
	}
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	p521 := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	for name, pub := range map[string]crypto.PublicKey{"RSA": rsaKey.Public(), "P-521": p521.Public(), "small order": ed25519.PublicKey(make([]byte, 32)), "nothing": nil} {
		if _, err := NewKey(PurposeResult, pub); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Computed by another implementation, so that ids and signed bytes never change
// unseen: a key from 32 bytes of 7, signing {} as a command.
func TestKeyIDsAndSignaturesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	const (
		wantID  = "e445ef9d6b6704005bc48aa344e0571e"
		wantSig = "fb3fcbd8d7d3ae3254e4000d3be6190e55d64ed43c94d75e3c75505dd5e70b73" +
			"41eb1bce656f6058500cc532c6291744ded8bbc05e3095e16f8dd7e2c1f63205"
	)
	s := must(NewSigner(PurposeCommand, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))))
	if s.Key().ID != wantID {
		t.Errorf("id %s", s.Key().ID)
	}
	e := mustSeal(PurposeCommand, "{}", s)
	if e.PayloadType != "application/vnd.sentinel-secure-x.command.v1+json" {
		t.Error(e.PayloadType)
	}
	if got := hex.EncodeToString(e.Signatures[0].Sig); got != wantSig {
		t.Errorf("signature %s", got)
	}
}

// liar is a signer that returns what it likes.
type liar struct {
	public crypto.PublicKey
	sig    []byte
	err    error
}

func (l liar) Public() crypto.PublicKey { return l.public }
func (l liar) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return l.sig, l.err
}

type remote struct {
	Signer
	sig []byte
}

func (r remote) Sign(context.Context, []byte) ([]byte, error) { return r.sig, nil }

func TestASignerIsNotTakenAtItsWord(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	faulty := must(NewSigner(PurposeResult, liar{public: private.Public(), sig: make([]byte, 64)}))
	if _, err := Seal(t.Context(), PurposeResult, []byte("{}"), faulty); !errors.Is(err, ErrSignature) {
		t.Errorf("a false signature: %v", err)
	}
	broken := must(NewSigner(PurposeResult, liar{public: private.Public(), err: io.ErrUnexpectedEOF}))
	if _, err := broken.Sign(t.Context(), []byte("x")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a signer that fails: %v", err)
	}
	if _, err := NewSigner(PurposeResult, liar{public: "key"}); !errors.Is(err, ErrKey) {
		t.Errorf("a signer without a key: %v", err)
	}
	s := newSigner(PurposeResult)
	if _, err := Seal(t.Context(), PurposeResult, []byte("{}"), remote{s, make([]byte, 64)}); !errors.Is(err, ErrSignature) {
		t.Errorf("sealed with a false signature: %v", err)
	}
	if _, err := Seal(t.Context(), PurposeResult, []byte("{}"), s, s); !errors.Is(err, ErrMalformed) {
		t.Errorf("sealed twice by one key: %v", err)
	}
	if _, err := Seal(t.Context(), PurposeResult, []byte("{}")); !errors.Is(err, ErrMalformed) {
		t.Errorf("sealed by nobody: %v", err)
	}
	if _, err := Seal(t.Context(), PurposeResult, make([]byte, MaxEnvelope-100), s); !errors.Is(err, ErrMalformed) {
		t.Errorf("sealed more than an envelope takes: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Seal(ctx, PurposeResult, []byte("{}"), s); !errors.Is(err, context.Canceled) {
		t.Errorf("sealed after the end: %v", err)
	}
}

func TestSignaturesHaveOneEncoding(t *testing.T) {
	t.Parallel()
	pae := PAE("t", []byte("p"))
	t.Run("Ed25519 with S above the group order", func(t *testing.T) {
		t.Parallel()
		s := newSigner(PurposeResult)
		sig := must(s.Sign(t.Context(), pae))
		order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		half := bytes.Clone(sig[32:])
		slices.Reverse(half)
		sum := new(big.Int).Add(new(big.Int).SetBytes(half), order).FillBytes(make([]byte, 32))
		slices.Reverse(sum)
		if err := s.Key().Verify(pae, append(bytes.Clone(sig[:32]), sum...)); !errors.Is(err, ErrSignature) {
			t.Fatal(err)
		}
	})
	t.Run("ECDSA in BER", func(t *testing.T) {
		t.Parallel()
		s := ecdsaSigner(PurposeResult, elliptic.P256())
		sig := must(s.Sign(t.Context(), pae))
		long := append([]byte{0x30, 0x81}, sig[1:]...)
		padded := append([]byte{0x30, sig[1] + 1, 2, sig[3] + 1, 0}, sig[4:]...)
		for _, bad := range [][]byte{long, padded} {
			if err := s.Key().Verify(pae, bad); !errors.Is(err, ErrSignature) {
				t.Fatal(err)
			}
		}
	})
}
