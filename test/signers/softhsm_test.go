//go:build signers

package signers

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

const (
	tokenLabel = "sentinel test"
	pin        = "4711-of-the-test"
)

// hsm is a SoftHSM of the test's own.
type hsm struct {
	*testing.T
	dir, conf, library, program string
}

func newHSM(t *testing.T) *hsm {
	t.Helper()
	h := &hsm{T: t, dir: t.TempDir()}
	h.conf = filepath.Join(h.dir, "softhsm2.conf")
	tokens := filepath.Join(h.dir, "tokens")
	h.must(os.Mkdir(tokens, 0o700))
	h.must(os.WriteFile(h.conf, []byte("directories.tokendir = "+tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600))
	h.must(os.WriteFile(filepath.Join(h.dir, "pin"), []byte(pin+"\n"), 0o600))
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so", "/usr/lib64/pkcs11/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			h.library = path
			break
		}
	}
	if h.library == "" {
		t.Fatal("there is no SoftHSM; run: test/postgres/ensure softhsm")
	}
	h.program = filepath.Join(h.dir, "sentinel-pkcs11")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", h.program, "./pkcs11")
	build.Dir, build.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h.softhsm("--init-token", "--free", "--label", tokenLabel, "--pin", pin, "--so-pin", "so-"+pin)
	return h
}

func (h *hsm) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *hsm) softhsm(args ...string) {
	h.Helper()
	cmd := exec.CommandContext(h.Context(), "softhsm2-util", args...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+h.conf)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
}

func (h *hsm) flags(key string) []string {
	return []string{"--module", h.library, "--token", tokenLabel, "--key", key, "--pin-file", filepath.Join(h.dir, "pin")}
}

// run runs sentinel-pkcs11 with an input.
func (h *hsm) run(input string, args ...string) (out, complaint string, err error) {
	h.Helper()
	cmd := exec.CommandContext(h.Context(), h.program, args...)
	cmd.Env = []string{"SOFTHSM2_CONF=" + h.conf}
	cmd.Stdin = strings.NewReader(input)
	var said, cried bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &cried
	err = cmd.Run()
	return said.String(), cried.String(), err
}

// generate makes a key in the token.
func (h *hsm) generate(key, algorithm string) crypto.PublicKey {
	h.Helper()
	out, complaint, err := h.run("", append([]string{"generate", "--algorithm", algorithm}, h.flags(key)...)...)
	if err != nil {
		h.Fatalf("generate %s: %v\n%s", key, err, complaint)
	}
	block, _ := pem.Decode([]byte(out))
	if block == nil {
		h.Fatalf("no public key: %s", out)
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	h.must(err)
	return pub
}

// source is the setting that has the server sign with a key in the token.
func (h *hsm) source(key string) string {
	words := append([]string{"/usr/bin/env", "SOFTHSM2_CONF=" + h.conf, h.program}, h.flags(key)...)
	for i, w := range words {
		words[i] = fmt.Sprintf("%q", w)
	}
	return "exec:[" + strings.Join(words, ",") + "]"
}

// A6: an authority's key and the command key lie in a security module. A real agent
// enrolls, gets its certificate from the one and obeys the other.
func TestKeysMayLieInASecurityModule(t *testing.T) {
	h := newHSM(t)
	device, command := h.generate("device-ca", "ecdsa-p256"), h.generate("command", "ed25519")
	if _, ok := device.(*ecdsa.PublicKey); !ok {
		t.Fatalf("%T", device)
	}
	edwardsKey, ok := command.(ed25519.PublicKey)
	if !ok {
		t.Fatalf("%T", command)
	}
	s := servertest.Start(t, servertest.Options{Settings: map[string]string{
		"SENTINEL_SIGNER_DEVICE_CA": h.source("device-ca"), "SENTINEL_SIGNER_COMMAND": h.source("command"),
		"SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL": "false", "SENTINEL_HEARTBEAT_INTERVAL": "1s",
	}})
	operator := s.Person("olivia", "operator")
	ca := s.DeviceCA().Certificate
	if pub, ok := ca.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(device) {
		t.Fatal("the authority's key is not the module's")
	}

	// What the module signs is judged by the device's own code.
	d := s.NewDevice("edge-1")
	joins(t, d, operator)
	leaf, err := x509.ParseCertificate(d.Chain[0])
	h.must(err)
	h.must(leaf.CheckSignatureFrom(ca))
	id := operator.SendCommand("ping", map[string]any{"echo": "from the module"}, "edge-1")
	eventually(t, "the device does what the module signed", func() bool { d.MustBeat(); d.Obey(); return len(d.Ran) > 0 })
	record, err := signing.NewKey(signing.PurposeCommand, edwardsKey)
	h.must(err)
	if d.Ran[0] != id || len(d.Refused) > 0 || d.Bundle.CommandKeys[0].ID != record.ID {
		t.Errorf("ran %v, refused %v", d.Ran, d.Refused)
	}
	byOpenSSL(h, ca, leaf)
	h.agent(s, operator)

	// OCSP and the revocation list rest on the same key.
	operator.Must("POST", "/api/devices/edge-1/certificate/revoke", map[string]string{"reason": "test"}, nil)
	eventually(t, "the list is signed by the module", func() bool { return s.Count("revocation_lists", "entries > 0") > 0 })

	began := time.Now()
	const n = 20
	for range n {
		key := p256(t)
		_, err := certs.IssueDevice(s.DeviceCA(), certs.DeviceTemplate{DeviceID: "edge-2", TrustDomain: "sentinel.internal", PublicKey: key.Public(),
			NotBefore: ca.NotBefore, NotAfter: ca.NotBefore.Add(time.Hour)})
		h.must(err)
	}
	t.Logf("%d certificates, one after the other: %v each", n, (time.Since(began) / n).Round(time.Millisecond))
}

func byOpenSSL(h *hsm, ca, leaf *x509.Certificate) {
	h.Helper()
	file := func(name string, der []byte) string {
		path := filepath.Join(h.dir, name)
		h.must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
		return path
	}
	if out, err := exec.CommandContext(h.Context(), "openssl", "verify", "-partial_chain", "-CAfile", file("ca.pem", ca.Raw), file("leaf.pem", leaf.Raw)).CombinedOutput(); err != nil {
		h.Errorf("OpenSSL: %v\n%s", err, out)
	}
}

// agent has a real agent join and do a command.
func (h *hsm) agent(s *servertest.Server, operator *servertest.Person) {
	h.Helper()
	program, state := filepath.Join(h.dir, "sentinel-agent"), filepath.Join(h.dir, "agent")
	build := exec.CommandContext(h.Context(), "go", "build", "-o", program, "./agent")
	build.Dir, build.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		h.Fatalf("%v\n%s", err, out)
	}
	enroll := exec.CommandContext(h.Context(), program, "enroll", "--server", s.MachineURL, "--ca-fingerprint", s.CAFingerprint, "--fleet-root", s.RootDigest,
		"--token", operator.EnrollToken(1), "--device-id", "real-1", "--state-dir", state)
	if out, err := enroll.CombinedOutput(); err != nil {
		h.Fatalf("the agent enrolls: %v\n%s", err, out)
	}
	ctx, stop := context.WithCancel(h.Context())
	running := exec.CommandContext(ctx, program, "run", "--state-dir", state, "--min-interval", "1s")
	heard := &log{}
	running.Stderr = heard
	h.must(running.Start())
	defer func() {
		stop()
		_ = running.Wait()
		if h.Failed() {
			h.Log(heard.b.String())
		}
	}()
	id := operator.SendCommand("ping", map[string]any{"echo": "to the agent"}, "real-1")
	eventually(h.T, "the agent does what the module signed", func() bool { return operator.Command(id).State == "done" })
	c := operator.Command(id)
	if len(c.FirstTargets) != 1 || c.FirstTargets[0].Status != "succeeded" || c.FirstTargets[0].Output["echo"] != "to the agent" {
		h.Errorf("%+v", c)
	}
}

// What does not fit is refused with words that help, and never with the PIN.
func TestTheModuleSaysWhatIsWrong(t *testing.T) {
	h := newHSM(t)
	h.generate("command", "ed25519")
	with := func(change func(map[string]string)) []string {
		f := h.flags("command")
		values := map[string]string{}
		for i := 0; i < len(f); i += 2 {
			values[f[i]] = f[i+1]
		}
		change(values)
		var args []string
		for k, v := range values {
			args = append(args, k, v)
		}
		return append([]string{"public"}, args...)
	}
	wrong := filepath.Join(h.dir, "wrong-pin")
	h.must(os.WriteFile(wrong, []byte("0000\n"), 0o600))
	loose := filepath.Join(h.dir, "loose-pin")
	h.must(os.WriteFile(loose, []byte(pin), 0o644))
	for name, c := range map[string]struct {
		change func(map[string]string)
		says   string
	}{
		"no library":    {func(v map[string]string) { v["--module"] = "/nowhere.so" }, "no PKCS#11 library"},
		"no token":      {func(v map[string]string) { v["--token"] = "another" }, "has the label another"},
		"no key":        {func(v map[string]string) { v["--key"] = "another" }, "no key pair with this label"},
		"a wrong PIN":   {func(v map[string]string) { v["--pin-file"] = wrong }, "the PIN is not the user's"},
		"an open PIN":   {func(v map[string]string) { v["--pin-file"] = loose }, "chmod 600"},
		"a missing PIN": {func(v map[string]string) { v["--pin-file"] = loose + ".none" }, "no such file"},
	} {
		_, complaint, err := h.run("", with(c.change)...)
		if err == nil || !strings.Contains(complaint, c.says) || strings.Contains(complaint, pin) {
			t.Errorf("%s: %v %s", name, err, complaint)
		}
	}
	if _, complaint, err := h.run("", append([]string{"generate"}, h.flags("command")...)...); err == nil || !strings.Contains(complaint, "is there already") {
		t.Errorf("a second key with a label: %v %s", err, complaint)
	}
	out, _, err := h.run("not a request\n", h.flags("command")...)
	if err == nil || !strings.Contains(out, `"error"`) || strings.Count(out, "\n") != 1 {
		t.Errorf("%v %s", err, out)
	}
}
