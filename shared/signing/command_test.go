package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const testAction = "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b40"

func target(n int) Target {
	return Target{DeviceID: fmt.Sprintf("device-%d", n), EnrollmentID: fmt.Sprintf("0198c1f0-7c1e-7cc2-8a5d-%012x", n)}
}

func targetsUpTo(n int) (list []Target) {
	for i := range n {
		list = append(list, target(i))
	}
	return list
}

func statement(targets ...Target) CommandStatement {
	return CommandStatement{
		FleetID: testFleet, RootDigest: strings.Repeat("a", 64), PolicyVersion: 1, PolicyDigest: strings.Repeat("b", 64),
		ActionID: testAction, Kind: "ping", Targets: NewTargets(targets), Requester: "olivia",
		NotBefore: testNow, NotAfter: testNow.Add(time.Hour),
	}
}

func TestAStatementIsReadFromWhatACommandKeySigned(t *testing.T) {
	t.Parallel()
	f := newFleet(1, 1)
	bundle := f.bundle(f.pinned(), 1)
	c := statement(target(1))
	c.Parameters = map[string]Parameter{"echo": Text("hello"), "n": Number(-3)}
	env := must(SignCommand(t.Context(), must(c.Payload()), f.command[0]))
	got := must(VerifyCommand(env, &bundle))
	if got.ActionID != testAction || *got.Parameters["echo"].Text != "hello" || *got.Parameters["n"].Number != -3 || !got.NotAfter.Equal(testNow.Add(time.Hour).Truncate(time.Microsecond)) {
		t.Errorf("%+v", got)
	}
	stranger := newSigner(PurposeCommand)
	if _, err := VerifyCommand(must(SignCommand(t.Context(), must(c.Payload()), stranger)), &bundle); !errors.Is(err, ErrThreshold) {
		t.Errorf("a stranger's statement: %v", err)
	}
	// The same key's record under another purpose is another key.
	other := mustSeal(PurposePolicyBundle, string(must(c.Payload())), newSigner(PurposePolicyBundle))
	if _, err := VerifyCommand(other, &bundle); !errors.Is(err, ErrPurpose) {
		t.Errorf("signed as a bundle: %v", err)
	}
	if _, err := SignCommand(t.Context(), []byte(`{"type":"command"}`), f.command[0]); err == nil {
		t.Error("half a statement is signed")
	}
}

func TestAStatementThatBreaksARuleIsNotMade(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*CommandStatement){
		"no fleet":               func(c *CommandStatement) { c.FleetID = "" },
		"no root":                func(c *CommandStatement) { c.RootDigest = "" },
		"no policy":              func(c *CommandStatement) { c.PolicyDigest = strings.Repeat("B", 64) },
		"no policy version":      func(c *CommandStatement) { c.PolicyVersion = 0 },
		"no action":              func(c *CommandStatement) { c.ActionID = "1" },
		"no kind":                func(c *CommandStatement) { c.Kind = "" },
		"a kind of shell":        func(c *CommandStatement) { c.Kind = "ping; reboot" },
		"no requester":           func(c *CommandStatement) { c.Requester = "" },
		"a requester of two":     func(c *CommandStatement) { c.Requester = "a\nb" },
		"no targets":             func(c *CommandStatement) { c.Targets = NewTargets(nil) },
		"everyone":               func(c *CommandStatement) { c.Targets = NewTargets([]Target{{"*", target(1).EnrollmentID}}) },
		"a device without its":   func(c *CommandStatement) { c.Targets.Devices[0].EnrollmentID = "" },
		"a device twice":         func(c *CommandStatement) { c.Targets = NewTargets([]Target{target(1), target(1)}) },
		"a wrong count":          func(c *CommandStatement) { c.Targets.Count = 2 },
		"a list and a tree":      func(c *CommandStatement) { c.Targets.Root = strings.Repeat("c", 64) },
		"a tree of a few":        func(c *CommandStatement) { c.Targets = Targets{Root: strings.Repeat("c", 64), Count: 3} },
		"a tree of too many":     func(c *CommandStatement) { c.Targets = Targets{Root: strings.Repeat("c", 64), Count: MaxTargets + 1} },
		"a tree without a root":  func(c *CommandStatement) { c.Targets = Targets{Count: 100} },
		"no beginning":           func(c *CommandStatement) { c.NotBefore = time.Time{} },
		"no end":                 func(c *CommandStatement) { c.NotAfter = time.Time{} },
		"the end first":          func(c *CommandStatement) { c.NotAfter = c.NotBefore },
		"more than a week":       func(c *CommandStatement) { c.NotAfter = c.NotBefore.Add(MaxCommandLife + time.Microsecond) },
		"a parameter of nothing": func(c *CommandStatement) { c.Parameters = map[string]Parameter{"echo": {}} },
		"a parameter of both": func(c *CommandStatement) {
			c.Parameters = map[string]Parameter{"echo": {Number: Number(1).Number, Text: Text("1").Text}}
		},
		"a parameter with a control": func(c *CommandStatement) { c.Parameters = map[string]Parameter{"echo": Text("a\x1b[2J")} },
		"a parameter too long":       func(c *CommandStatement) { c.Parameters = map[string]Parameter{"echo": Text(strings.Repeat("x", 257))} },
		"a parameter's name":         func(c *CommandStatement) { c.Parameters = map[string]Parameter{"$(reboot)": Number(1)} },
	} {
		c := statement(target(1))
		change(&c)
		if _, err := c.Payload(); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c := statement(target(1)); c.NotAfter.Sub(c.NotBefore) > MaxCommandLife {
		t.Error("the statement that is changed was wrong already")
	}
}

func TestOneStatementServesItsTargetsAndNoOthers(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, MaxListedTargets, MaxListedTargets + 1, 100, 1000} {
		list := targetsUpTo(n)
		targets := NewTargets(list)
		if err := targets.check(); err != nil {
			t.Fatalf("%d targets: %v", n, err)
		}
		tree := TargetTree(list)
		for i := range list {
			proof := ProofOf(targets, tree, int64(i))
			if (proof == nil) != (n <= MaxListedTargets) {
				t.Fatalf("%d targets: a proof where none is due, or none", n)
			}
			if err := targets.Includes(list[i], proof); err != nil {
				t.Errorf("%d targets, %d: %v", n, i, err)
			}
			again := list[i]
			again.EnrollmentID = otherFleet
			for name, other := range map[string]Target{"another device": target(n), "the device enrolled anew": again} {
				if err := targets.Includes(other, proof); !errors.Is(err, ErrTarget) {
					t.Errorf("%d targets, %d: %s: %v", n, i, name, err)
				}
			}
			if n > MaxListedTargets {
				if err := targets.Includes(list[i], nil); !errors.Is(err, ErrTarget) {
					t.Errorf("without its proof: %v", err)
				}
				next := list[(i+1)%n]
				if err := targets.Includes(next, proof); !errors.Is(err, ErrTarget) {
					t.Errorf("with another's proof: %v", err)
				}
			}
		}
	}
}

func TestAKindTakesItsOwnParametersWithinTheRule(t *testing.T) {
	t.Parallel()
	rule := KindRule{Kind: "restart-agent"}
	limited := KindRule{Kind: "restart-agent", Limits: map[string]int64{"delay-seconds": 10}}
	ping := KindRule{Kind: "ping", Limits: map[string]int64{"echo": 3}}
	for name, test := range map[string]struct {
		kind string
		p    map[string]Parameter
		rule KindRule
		want error
	}{
		"nothing":                    {"restart-agent", nil, rule, nil},
		"a number":                   {"restart-agent", map[string]Parameter{"delay-seconds": Number(300)}, rule, nil},
		"above the kind's bound":     {"restart-agent", map[string]Parameter{"delay-seconds": Number(301)}, rule, ErrParameter},
		"below it":                   {"restart-agent", map[string]Parameter{"delay-seconds": Number(-1)}, rule, ErrParameter},
		"at the rule's limit":        {"restart-agent", map[string]Parameter{"delay-seconds": Number(10)}, limited, nil},
		"above the rule's limit":     {"restart-agent", map[string]Parameter{"delay-seconds": Number(11)}, limited, ErrParameter},
		"another type":               {"restart-agent", map[string]Parameter{"delay-seconds": Text("1")}, rule, ErrParameter},
		"one that is not known":      {"restart-agent", map[string]Parameter{"then": Text("reboot")}, rule, ErrParameter},
		"text within the limit":      {"ping", map[string]Parameter{"echo": Text("abc")}, ping, nil},
		"text above it":              {"ping", map[string]Parameter{"echo": Text("abcd")}, ping, ErrParameter},
		"a kind that is not known":   {"format-disk", nil, KindRule{Kind: "format-disk"}, ErrKind},
		"the rule of another kind":   {"ping", nil, rule, ErrKind},
		"no rule":                    {"ping", nil, KindRule{}, ErrKind},
		"a number where text is due": {"ping", map[string]Parameter{"echo": Number(1)}, ping, ErrParameter},
	} {
		if err := CheckKind(test.kind, test.p, test.rule); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
	for _, kind := range AlwaysAllowed {
		if _, ok := Kind(kind); !ok {
			t.Errorf("%s is always allowed and not known", kind)
		}
	}
}

func TestAResultIsBelievedFromItsDeviceOnly(t *testing.T) {
	t.Parallel()
	key, other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	r := CommandResult{
		DeviceID: "device-1", EnrollmentID: target(1).EnrollmentID, ActionID: testAction, StatementDigest: strings.Repeat("a", 64),
		Status: Succeeded, Output: map[string]string{"echo": "hello"}, At: testNow,
	}
	env := must(SignResult(t.Context(), r, key))
	if got := must(VerifyResult(env, key.Public())); got.Output["echo"] != "hello" || got.Status != Succeeded {
		t.Errorf("%+v", got)
	}
	if _, err := VerifyResult(env, other.Public()); !errors.Is(err, ErrThreshold) {
		t.Errorf("under another device's key: %v", err)
	}
	poll := mustSeal(PurposeEnrollPoll, string(env.Payload), must(NewSigner(PurposeEnrollPoll, key)))
	if _, err := VerifyResult(poll, key.Public()); !errors.Is(err, ErrPurpose) {
		t.Errorf("signed for a poll: %v", err)
	}
	long := map[string]string{}
	for i := range maxOutput {
		long[fmt.Sprint(i)] = strings.Repeat("x", protocol.MaxFactValue)
	}
	for name, change := range map[string]func(*CommandResult){
		"no status":             func(r *CommandResult) { r.Status = "" },
		"a status of its own":   func(r *CommandResult) { r.Status = "done" },
		"failed without reason": func(r *CommandResult) { r.Status = Failed },
		"a reason of prose":     func(r *CommandResult) { r.Reason = "It did not work." },
		"no device":             func(r *CommandResult) { r.DeviceID = "" },
		"no action":             func(r *CommandResult) { r.ActionID = "" },
		"no statement":          func(r *CommandResult) { r.StatementDigest = "" },
		"no time":               func(r *CommandResult) { r.At = time.Time{} },
		"output with a control": func(r *CommandResult) { r.Output = map[string]string{"a": "\x00"} },
		"output without a name": func(r *CommandResult) { r.Output = map[string]string{"": "a"} },
		"output without end":    func(r *CommandResult) { r.Output = long },
	} {
		bent := r
		change(&bent)
		if _, err := SignResult(t.Context(), bent, key); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARenewalIsSignedByTwoKeys(t *testing.T) {
	t.Parallel()
	current, next := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	r := Renewal{RequestID: testAction, DeviceID: "device-1", EnrollmentID: target(1).EnrollmentID, Current: strings.Repeat("a", 64), CSR: []byte("csr")}
	env := must(SignRenewal(t.Context(), r, current, next))
	if err := VerifyRenewal(env, current.Public(), next.Public()); err != nil {
		t.Fatal(err)
	}
	if got := must(ReadRenewal(env)); got.DeviceID != "device-1" || got.Recovery {
		t.Errorf("%+v", got)
	}
	one := must(NewSigner(PurposeRenewal, next))
	alone := mustSeal(PurposeRenewal, string(env.Payload), one)
	for name, test := range map[string]struct {
		env       *Envelope
		cur, next *ecdsa.PrivateKey
	}{
		"by the new key alone":      {alone, current, next},
		"the new key as both":       {alone, next, next},
		"another device's present":  {env, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), next},
		"another new key than that": {env, current, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))},
	} {
		if err := VerifyRenewal(test.env, test.cur.Public(), test.next.Public()); !errors.Is(err, ErrThreshold) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := SignRenewal(t.Context(), r, current, current); err == nil {
		t.Error("one key signs as two")
	}
	if _, err := ReadRenewal(mustSeal(PurposeResult, string(env.Payload), must(NewSigner(PurposeResult, current)))); !errors.Is(err, ErrPurpose) {
		t.Errorf("a renewal under another purpose: %v", err)
	}
	for name, change := range map[string]func(*Renewal){
		"no request": func(r *Renewal) { r.RequestID = "" },
		"no device":  func(r *Renewal) { r.DeviceID = "" },
		"no current": func(r *Renewal) { r.Current = "" },
		"no csr":     func(r *Renewal) { r.CSR = nil },
		"a long csr": func(r *Renewal) { r.CSR = make([]byte, protocol.MaxCSR+1) },
	} {
		bent := r
		change(&bent)
		if _, err := SignRenewal(t.Context(), bent, current, next); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// fuzzDocument feeds payloads to a reader: what it takes has one form.
func fuzzDocument[T any](f *testing.F, seed []byte, read func([]byte) (*T, error)) {
	f.Add(seed)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := read(payload)
		if err != nil {
			return
		}
		if again, err := json.Marshal(got); err != nil || string(again) != string(payload) {
			t.Errorf("%q reads as %q", payload, again)
		}
	})
}

func FuzzCommandStatement(f *testing.F) {
	c := statement(target(1), target(2))
	c.Parameters = map[string]Parameter{"echo": Text("x"), "n": Number(1)}
	fuzzDocument(f, must(c.Payload()), ReadCommand)
}

func FuzzCommandResult(f *testing.F) {
	r := CommandResult{Type: typeResult, DeviceID: "d", EnrollmentID: testFleet, ActionID: testAction, StatementDigest: strings.Repeat("a", 64), Status: Succeeded, At: stamp(testNow)}
	fuzzDocument(f, must(json.Marshal(r)), func(payload []byte) (*CommandResult, error) {
		var r CommandResult
		if err := decode(payload, &r); err != nil {
			return nil, err
		}
		return &r, r.Check()
	})
}

func FuzzRenewal(f *testing.F) {
	r := Renewal{Type: typeRenewal, RequestID: testAction, DeviceID: "d", EnrollmentID: testFleet, Current: strings.Repeat("a", 64), CSR: []byte("csr")}
	fuzzDocument(f, must(json.Marshal(r)), func(payload []byte) (*Renewal, error) {
		return ReadRenewal(&Envelope{PayloadType: PurposeRenewal.PayloadType(), Payload: payload})
	})
}

func FuzzTargetProof(f *testing.F) {
	list := targetsUpTo(40)
	targets, tree := NewTargets(list), TargetTree(list)
	f.Add(must(json.Marshal(ProofOf(targets, tree, 7))))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Proof
		if protocol.Decode(data, &p) != nil {
			return
		}
		if targets.Includes(target(40), &p) == nil {
			t.Errorf("a device that is no target passes with %s", data)
		}
	})
}
