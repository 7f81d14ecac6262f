package evidence

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"slices"
	"testing"
)

func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// keyOf makes a key and its public area.
func keyOf(tb testing.TB, attributes uint32) (*ecdsa.PrivateKey, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return key, slices.Concat(head(attributes), sized(point[1:33]), sized(point[33:]))
}

// sign is a TPMT_SIGNATURE.
func sign(tb testing.TB, key *ecdsa.PrivateKey, attested []byte) []byte {
	tb.Helper()
	sum := sha256.Sum256(attested)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return slices.Concat([]byte{0, algECDSA, 0, algSHA256}, sized(r.Bytes()), sized(s.Bytes()))
}

func attest(tag uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, generated)
	b = binary.BigEndian.AppendUint16(b, tag)
	b = append(b, sized([]byte("signer"))...)
	b = append(b, sized(data)...)
	b = append(b, make([]byte, 8)...)
	b = append(b, 0, 0, 0, 5, 0, 0, 0, 0, 1)
	return append(b, make([]byte, 8)...)
}

func quote(data []byte) []byte {
	return slices.Concat(attest(tagQuote, data), []byte{0, 0, 0, 1, 0, algSHA256, 3, 0x81, 0, 0x80}, sized(make([]byte, 32)))
}

func certification(data, name []byte) []byte {
	return slices.Concat(attest(tagCertify, data), sized(name), sized([]byte("qualified")))
}

func TestAQuoteIsReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	good := quote([]byte("data"))
	q, err := ParseQuote(good)
	if err != nil || string(q.Data) != "data" || !slices.Equal(q.PCRs, []int{0, 7, 23}) || len(q.Digest) != 32 || q.Resets != 5 {
		t.Fatalf("%+v, %v", q, err)
	}
	for i := range good {
		if _, err := ParseQuote(good[:i]); err == nil {
			t.Errorf("cut at %d: accepted", i)
		}
	}
	if _, err := ParseQuote(append(bytes.Clone(good), 0)); err == nil { // ATT-06
		t.Error("a byte behind it: accepted")
	}
	at := len(attest(tagQuote, []byte("data")))
	for name, spoil := range map[string]func(b []byte){
		"not of a TPM":       func(b []byte) { b[0] = 0 },
		"a certification":    func(b []byte) { b[5] = 0x17 },
		"two selections":     func(b []byte) { b[at+3] = 2 },
		"of the SHA-1 bank":  func(b []byte) { b[at+5] = 4 },
		"of a long register": func(b []byte) { b[at+6] = 4 },
		"a short digest":     func(b []byte) { b[at+11] = 31 },
		"neither yes nor no": func(b []byte) { b[at-9] = 2 },
	} {
		b := bytes.Clone(good)
		spoil(b)
		if _, err := ParseQuote(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestACertificationIsReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	good := certification([]byte("data"), []byte("name"))
	c, err := ParseCertification(good)
	if err != nil || string(c.Data) != "data" || string(c.Name) != "name" {
		t.Fatalf("%+v, %v", c, err)
	}
	for i := range good {
		if _, err := ParseCertification(good[:i]); err == nil {
			t.Errorf("cut at %d: accepted", i)
		}
	}
	if _, err := ParseCertification(append(bytes.Clone(good), 0)); err == nil {
		t.Error("a byte behind it: accepted")
	}
	if _, err := ParseCertification(quote(nil)); err == nil {
		t.Error("a quote: accepted")
	}
}

func TestOnlyOneFormOfAKeyIsTaken(t *testing.T) {
	t.Parallel()
	key, area := keyOf(t, attestationKey)
	k, err := ParseAttestationKey(area)
	if err != nil || !k.Public.Equal(key.Public()) || len(k.Name) != 34 {
		t.Fatalf("%+v, %v", k, err)
	}
	if _, err := ParseDeviceKey(area); err == nil {
		t.Error("an attestation key counts as a device's")
	}
	_, other := keyOf(t, deviceKey)
	if _, err := ParseAttestationKey(other); err == nil {
		t.Error("a key that signs anything counts as an attestation key")
	}
	// ATT-03: every other algorithm, attribute and curve is another form.
	for i := range head(0) {
		for bit := range 8 {
			b := bytes.Clone(area)
			b[i] ^= 1 << bit
			if _, err := ParseAttestationKey(b); err == nil {
				t.Errorf("bit %d of byte %d turned: accepted", bit, i)
			}
		}
	}
	for name, b := range map[string][]byte{
		"the template": AttestationKeyArea(), "nothing": nil, "cut": area[:len(area)-1], "longer": append(bytes.Clone(area), 0),
		"off the curve": append(bytes.Clone(area[:len(area)-1]), area[len(area)-1]^1),
	} {
		if _, err := ParseAttestationKey(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// The bytes that TPMs of the wild print for this form.
	if got := hex.EncodeToString(AttestationKeyArea()); got != "0023000b00050472000000100018000b0003001000000000" {
		t.Errorf("the template is %s", got)
	}
}

func TestASignatureIsOfThisKeyOverThis(t *testing.T) {
	t.Parallel()
	private, area := keyOf(t, attestationKey)
	other, _ := keyOf(t, attestationKey)
	key, err := ParseAttestationKey(area)
	if err != nil {
		t.Fatal(err)
	}
	said := quote([]byte("data"))
	good := sign(t, private, said)
	if err := key.Verify(said, good); err != nil {
		t.Fatal(err)
	}
	sha1 := bytes.Clone(good)
	sha1[3] = 4
	for name, signature := range map[string][]byte{
		"another key's": sign(t, other, said), "over something else": sign(t, private, quote([]byte("datA"))), "nothing": nil,
		"with a byte behind it": append(bytes.Clone(good), 0), "of another hash": sha1, "zeroes": {0, algECDSA, 0, algSHA256, 0, 0, 0, 0},
		"RSA": append([]byte{0, 0x14}, good[2:]...),
	} {
		if key.Verify(said, signature) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWhatIsBoundIsBoundOnce(t *testing.T) {
	t.Parallel()
	seen := map[[32]byte]string{}
	for name, sum := range map[string][32]byte{
		"plain":         QuoteData([]byte("n"), "d", []byte("k")),
		"certify":       CertifyData([]byte("n"), "d", []byte("k")),
		"another nonce": QuoteData([]byte("m"), "d", []byte("k")),
		"another id":    QuoteData([]byte("n"), "e", []byte("k")),
		"another key":   QuoteData([]byte("n"), "d", []byte("l")),
		"moved":         QuoteData([]byte("nd"), "", []byte("k")),
		"moved on":      QuoteData([]byte("n"), "dk", nil),
	} {
		if other, ok := seen[sum]; ok {
			t.Errorf("%s is %s", name, other)
		}
		seen[sum] = name
	}
	// By another hand: printf 'sentinel-quote-v1\0\0\0\0\1n\0\0\0\1d\0\0\0\1k' | sha256sum
	if sum := QuoteData([]byte("n"), "d", []byte("k")); hex.EncodeToString(sum[:]) != "bb0386063bf2f4cc75e4ad4e0493866f6d68a4956c28261be9aa0f1e634aaeb2" {
		t.Errorf("%x", sum)
	}
}

func FuzzParseQuote(f *testing.F) {
	f.Add(quote([]byte("data")))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := ParseQuote(data)
		if err == nil && (len(q.Digest) != 32 || !slices.IsSorted(q.PCRs) || len(q.Data) > len(data)) {
			t.Fatalf("%+v", q)
		}
	})
}

func FuzzParseCertification(f *testing.F) {
	f.Add(certification([]byte("data"), []byte("name")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseCertification(data); err == nil && len(c.Data)+len(c.Name) > len(data) {
			t.Fatalf("%+v", c)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	_, a := keyOf(f, attestationKey)
	_, b := keyOf(f, deviceKey)
	f.Add(a)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, first := ParseAttestationKey(data)
		_, second := ParseDeviceKey(data)
		if first == nil && second == nil {
			t.Fatal("a key of two forms")
		}
	})
}

func FuzzVerify(f *testing.F) {
	private, area := keyOf(f, attestationKey)
	key, err := ParseAttestationKey(area)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("said"), sign(f, private, []byte("said")))
	f.Fuzz(func(t *testing.T, said, signature []byte) {
		if key.Verify(said, signature) == nil && string(said) != "said" {
			t.Fatal("forged")
		}
	})
}

// ATT-06: a coordinate or a number is no longer than it can be, though a byte more could
// be read as the one before it, or as a zero.
func TestANumberIsNoLongerThanItCanBe(t *testing.T) {
	t.Parallel()
	private, area := keyOf(t, attestationKey)
	key, err := ParseAttestationKey(area)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"the form of the point before x": slices.Concat(head(attestationKey), sized(point[:33]), sized(point[33:])),
		"the end of x before y":          slices.Concat(head(attestationKey), sized(point[1:33]), sized(point[32:])),
		"a zero before x":                slices.Concat(head(attestationKey), sized(append([]byte{0}, point[1:33]...)), sized(point[33:])),
	} {
		if _, err := ParseAttestationKey(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	said := quote([]byte("data"))
	sum := sha256.Sum256(said)
	r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	full := func(n *big.Int) []byte { return n.FillBytes(make([]byte, coordinate)) }
	form := []byte{0, algECDSA, 0, algSHA256}
	if err := key.Verify(said, slices.Concat(form, sized(full(r)), sized(full(s)))); err != nil {
		t.Error(err)
	}
	for name, b := range map[string][]byte{
		"r": slices.Concat(form, sized(append([]byte{0}, full(r)...)), sized(full(s))),
		"s": slices.Concat(form, sized(full(r)), sized(append([]byte{0}, full(s)...))),
	} {
		if key.Verify(said, b) == nil {
			t.Errorf("a zero before %s: accepted", name)
		}
	}
}

// ATT-06: at each boundary of each structure, and everywhere between.
func TestNothingIsSlippedIn(t *testing.T) {
	t.Parallel()
	private, area := keyOf(t, attestationKey)
	_, own := keyOf(t, deviceKey)
	key, err := ParseAttestationKey(area)
	if err != nil {
		t.Fatal(err)
	}
	said := quote([]byte("data"))
	for name, s := range map[string]struct {
		good  []byte
		taken func([]byte) error
	}{
		"a quote":           {said, func(b []byte) error { _, err := ParseQuote(b); return err }},
		"a certification":   {certification([]byte("data"), []byte("name")), func(b []byte) error { _, err := ParseCertification(b); return err }},
		"a signature":       {sign(t, private, said), func(b []byte) error { return key.Verify(said, b) }},
		"an attesting key":  {area, func(b []byte) error { _, err := ParseAttestationKey(b); return err }},
		"a device's key":    {own, func(b []byte) error { _, err := ParseDeviceKey(b); return err }},
		"what is signed of": {said, func(b []byte) error { return key.Verify(b, sign(t, private, said)) }},
	} {
		if err := s.taken(s.good); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for at := range len(s.good) + 1 {
			for _, vendor := range [][]byte{{0}, {0xff}, {0, 0}, {0, 1, 0}, []byte("vendor")} {
				if b := slices.Concat(s.good[:at], vendor, s.good[at:]); s.taken(b) == nil {
					t.Errorf("%s with % x at %d: accepted", name, vendor, at)
				}
			}
			if at < len(s.good) && s.taken(slices.Delete(bytes.Clone(s.good), at, at+1)) == nil {
				t.Errorf("%s without byte %d: accepted", name, at)
			}
		}
	}
}
