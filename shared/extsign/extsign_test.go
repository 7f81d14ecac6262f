package extsign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ask(t *testing.T, r Request, open func() (crypto.Signer, error)) (*Answer, error) {
	t.Helper()
	line := must(r.Marshal())
	var out bytes.Buffer
	failed := Serve(bytes.NewReader(line), &out, open)
	return must(ReadAnswer(out.Bytes(), r.Operation)), failed
}

func TestAnAnswerHoldsASignatureOfTheKeyThatWasAskedFor(t *testing.T) {
	t.Parallel()
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	message := []byte("what is signed")
	short, long := sha256.Sum256(message), sha512.Sum384(message)
	for name, c := range map[string]struct {
		key  crypto.Signer
		data []byte
	}{
		"ed25519": {edwards, message},
		"p256":    {must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), short[:]},
		"p384":    {must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), long[:]},
	} {
		open := func() (crypto.Signer, error) { return c.key, nil }
		a, err := ask(t, Request{Version: Version, Operation: PublicKey, Purpose: "command"}, open)
		if err != nil {
			t.Fatal(name, err)
		}
		if want := must(x509.MarshalPKIXPublicKey(c.key.Public())); !bytes.Equal(a.PublicKey, want) {
			t.Errorf("%s: another public key", name)
		}
		algorithm, _, input, err := Method(c.key.Public())
		if err != nil {
			t.Fatal(name, err)
		}
		r := Request{Version: Version, Operation: Sign, Purpose: "command", PublicKey: a.PublicKey, Algorithm: algorithm, Input: input, Data: c.data}
		if a, err = ask(t, r, open); err != nil {
			t.Fatal(name, err)
		}
		record := must(signing.NewKey(signing.PurposeCommand, c.key.Public()))
		if err := record.Verify(message, a.Signature); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		if a, err = ask(t, r, func() (crypto.Signer, error) { return other, nil }); !errors.Is(err, ErrOtherKey) || a.Error == "" || a.Signature != nil {
			t.Errorf("%s: another key answered: %+v %v", name, a, err)
		}
	}
	if _, _, _, err := Method(must(rsa.GenerateKey(rand.Reader, 2048)).Public()); !errors.Is(err, signing.ErrKey) {
		t.Errorf("RSA: %v", err)
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	t.Parallel()
	good := Request{Version: 1, Operation: Sign, Purpose: "command", PublicKey: []byte{1}, Algorithm: signing.Ed25519, Input: Message, Data: []byte("x")}
	if _, err := ReadRequest(bytes.NewReader(must(good.Marshal()))); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Request){
		"version":         func(r *Request) { r.Version = 2 },
		"no purpose":      func(r *Request) { r.Purpose = "" },
		"purpose":         func(r *Request) { r.Purpose = "Command x" },
		"operation":       func(r *Request) { r.Operation = "export" },
		"algorithm":       func(r *Request) { r.Algorithm = "none" },
		"input":           func(r *Request) { r.Input = Digest },
		"no data":         func(r *Request) { r.Data = nil },
		"too much data":   func(r *Request) { r.Data = make([]byte, MaxData+1) },
		"no key":          func(r *Request) { r.PublicKey = nil },
		"digest's length": func(r *Request) { r.Algorithm, r.Input, r.Data = signing.ECDSAP256, Digest, make([]byte, 31) },
		"members":         func(r *Request) { r.Operation = PublicKey },
	} {
		r := good
		change(&r)
		if _, err := ReadRequest(bytes.NewReader(must(json.Marshal(r)))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadRequest(strings.NewReader(strings.Repeat(" ", MaxRequest+1))); !errors.Is(err, ErrMalformed) {
		t.Errorf("an endless request: %v", err)
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"no JSON":           "c2lnbmF0dXJl\n",
		"two of three":      `{"version":1,"signature":"AA==","error":"x"}`,
		"none of three":     `{"version":1}`,
		"the other":         `{"version":1,"public_key":"AA=="}`,
		"another version":   `{"version":2,"signature":"AA=="}`,
		"unknown member":    `{"version":1,"signature":"AA==","key":"AA=="}`,
		"twice":             `{"version":1,"signature":"AA==","signature":"AQ=="}`,
		"two answers":       `{"version":1,"signature":"AA=="}` + "\n" + `{"version":1,"signature":"AA=="}`,
		"over lines":        "{\"version\":1,\n\"signature\":\"AA==\"}\n",
		"a long signature":  `{"version":1,"signature":"` + strings.Repeat("AAAA", 100) + `"}`,
		"longer than may":   `{"version":1,"error":"` + strings.Repeat("x", MaxAnswer) + `"}`,
		"signature no text": `{"version":1,"signature":12}`,
	} {
		if _, err := ReadAnswer([]byte(text), Sign); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a, err := ReadAnswer([]byte(`{"version":1,"error":"no\u001b[31m\nkey `+strings.Repeat("x", 1000)+`"}`), Sign)
	if err != nil || len(a.Error) > maxError || strings.ContainsAny(a.Error, "\x1b\n") || !strings.HasPrefix(a.Error, "no [31m key x") {
		t.Errorf("%+v %v", a, err)
	}
}

// Whatever a program prints, reading it neither fails badly nor gives two things.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"version":1,"signature":"AA=="}`), true)
	f.Add([]byte(`{"version":1,"public_key":"AA=="}`), false)
	f.Add([]byte(`{"version":1,"error":"no key"}`), true)
	f.Fuzz(func(t *testing.T, data []byte, sign bool) {
		to := PublicKey
		if sign {
			to = Sign
		}
		a, err := ReadAnswer(data, to)
		if err != nil {
			return
		}
		if n := len(a.Signature); n > maxKey || n > 0 && (!sign || a.Error != "" || len(a.PublicKey) > 0) {
			t.Errorf("%+v", a)
		}
		if strings.ContainsAny(a.Error, "\n\r\x1b") {
			t.Errorf("%q", a.Error)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"version":1,"operation":"public-key","purpose":"command"}`))
	f.Add([]byte(`{"version":1,"operation":"sign","purpose":"command","public_key":"AA==","algorithm":"ed25519","input":"message","data":"AA=="}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ReadRequest(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := ReadRequest(bytes.NewReader(must(r.Marshal())))
		if err != nil || !bytes.Equal(again.Data, r.Data) || again.Algorithm != r.Algorithm {
			t.Errorf("%+v %v", again, err)
		}
	})
}
