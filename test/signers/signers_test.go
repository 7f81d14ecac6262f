package signers

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// faults are what a signer does instead of signing.
var faults = []string{"hang", "much", "other", "dies", "half"}

// log is what a server logs.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// said is what the log must say of each fault.
var said = map[string]string{
	"hang": "gave no answer in time", "much": "printed more than any answer has", "other": "not of the key that is configured", "dies": "no answer", "half": "ended without an answer",
}

// A6: a device obeys what a program signed whose key this server never had; while the
// program misbehaves nothing is signed, everybody is told, and it goes on by itself.
func TestCommandsAreSignedByAProgram(t *testing.T) {
	t.Parallel()
	program := newExternal(t, edwards(t))
	heard := &log{}
	s := servertest.Start(t, servertest.Options{Log: heard, Settings: map[string]string{
		"SENTINEL_SIGNER_COMMAND": program.source(), "SENTINEL_SIGNER_TIMEOUT": "2s",
	}})
	operator, reviewer := s.Person("olivia", "operator"), s.Person("ben", "approver")
	d := s.Enroll("edge-1", operator.EnrollToken(1), reviewer)
	d.MustBeat()
	if _, err := os.Stat(filepath.Join(s.Dir, "keys", "command.key")); !os.IsNotExist(err) {
		t.Errorf("the server has a command key of its own: %v", err)
	}
	ran := 0
	for _, fault := range append([]string{""}, faults...) {
		program.does(fault)
		id := operator.SendCommand("ping", nil, "edge-1")
		if fault != "" {
			eventually(t, fault+" is told of", func() bool {
				c := operator.Command(id)
				return c.State == "unsigned" && strings.Contains(c.WaitsFor, "command key does not sign") && heard.has(said[fault])
			})
			d.MustBeat()
			if len(d.Answer.Commands) != 0 || s.Count("commands", "id = ? AND envelope IS NOT NULL AND LENGTH(envelope) > 0", id) != 0 {
				t.Errorf("%s: something was signed or delivered", fault)
			}
			program.does("")
		}
		eventually(t, "it is signed after "+fault, func() bool { return operator.Command(id).State == "open" })
		eventually(t, "it is delivered after "+fault, func() bool { d.MustBeat(); d.Obey(); return len(d.Ran) > ran })
		ran = len(d.Ran)
		if d.Ran[ran-1] != id || len(d.Refused) != 0 {
			t.Errorf("%s: ran %v, refused %v", fault, d.Ran, d.Refused)
		}
	}
}

// A6: certificates of devices are issued with a key that is behind a program; while it
// misbehaves no certificate leaves, devices that have one go on, and whoever asked gets
// it later.
func TestCertificatesAreIssuedByAProgram(t *testing.T) {
	t.Parallel()
	program := newExternal(t, p256(t))
	s := servertest.Start(t, servertest.Options{Settings: map[string]string{
		"SENTINEL_SIGNER_DEVICE_CA": program.source(), "SENTINEL_SIGNER_TIMEOUT": "2s", "SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL": "false",
	}})
	operator, reviewer := s.Person("olivia", "operator"), s.Person("ben", "approver")
	first := s.NewDevice("edge-0")
	joins(t, first, operator)
	ca := s.DeviceCA().Certificate
	if pub, ok := ca.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(program.key.Public()) {
		t.Fatal("the authority has another key")
	}
	if s.Count("authorities", "kind = 'device' AND LENGTH(sealed_key) > 0") != 0 {
		t.Error("the database has the authority's key")
	}
	for _, fault := range faults {
		program.does(fault)
		d := s.NewDevice("edge-" + fault)
		problem, err := d.Ask(operator.EnrollToken(1))
		if err == nil && problem == nil {
			_, problem, err = d.Poll()
		}
		if err != nil || problem == nil || d.Chain != nil {
			t.Errorf("%s: %v %v", fault, problem, err)
		}
		if n := s.Count("certificates", "device_id = ?", d.ID); n != 0 {
			t.Errorf("%s: %d certificates are on record", fault, n)
		}
		first.MustBeat()
		program.does("")
		again := func() bool {
			if d.Chain == nil {
				_, _ = d.Ask(operator.EnrollToken(1))
				_, _, _ = d.Poll()
			}
			return d.Chain != nil
		}
		eventually(t, "it gets its certificate after "+fault, again)
		leaf, err := x509.ParseCertificate(d.Chain[0])
		if err != nil || leaf.CheckSignatureFrom(ca) != nil {
			t.Errorf("%s: the certificate is not of the authority: %v", fault, err)
		}
		d.MustBeat()
	}
	_ = reviewer
}

// DOS-02: a signer that hangs holds up one device, and not each that asks after it.
func TestASignerThatHangsHoldsNoEnrollmentUp(t *testing.T) {
	t.Parallel()
	const patience, devices = 2 * time.Second, 10
	program := newExternal(t, p256(t))
	s := servertest.Start(t, servertest.Options{Settings: map[string]string{
		"SENTINEL_SIGNER_DEVICE_CA": program.source(), "SENTINEL_SIGNER_TIMEOUT": patience.String(), "SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL": "false",
	}})
	operator := s.Person("olivia", "operator")
	joins(t, s.NewDevice("edge-0"), operator)
	program.does("hang")
	begin := time.Now()
	for n := range devices {
		d := s.NewDevice(fmt.Sprintf("edge-%d", n+1))
		problem, err := d.Ask(operator.EnrollToken(1))
		if err == nil && problem == nil {
			_, problem, err = d.Poll()
		}
		if err != nil || problem == nil || problem.Code != protocol.CodeNotReady || problem.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: %+v %v", d.ID, problem, err)
		}
	}
	if took := time.Since(begin); took > devices*patience/2 {
		t.Errorf("%d devices were answered in %v: each waited for the signer", devices, took)
	}
	program.does("")
	d := s.NewDevice("edge-again")
	eventually(t, "it gets its certificate when the signer answers again", func() bool {
		if d.Chain == nil {
			_, _ = d.Ask(operator.EnrollToken(1))
			_, _, _ = d.Poll()
		}
		return d.Chain != nil
	})
}

func joins(t *testing.T, d *servertest.Device, operator *servertest.Person) {
	t.Helper()
	if p, err := d.Ask(operator.EnrollToken(1)); p != nil || err != nil {
		t.Fatal(p, err)
	}
	if _, p, err := d.Poll(); p != nil || err != nil || d.Chain == nil {
		t.Fatal(p, err)
	}
	d.MustBeat()
}

// A5: others fetch the keys of each purpose apart, and keep them for a while.
func TestOthersFetchTheKeysOfAssertions(t *testing.T) {
	t.Parallel()
	program := newExternal(t, edwards(t))
	s := servertest.Start(t, servertest.Options{Settings: map[string]string{"SENTINEL_SIGNER_TRUST_ASSERTION": program.source()}})
	get := func(path, tag string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.PeopleURL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tag != "" {
			req.Header.Set("If-None-Match", tag)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, body
	}
	const trust, workload = "/.well-known/trust-assertion/jwks.json", "/.well-known/workload-assertion/jwks.json"
	if resp, body := get(trust, ""); resp.StatusCode != http.StatusOK || string(body) != `{"keys":[]}` {
		t.Errorf("before there is one: %d %s", resp.StatusCode, body)
	}
	id := s.PublishKey(signing.PurposeTrustAssertion)
	var first *http.Response
	eventually(t, "the key is shown", func() bool {
		resp, body := get(trust, "")
		var set struct {
			Keys []struct {
				ID string `json:"kid"`
				X  string `json:"x"`
			} `json:"keys"`
		}
		if err := json.Unmarshal(body, &set); err != nil {
			t.Fatal(err)
		}
		first = resp
		return len(set.Keys) == 1 && set.Keys[0].ID == id && set.Keys[0].X != ""
	})
	if first.Header.Get("Content-Type") != "application/jwk-set+json" || !strings.Contains(first.Header.Get("Cache-Control"), "max-age=300") || first.Header.Get("ETag") == "" {
		t.Errorf("%v", first.Header)
	}
	if resp, body := get(trust, first.Header.Get("ETag")); resp.StatusCode != http.StatusNotModified || len(body) != 0 {
		t.Errorf("asked again: %d %s", resp.StatusCode, body)
	}
	if _, body := get(workload, ""); string(body) != `{"keys":[]}` {
		t.Errorf("a key of trust assertions is shown for workloads: %s", body)
	}
	for _, path := range []string{"/.well-known/command/jwks.json", "/.well-known/policy-bundle/jwks.json", "/.well-known/jwks.json"} {
		if resp, _ := get(path, ""); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	for _, k := range s.CheckKeys() {
		if k.Error != "" {
			t.Errorf("%+v", k)
		}
	}
	for _, l := range s.Keys() {
		if l.Purpose == "trust-assertion" && (l.Key != id || l.State != "signs" || !strings.HasPrefix(l.Source, "exec:")) {
			t.Errorf("%+v", l)
		}
	}
}

// While the bundle lists only the key before, that one signs; once it lists the new one,
// the new one does.
func TestTheCommandKeyIsChangedByThePolicyBundle(t *testing.T) {
	t.Parallel()
	before, next := newExternal(t, edwards(t)), newExternal(t, edwards(t))
	o := servertest.Options{Dir: t.TempDir(), Settings: map[string]string{"SENTINEL_SIGNER_COMMAND": before.source()}}
	s := servertest.Start(t, o)
	s.Stop()
	o.Settings = map[string]string{"SENTINEL_SIGNER_COMMAND": next.source(), "SENTINEL_SIGNER_COMMAND_PREVIOUS": before.source()}
	s = servertest.Start(t, o)
	operator, reviewer, guard := s.Person("olivia", "operator"), s.Person("ben", "approver"), s.Person("ada", "admin")
	d := s.Enroll("edge-1", operator.EnrollToken(1), reviewer)
	d.MustBeat()
	works := func(what string) {
		t.Helper()
		n := len(d.Ran)
		id := operator.SendCommand("ping", nil, "edge-1")
		eventually(t, what, func() bool { d.MustBeat(); d.Obey(); return len(d.Ran) > n })
		if d.Ran[n] != id || len(d.Refused) > 0 {
			t.Errorf("%s: %v %v", what, d.Ran, d.Refused)
		}
	}
	works("the key before signs")
	key, err := signing.NewKey(signing.PurposeCommand, next.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	bundle := s.NextBundle(func(b *signing.PolicyBundle) { b.CommandKeys = append(b.CommandKeys, key) })
	guard.Must("POST", "/api/policy/bundles", json.RawMessage(bundle), nil)
	before.does("dies")
	works("the next one signs, or either")
	only := s.NextBundle(func(b *signing.PolicyBundle) { b.CommandKeys = []signing.Key{key} })
	guard.Must("POST", "/api/policy/bundles", json.RawMessage(only), nil)
	works("the next one alone")
}
