package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestARootThatBreaksARuleIsNeitherSignedNorBelieved(t *testing.T) {
	t.Parallel()
	f := newFleet(2, 2)
	server, device := testCAs()
	shared := must(NewKey(PurposePolicyBundle, must(f.root[0].Key().public())))
	for name, test := range map[string]struct {
		change func(*FleetRoot)
		want   error
	}{
		"no fleet":                        {func(r *FleetRoot) { r.FleetID = "" }, ErrRule},
		"a fleet in upper case":           {func(r *FleetRoot) { r.FleetID = strings.ToUpper(r.FleetID) }, ErrRule},
		"version 0":                       {func(r *FleetRoot) { r.Version = 0 }, ErrRule},
		"version -1":                      {func(r *FleetRoot) { r.Version = -1 }, ErrRule},
		"version 2^53":                    {func(r *FleetRoot) { r.Version = 1 << 53 }, ErrRule},
		"no time":                         {func(r *FleetRoot) { r.IssuedAt = time.Time{} }, ErrRule},
		"no root keys":                    {func(r *FleetRoot) { r.Root.Keys = nil }, ErrRule},
		"threshold 0":                     {func(r *FleetRoot) { r.Root.Threshold = 0 }, ErrRule},
		"threshold -1":                    {func(r *FleetRoot) { r.Policy.Threshold = -1 }, ErrRule},
		"a threshold beyond the keys":     {func(r *FleetRoot) { r.Policy.Threshold = 3 }, ErrRule},
		"a root key twice":                {func(r *FleetRoot) { r.Root.Keys = append(r.Root.Keys, r.Root.Keys[0]) }, ErrRule},
		"too many keys":                   {func(r *FleetRoot) { r.Root.Keys = slices.Repeat(r.Root.Keys, 5) }, ErrRule},
		"a root key that is a policy key": {func(r *FleetRoot) { r.Policy.Keys = append(r.Policy.Keys, shared) }, ErrRule},
		"a policy key among root keys":    {func(r *FleetRoot) { r.Root.Keys = append(r.Root.Keys, r.Policy.Keys[0]) }, ErrKey},
		"a key with another's id":         {func(r *FleetRoot) { r.Root.Keys[0].ID = r.Root.Keys[1].ID }, ErrKey},
		"a key with another's algorithm":  {func(r *FleetRoot) { r.Root.Keys[0].Algorithm = ECDSAP256 }, ErrKey},
		"half an update root":             {func(r *FleetRoot) { r.UpdateRootDigest = "abcd" }, ErrRule},
		"an update root in upper case":    {func(r *FleetRoot) { r.UpdateRootDigest = strings.Repeat("A", 64) }, ErrRule},
		"no trust domain":                 {func(r *FleetRoot) { r.TrustDomain = "" }, ErrRule},
		"a trust domain with a slash":     {func(r *FleetRoot) { r.TrustDomain = "a/b" }, ErrRule},
		"no server CA":                    {func(r *FleetRoot) { r.ServerCAs = nil }, ErrRule},
		"no device CA":                    {func(r *FleetRoot) { r.DeviceCAs = [][]byte{} }, ErrRule},
		"a CA that is junk":               {func(r *FleetRoot) { r.DeviceCAs = [][]byte{[]byte("junk")} }, ErrRule},
		"a CA for servers and devices":    {func(r *FleetRoot) { r.DeviceCAs = [][]byte{device, server} }, ErrRule},
		"a CA twice":                      {func(r *FleetRoot) { r.DeviceCAs = [][]byte{device, device} }, ErrRule},
		"too many CAs":                    {func(r *FleetRoot) { r.ServerCAs = slices.Repeat([][]byte{server}, MaxCAs+1) }, ErrRule},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.document(1)
			test.change(&r)
			if _, err := SignFleetRoot(t.Context(), r, f.root...); !errors.Is(err, test.want) {
				t.Errorf("signed: %v, want %v", err, test.want)
			}
			if _, err := VerifyFirstRoot(sign(PurposeFleetRoot, r, f.root...), ""); err == nil {
				t.Error("believed")
			}
		})
	}
	t.Run("a type that is another", func(t *testing.T) {
		t.Parallel()
		r := f.document(1)
		r.Type = typePolicyBundle
		if _, err := VerifyFirstRoot(sign(PurposeFleetRoot, r, f.root...), ""); !errors.Is(err, ErrRule) {
			t.Fatal(err)
		}
	})
	t.Run("a time in another zone or finer than a microsecond is brought into form", func(t *testing.T) {
		t.Parallel()
		r := f.document(1)
		r.IssuedAt = testNow.Add(7 * time.Nanosecond).In(time.FixedZone("x", 3600))
		p, err := VerifyFirstRoot(must(SignFleetRoot(t.Context(), r, f.root...)), "")
		if err != nil || !p.Root.IssuedAt.Equal(testNow) {
			t.Fatal(p, err)
		}
		if _, err := VerifyFirstRoot(sign(PurposeFleetRoot, r, f.root...), ""); !errors.Is(err, ErrRule) {
			t.Fatalf("believed out of form: %v", err)
		}
	})
}

// ATT-05, ATT-07: what is missing, doubled or written otherwise is refused, for
// each member at each depth.
func TestADocumentHasOneForm(t *testing.T) {
	t.Parallel()
	f := newFleet(1, 1)
	pinned := f.pinned()
	root := f.document(1)
	root.UpdateRootDigest = strings.Repeat("ab", 32)
	believedRoot := func(payload []byte) error {
		_, err := VerifyFirstRoot(mustSeal(PurposeFleetRoot, string(payload), f.root...), "")
		return err
	}
	believedBundle := func(payload []byte) error {
		_, err := VerifyBundle(mustSeal(PurposePolicyBundle, string(payload), f.policy...), pinned, testNow, 0)
		return err
	}
	device, next := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	by := func(p Purpose, keys ...crypto.Signer) (list []Signer) {
		for _, key := range keys {
			list = append(list, must(NewSigner(p, key)))
		}
		return list
	}
	command := must(NewKey(PurposeCommand, device.Public()))
	ordered := statement(target(1))
	ordered.Type, ordered.Parameters = typeCommand, map[string]Parameter{"echo": Text("x")}
	ordered.NotBefore, ordered.NotAfter = stamp(ordered.NotBefore), stamp(ordered.NotAfter)
	became := CommandResult{Type: typeResult, DeviceID: "device-1", EnrollmentID: testFleet, ActionID: testAction, StatementDigest: strings.Repeat("a", 64),
		Status: Failed, Reason: "timed-out", At: stamp(testNow)}
	renewal := Renewal{Type: typeRenewal, RequestID: testAction, DeviceID: "device-1", EnrollmentID: testFleet, Current: strings.Repeat("a", 64), CSR: []byte("csr"), Recovery: true}
	for name, document := range map[string]struct {
		payload  []byte
		believed func([]byte) error
		optional []string
		least    int  // members that are tried
		versions bool // it has a version, and times that are finer than seconds
	}{
		"root":   {must(json.Marshal(root)), believedRoot, []string{"update_root_digest"}, 15, true},
		"bundle": {must(json.Marshal(f.bundle(pinned, 1))), believedBundle, []string{"kinds.1.limits"}, 15, true},
		"command": {must(json.Marshal(ordered)), func(payload []byte) error {
			_, err := VerifyCommand(mustSeal(PurposeCommand, string(payload), by(PurposeCommand, device)...), &PolicyBundle{CommandKeys: []Key{command}})
			return err
		}, []string{"parameters"}, 16, false},
		"result": {must(json.Marshal(became)), func(payload []byte) error {
			_, err := VerifyResult(mustSeal(PurposeResult, string(payload), by(PurposeResult, device)...), device.Public())
			return err
		}, nil, 8, false},
		"renewal": {must(json.Marshal(renewal)), func(payload []byte) error {
			env := mustSeal(PurposeRenewal, string(payload), by(PurposeRenewal, device, next)...)
			_, err := ReadRenewal(env)
			return errors.Join(err, VerifyRenewal(env, device.Public(), next.Public()))
		}, []string{"recovery"}, 7, false},
	} {
		if err := document.believed(document.payload); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		members := 0
		eachMember(document.payload, func(path string, without, null, doubled, capital []byte) {
			members++
			for how, payload := range map[string][]byte{"null": null, "doubled": doubled, "in capitals": capital} {
				if document.believed(payload) == nil {
					t.Errorf("%s: %s %s", name, path, how)
				}
			}
			if err := document.believed(without); (err == nil) != slices.Contains(document.optional, path) {
				t.Errorf("%s without %s: %v", name, path, err)
			}
		})
		if members < document.least {
			t.Fatalf("%s: only %d members tried", name, members)
		}
		text := string(document.payload)
		for how, payload := range map[string]string{
			"a value behind":    text + "{}",
			"an unknown member": `{"more":1,` + text[1:],
			"white space":       " " + text,
			"a line behind":     text + "\n",
			"an escape":         strings.Replace(text, `_id"`, `\u005fid"`, 1),
			"another order":     reversed(document.payload),
		} {
			if payload == text {
				t.Fatalf("%s: %s is no change", name, how)
			}
			if document.believed([]byte(payload)) == nil {
				t.Errorf("%s with %s", name, how)
			}
		}
		if !document.versions {
			continue
		}
		for how, payload := range map[string]string{
			"a number as fraction":   strings.Replace(text, `"version":1,`, `"version":1.0,`, 1),
			"a number with exponent": strings.Replace(text, `"version":1,`, `"version":1e0,`, 1),
			"a number as text":       strings.Replace(text, `"version":1,`, `"version":"1",`, 1),
			"a zone by number":       strings.Replace(text, `.123456Z`, `.123456+00:00`, 1),
			"a time finer":           strings.Replace(text, `.123456Z`, `.123456001Z`, 1),
			"a time with a zero":     strings.Replace(text, `.123456Z`, `.1234560Z`, 1),
		} {
			if payload == text {
				t.Fatalf("%s is no change", how)
			}
			if document.believed([]byte(payload)) == nil {
				t.Errorf("%s with %s", name, how)
			}
		}
	}
}

// eachMember calls f for every member of every object in a document with the
// document changed at that member alone.
func eachMember(payload []byte, f func(path string, without, null, doubled, capital []byte)) {
	var walk func(path string, value json.RawMessage, put func([]byte) []byte)
	walk = func(path string, value json.RawMessage, put func([]byte) []byte) {
		switch value[0] {
		case '[':
			var list []json.RawMessage
			must(0, json.Unmarshal(value, &list))
			for i, v := range list {
				walk(fmt.Sprintf("%s%d.", path, i), v, func(b []byte) []byte {
					c := slices.Clone(list)
					c[i] = b
					return put(must(json.Marshal(c)))
				})
			}
		case '{':
			names, values := members(value)
			for i, name := range names {
				rebuild := func(member string) []byte {
					var parts []string
					for j := range names {
						if j != i {
							parts = append(parts, fmt.Sprintf("%q:%s", names[j], values[j]))
						} else if member != "" {
							parts = append(parts, member)
						}
					}
					return put([]byte("{" + strings.Join(parts, ",") + "}"))
				}
				same := fmt.Sprintf("%q:%s", name, values[i])
				f(path+name, rebuild(""), rebuild(fmt.Sprintf("%q:null", name)), rebuild(same+","+same),
					rebuild(fmt.Sprintf("%q:%s", strings.ToUpper(name), values[i])))
				walk(path+name+".", values[i], func(b []byte) []byte { return rebuild(fmt.Sprintf("%q:%s", name, b)) })
			}
		}
	}
	walk("", payload, func(b []byte) []byte { return b })
}

// reversed is an object with its members the other way round.
func reversed(object []byte) string {
	names, values := members(object)
	var parts []string
	for i := range names {
		parts = append([]string{fmt.Sprintf("%q:%s", names[i], values[i])}, parts...)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// members lists an object's members in order.
func members(object json.RawMessage) (names []string, values []json.RawMessage) {
	d := json.NewDecoder(strings.NewReader(string(object)))
	must(d.Token())
	for d.More() {
		names = append(names, must(d.Token()).(string))
		var v json.RawMessage
		must(0, d.Decode(&v))
		values = append(values, v)
	}
	return names, values
}
