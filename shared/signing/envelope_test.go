package signing

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestTheSignedBytesAreThoseOfDSSE(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ payloadType, payload, want string }{
		{"http://example.com/HelloWorld", "hello world", "DSSEv1 29 http://example.com/HelloWorld 11 hello world"}, // the protocol's own example
		{"", "", "DSSEv1 0  0 "},
		{"a", "b c", "DSSEv1 1 a 3 b c"},
		{"a 3 b", "c", "DSSEv1 5 a 3 b 1 c"}, // lengths keep type and payload apart
		{"é", "é", "DSSEv1 2 é 2 é"},         // bytes, not characters
	} {
		if got := string(PAE(test.payloadType, []byte(test.payload))); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestAnEnvelopeReadsBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	signers := newSigners(PurposeResult, MaxSignatures)
	e := mustSeal(PurposeResult, `{"a":"<&>"}`, signers...)
	data := must(e.Marshal())
	again, err := ParseEnvelope(data)
	if err != nil || !reflect.DeepEqual(e, again) {
		t.Fatal(err)
	}
	payload, who, err := again.Verify(PurposeResult, keysOf(signers...), len(signers))
	if err != nil || string(payload) != `{"a":"<&>"}` || len(who) != len(signers) {
		t.Fatal(string(payload), who, err)
	}
	for name, s := range map[string]string{
		"white space": " {\n\"payload\" : \"AA==\", \"payloadType\":\"t\",\t\"signatures\":[{\"sig\":\"AA==\",\"keyid\":\"k\"}]}\n",
		"an escape":   `{"payload":"AA\u003d=","payloadType":"t","signatures":[{"sig":"AA==","keyid":"k"}]}`,
	} {
		if _, err := ParseEnvelope([]byte(s)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnEnvelopeInAnotherFormIsRefused(t *testing.T) {
	t.Parallel()
	const good = `{"payloadType":"t","payload":"AAAA","signatures":[{"keyid":"k","sig":"AAAA"}]}`
	if _, err := ParseEnvelope([]byte(good)); err != nil {
		t.Fatal(err)
	}
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not there", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	signature := `{"keyid":"k","sig":"AAAA"}`
	var many []string
	for i := range MaxSignatures + 1 {
		many = append(many, fmt.Sprintf(`{"keyid":"k%d","sig":"AAAA"}`, i))
	}
	for name, s := range map[string]string{
		"nothing":                        ``,
		"null":                           `null`,
		"a list":                         `[]`,
		"an empty object":                `{}`,
		"two envelopes":                  good + good,
		"text behind":                    good + "x",
		"cut short":                      good[:len(good)-1],
		"no payload type":                swap(`"payloadType":"t",`, ``),
		"no payload":                     swap(`"payload":"AAAA",`, ``),
		"no signatures":                  swap(`,"signatures":[`+signature+`]`, ``),
		"no keyid":                       swap(`"keyid":"k",`, ``),
		"no sig":                         swap(`,"sig":"AAAA"`, ``),
		"an empty payload type":          swap(`"t"`, `""`),
		"an empty payload":               swap(`"payload":"AAAA"`, `"payload":""`),
		"an empty list of signatures":    swap(signature, ``),
		"an empty keyid":                 swap(`"k"`, `""`),
		"an empty sig":                   swap(`"sig":"AAAA"`, `"sig":""`),
		"a payload type of null":         swap(`"t"`, `null`),
		"a payload of null":              swap(`"payload":"AAAA"`, `"payload":null`),
		"signatures of null":             swap(`[`+signature+`]`, `null`),
		"a signature of null":            swap(signature, `null`),
		"a sig of null":                  swap(`"sig":"AAAA"`, `"sig":null`),
		"a payload type that is a list":  swap(`"t"`, `["t"]`),
		"signatures that are an object":  swap(`[`+signature+`]`, signature),
		"a keyid that is a number":       swap(`"k"`, `7`),
		"a member more":                  swap(`{"payloadType"`, `{"x":1,"payloadType"`),
		"a member more in a signature":   swap(`{"keyid"`, `{"cert":"x","keyid"`),
		"a member twice":                 swap(`"payload":`, `"payload":"BBBB","payload":`),
		"a member twice, in other case":  swap(`"payload":`, `"Payload":"BBBB","payload":`),
		"a member twice in a signature":  swap(`"sig":`, `"sig":"BBBB","sig":`),
		"a member in other case":         swap(`"payload":`, `"Payload":`),
		"a member in letters that fold":  swap(`"signatures":`, `"ſignatures":`),
		"a member of a signature, so":    swap(`"sig":`, `"SIG":`),
		"a keyid twice":                  swap(signature, signature+`,`+signature),
		"seventeen signatures":           swap(signature, strings.Join(many, ",")),
		"a long payload type":            swap(`"t"`, `"`+strings.Repeat("t", maxPayloadType+1)+`"`),
		"a long keyid":                   swap(`"k"`, `"`+strings.Repeat("k", maxKeyID+1)+`"`),
		"a long sig":                     swap(`"sig":"AAAA"`, `"sig":"`+strings.Repeat("AAAA", 86)+`"`),
		"base64 without padding":         swap(`"payload":"AAAA"`, `"payload":"AA"`),
		"base64 with bits behind":        swap(`"payload":"AAAA"`, `"payload":"AB=="`),
		"base64 with too much padding":   swap(`"payload":"AAAA"`, `"payload":"AA==="`),
		"base64 for URLs":                swap(`"payload":"AAAA"`, `"payload":"__--"`),
		"base64 with a line break":       swap(`"payload":"AAAA"`, `"payload":"AA\nAA"`),
		"base64 with a carriage return":  swap(`"sig":"AAAA"`, `"sig":"AAAA\r"`),
		"base64 with a space":            swap(`"sig":"AAAA"`, `"sig":"AA AA"`),
		"a byte over the limit":          good + strings.Repeat(" ", MaxEnvelope+1-len(good)),
		"a payload that makes it longer": swap(`"payload":"AAAA"`, `"payload":"`+strings.Repeat("AAAA", MaxEnvelope/4)+`"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := ParseEnvelope([]byte(s)); !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
		})
	}
	if _, err := ParseEnvelope([]byte(good + strings.Repeat(" ", MaxEnvelope-len(good)))); err != nil {
		t.Errorf("exactly at the limit: %v", err)
	}
}

// IPT-01, UPD-13: no byte of an envelope can change.
func TestAnEnvelopeWithAnyByteChangedIsRefused(t *testing.T) {
	t.Parallel()
	signers := newSigners(PurposeCommand, 2)
	data := must(mustSeal(PurposeCommand, `{"kind":"ping"}`, signers...).Marshal())
	keys := keysOf(signers...)
	for i := range data {
		for _, change := range []func(byte) byte{
			func(b byte) byte { return b ^ 1 }, func(b byte) byte { return b ^ 0x20 }, func(b byte) byte { return b ^ 0x80 },
			func(b byte) byte { return b + 1 }, func(byte) byte { return 0 }, func(byte) byte { return '\\' }, func(byte) byte { return ' ' },
		} {
			bad := bytes.Clone(data)
			if bad[i] = change(bad[i]); bad[i] == data[i] {
				continue
			}
			e, err := ParseEnvelope(bad)
			if err != nil {
				continue
			}
			if _, _, err := e.Verify(PurposeCommand, keys, len(keys)); err == nil {
				t.Fatalf("byte %d: %q became %q", i, data[i], bad[i])
			}
		}
	}
}

func TestAnEnvelopeThatCannotBeReadIsNotWritten(t *testing.T) {
	t.Parallel()
	good := Envelope{PayloadType: "t", Payload: []byte("p"), Signatures: []Signature{{"k", []byte("s")}}}
	for name, change := range map[string]func(*Envelope){
		"no payload":            func(e *Envelope) { e.Payload = nil },
		"no signature":          func(e *Envelope) { e.Signatures = nil },
		"a keyid twice":         func(e *Envelope) { e.Signatures = slices.Repeat(e.Signatures, 2) },
		"too long a payload":    func(e *Envelope) { e.Payload = make([]byte, MaxEnvelope+1) },
		"too long when encoded": func(e *Envelope) { e.Payload = make([]byte, MaxEnvelope-100) },
	} {
		e := good
		change(&e)
		if _, err := e.Marshal(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzParseEnvelope(f *testing.F) {
	signer := newSigner(PurposeResult)
	f.Add(must(mustSeal(PurposeResult, "{}", signer).Marshal()))
	f.Add([]byte(`{"payloadType":"t","payload":"AAAA","signatures":[{"keyid":"k","sig":"AAAA"}]}`))
	f.Add([]byte(`{"payloadType":"t","payload":"AA\nAA","signatures":[{"keyid":"k","sig":"AAAA"},null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEnvelope(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Contains(data, []byte(`\`)) && !bytes.Contains(data, []byte(base64.StdEncoding.EncodeToString(e.Payload))) {
			t.Fatal("the payload is not in the bytes as it was read")
		}
		out, err := e.Marshal()
		if errors.Is(err, ErrMalformed) && len(data) > MaxEnvelope/2 {
			return // escapes made it longer than the limit
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseEnvelope(out)
		if err != nil || !reflect.DeepEqual(e, again) {
			t.Fatalf("does not read back: %v", err)
		}
	})
}
