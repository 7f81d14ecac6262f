package protocol

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestDecodeRefusesWhatTwoReadersCouldReadDifferently(t *testing.T) {
	t.Parallel()
	type message struct {
		A int               `json:"a"`
		B string            `json:"b"`
		F map[string]string `json:"f"`
		K int               `json:"keys"`
		R json.RawMessage   `json:"r"`
	}
	for name, body := range map[string]string{
		"a member twice":                        `{"a":1,"a":2}`,
		"a member twice in other case":          `{"a":1,"A":2}`,
		"a member twice in a letter that folds": `{"keys":1,"key\u017f":2}`,
		"a member twice by escape":              `{"a":1,"\u0061":2}`,
		"a member twice in an inner value":      `{"f":{"x":"1","x":"2"}}`,
		"an unknown member":                     `{"a":1,"is_admin":true}`,
		"data after the end":                    `{"a":1} {}`,
		"a stray bracket":                       `{"a":1}]`,
		"a number as text":                      `{"a":"7"}`,
		"a fraction":                            `{"a":1.5}`,
		"a number out of range":                 `{"a":1e400}`,
		"cut short":                             `{"a":1`,
		"nothing":                               ``,
		"deep nesting":                          `{"r":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m message
			if err := Decode([]byte(body), &m); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s: got %v, want ErrMalformed", body, err)
			}
		})
	}
	t.Run("a value is never echoed", func(t *testing.T) {
		t.Parallel()
		var m message
		for _, body := range []string{`{"a":"s3cret"}`, `{"a":31337e9}`, `{"s3cret":1}`, `{"b":s3cret}`} {
			if err := Decode([]byte(body), &m); err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "31337") {
				t.Errorf("%s: %v", body, err)
			}
		}
	})
	t.Run("the agent lets a newer server say more", func(t *testing.T) {
		t.Parallel()
		var m message
		if err := DecodeTolerant([]byte(`{"a":1,"later":true}`), &m); err != nil || m.A != 1 {
			t.Fatalf("got %+v, %v", m, err)
		}
		if err := DecodeTolerant([]byte(`{"a":1,"a":2}`), &m); !errors.Is(err, ErrMalformed) {
			t.Fatalf("duplicate: %v", err)
		}
	})
}

func TestChecksHoldMessagesToTheirLimits(t *testing.T) {
	t.Parallel()
	id := "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"
	good := Heartbeat{Protocol: Version, DeviceID: "edge-1", EnrollmentID: id, Counter: 1, Epoch: id, BootID: id, AgentVersion: "1.0.0"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Heartbeat){
		"another protocol":      func(h *Heartbeat) { h.Protocol = 2 },
		"no counter":            func(h *Heartbeat) { h.Counter = 0 },
		"a negative counter":    func(h *Heartbeat) { h.Counter = -1 },
		"a counter past 2^53-1": func(h *Heartbeat) { h.Counter = MaxCounter + 1 },
		"no epoch":              func(h *Heartbeat) { h.Epoch = "" },
		"a boot id in capitals": func(h *Heartbeat) { h.BootID = strings.ToUpper(id) },
		"a long receipt":        func(h *Heartbeat) { h.Receipt = strings.Repeat("x", MaxOpaque+1) },
		"a control character":   func(h *Heartbeat) { h.AgentVersion = "1\x1b[2J" },
		"a NUL in a fact":       func(h *Heartbeat) { h.Facts = Facts{"os": "a\x00b"} },
		"a bidi override":       func(h *Heartbeat) { h.Facts = Facts{"os": "a\u202eb"} },
		"a nameless fact":       func(h *Heartbeat) { h.Facts = Facts{"": "x"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := good
			spoil(&h)
			if h.Check() == nil {
				t.Fatal("accepted")
			}
		})
	}
}

func TestADeviceIDHasOneSpelling(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "edge-1", "0", "a.b_c-d", strings.Repeat("a", 64)} {
		if err := CheckDeviceID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", "A", "edge-1.", "-a", ".", "..", "a/b", "a b", "é", "аbc", "a\x00", "a%2e", strings.Repeat("a", 65), "*"} {
		if CheckDeviceID(id) == nil {
			t.Errorf("%q accepted", id)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"protocol":1,"counter":7}`, `{"a":1,"a":2}`, `[[[]]]`, `"x"`, `{"facts":{"os":"linux"}}`, `{"counter":9007199254740993}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var h Heartbeat
		if err := Decode(data, &h); err != nil {
			return
		}
		if h.Check() != nil {
			return
		}
		// What is accepted reads back as the same message.
		out, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var again Heartbeat
		if err := Decode(out, &again); err != nil || again.Check() != nil {
			t.Fatalf("%s does not read back: %v", out, err)
		}
	})
}

func TestWhatIsPlainlyInOrderIsNotWalked(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"a":1,"b":[{"a":1},{"a":2}],"c":{"a":"}","b":"\""}}`, `[]`, `"a"`, ` {"a" : {} , "b":{"a":[[]]}} `, `{"facts":{"os":"é","kernel":"\u0061"}}`,
	} {
		if !json.Valid([]byte(body)) || !plain([]byte(body)) || walkJSON([]byte(body)) != nil {
			t.Errorf("%s", body)
		}
	}
	for _, body := range []string{
		`{"a":1,"a":2}`, `{"a":1,"A":2}`, `{"\u0061":1}`, `{"é":1}`, `{"x":{"a":1},"b":{"a":1,"c":{},"a" :2}}`, `{"a":{"b":1},"a":1}`,
		strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
	} {
		if plain([]byte(body)) {
			t.Errorf("%s", body)
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{`{"protocol":1,"counter":7}`, `{"a":1,"A":2}`, `{"a":{"b":1},"b":[{"b":1}]}`, `{"a\"":"\\","a":"}"}`, `["a":1]`, `"a":1`, `}`, `"\`, `{} {}`, `{"a":1}]`, "{\"k\":1,\"\u212a\":2}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if plain(data) && json.Valid(data) && walkJSON(data) != nil {
			t.Fatalf("%q passed: %v", data, walkJSON(data))
		}
		var read, walked any
		if took, want := DecodeTolerant(data, &read) == nil, walkJSON(data) == nil && json.Unmarshal(data, &walked) == nil; took != want {
			t.Fatalf("%q was taken: %t", data, took)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	id := "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"
	body, err := json.Marshal(Heartbeat{Protocol: Version, DeviceID: "edge-1", EnrollmentID: id, Counter: 1, Epoch: id, BootID: id, AgentVersion: "1.0.0",
		PolicyVersion: 1, RootVersion: 1, Nonce: strings.Repeat("n", 54), Receipt: strings.Repeat("r", 54)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var h Heartbeat
		if err := Decode(body, &h); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzEnrollRequest(f *testing.F) {
	f.Add([]byte(`{"protocol":1,"enrollment_id":"0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d","device_id":"a","token":"t","csr":"AAAA"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r EnrollRequest
		if Decode(data, &r) == nil && r.Check() == nil && CheckDeviceID(r.DeviceID) != nil {
			t.Fatal("a device_id slipped through")
		}
	})
}
