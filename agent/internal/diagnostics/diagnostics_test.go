//go:build unix

package diagnostics

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/doctor"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

// The secrets that are planted. Each is somewhere where the bundle is made from.
const (
	token    = "canary-token-<&>" // as JSON writes it is another text
	password = "canary p/hrase"   // as an address writes it, too
	nonce    = "canary-nonce"
	receipt  = "canary-receipt"
	poll     = "canary-poll-nonce"
	variable = "canary-variable"
)

// planted makes a device, and a log, that are full of secrets.
func planted(t *testing.T) (o Options, key []byte) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	fleet := agenttest.NewFleet(t, now.Add(-time.Hour))
	base := t.TempDir()
	dir := filepath.Join(base, "state")
	must(t, journal.MakeDir(dir))
	signer, err := identity.CreateKey(dir)
	must(t, err)
	must(t, identity.StoreChain(dir, fleet.IssueDevice(t, "edge-1", signer.Public(), now, time.Hour)))
	root, digest := fleet.Root(t)
	p, err := pins.Verify([][]byte{root}, fleet.Bundle(t, digest, 1, fleet.Now, time.Hour*100), digest, now, 0)
	must(t, err)
	must(t, p.Store(dir))
	address := agenttest.Serve(t, fleet.ServerCertificate(t, "127.0.0.1"), http.NotFoundHandler())
	j, err := journal.Open(dir)
	must(t, err)
	must(t, j.Begin(journal.State{
		Server: "https://" + address, DeviceID: "edge-1", EnrollmentID: journal.NewID(now), StartedAt: now, ServerCA: fleet.ServerCA.Certificate.Raw,
		Submitted: true, PollNonce: poll,
		Enrolled: &journal.Enrolled{
			At: now, FirstRoot: digest, Root: p.RootMark(), Policy: p.PolicyMark(), TimeFloor: p.Floor(), Counter: 8, Epoch: agenttest.Epoch,
			Nonce: nonce, Receipt: receipt, Interval: 60,
		},
	}))
	must(t, j.Close())
	key, err = os.ReadFile(filepath.Join(dir, "device.key"))
	must(t, err)

	proxy := (&url.URL{Scheme: "http", Host: agenttest.Proxy(t, "407 "+token), User: url.UserPassword("user", password)}).String()
	file := filepath.Join(base, "agent.env")
	must(t, os.WriteFile(file, []byte("SENTINEL_AGENT_STATE_DIR="+dir+"\nSENTINEL_AGENT_TOKEN="+token+"\nSENTINEL_AGENT_PROXY="+proxy+"\n"), 0o600))
	c, err := config.Load(config.Sources{File: file})
	must(t, err)
	quoted, err := json.Marshal(map[string]string{"msg": "sent " + nonce + " and " + receipt, "address": proxy, "key": string(key), "said": token})
	must(t, err)
	log := strings.Join([]string{
		"harmless line about the token that was asked for", string(quoted), string(key), "proxy " + proxy + " for " + password,
		"Proxy-Authorization: Basic " + "dXNlcjpjYW5hcnk=", `{"password":"unknown-canary-1","x":"\"token\": \"unknown-canary-2\""}`,
		"enroll --token unknown-canary-3", "Authorization: Bearer unknown-canary-4", "nonce=unknown-canary-5 poll " + poll,
	}, "\n")
	return Options{
		Out: filepath.Join(base, "bundle.zip"),
		Log: func(context.Context) ([]byte, error) { return []byte(log), nil },
		Doctor: doctor.Options{
			Config: c, SettingsFile: file, Now: func() time.Time { return now },
			Service: func() (service.State, error) { return "", errors.New("manager says --token " + token) },
			Roots:   func() (*x509.CertPool, error) { return x509.NewCertPool(), nil },
		},
	}, key
}

// AGT-06: nothing that would let somebody speak for the device, or sign in
// anywhere, leaves it in a bundle.
func TestNoSecretIsInABundle(t *testing.T) {
	t.Setenv("SENTINEL_AGENT_TOKEN", variable)
	t.Setenv("AWS_SECRET_ACCESS_KEY", variable)
	o, key := planted(t)
	w, err := Write(t.Context(), o)
	must(t, err)
	members := unzip(t, w.Path)
	if len(members) != 11 || len(w.Manifest.Missing) != 0 {
		t.Fatalf("%d members, missing %+v", len(members), w.Manifest.Missing)
	}
	block, _ := pem.Decode(key)
	secrets := append(strings.Fields(string(key))[3:4:4], // the first line of the key's body
		"PRIVATE", string(block.Bytes), "canary", "hrase", "dXNlcjpjYW5hcnk=")
	for name, data := range members {
		for _, secret := range secrets {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s has %q:\n%s", name, secret, data)
			}
		}
	}
	if !bytes.Contains(members["service.log"], []byte("harmless line about the token that was asked for")) {
		t.Errorf("too much was cut:\n%s", members["service.log"])
	}
}

// What nobody put on the list stays out without the sieve's help.
func TestJournalAndSettingsShowWhatIsListed(t *testing.T) {
	t.Parallel()
	o, _ := planted(t)
	s, err := journal.Read(o.Doctor.Config.StateDir)
	must(t, err)
	for _, view := range []any{viewJournal(&s), viewSettings(o.Doctor.Config, o.Doctor.SettingsFile, nil)} {
		data, err := asJSON(view)
		must(t, err)
		if bytes.Contains(data, []byte("canary")) {
			t.Errorf("%s", data)
		}
	}
}

func TestABundleIsWholeAndItsOwnersAlone(t *testing.T) {
	t.Parallel()
	o, _ := planted(t)
	w, err := Write(t.Context(), o)
	must(t, err)
	info, err := os.Stat(w.Path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	members := unzip(t, w.Path)
	var manifest Manifest
	must(t, json.Unmarshal(members["manifest.json"], &manifest))
	if len(manifest.Members) != len(members)-1 || !strings.Contains(manifest.Warning, "host names") {
		t.Errorf("%+v", manifest)
	}
	for _, m := range manifest.Members {
		sum := sha256.Sum256(members[m.Name])
		if hex.EncodeToString(sum[:]) != m.SHA256 || len(members[m.Name]) != m.Bytes {
			t.Errorf("%s is not as the manifest says", m.Name)
		}
	}
	var report doctor.Report
	must(t, json.Unmarshal(members["doctor.json"], &report))
	if report.DeviceID != "edge-1" || report.Verdict != doctor.Fail { // the proxy refuses
		t.Errorf("%+v", report)
	}
	chain, err := identity.ParseChain(members["certificate.pem"])
	if err != nil || len(chain) != 2 || chain[0].Subject.CommonName != "edge-1" {
		t.Errorf("%v, %v", chain, err)
	}
	if _, err := Write(t.Context(), o); !errors.Is(err, ErrExists) {
		t.Errorf("it was overwritten: %v", err)
	}
}

// A link in a directory that others may write to leads nowhere.
func TestABundleFollowsNoLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "out.zip")))
	if err := store(filepath.Join(dir, "out.zip"), []byte("x")); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("the link was followed")
	}
}

// Whoever needs help most has a device that is broken.
func TestABrokenDeviceHasABundleToo(t *testing.T) {
	t.Parallel()
	o, _ := planted(t)
	dir := o.Doctor.Config.StateDir
	must(t, os.WriteFile(filepath.Join(dir, "journal.json"), []byte(`{"format":1,"sum":"","state":{"nonce":"canary"}}`), 0o600))
	must(t, os.Remove(filepath.Join(dir, "device.key")))
	o.Log = func(context.Context) ([]byte, error) { return nil, errors.New("no log") }
	w, err := Write(t.Context(), o)
	must(t, err)
	var missing []string
	for _, m := range w.Manifest.Missing {
		missing = append(missing, m.Name)
	}
	if want := []string{"status.json", "journal.json", "fleet-roots.json", "policy-bundle.json", "service.log"}; !slices.Equal(missing, want) {
		t.Errorf("missing %q", missing)
	}
	for name, data := range unzip(t, w.Path) {
		if bytes.Contains(data, []byte("canary")) {
			t.Errorf("%s: %s", name, data)
		}
	}
}

func TestTheSieve(t *testing.T) {
	t.Parallel()
	s := newSieve([]string{"", "abc", "long-secret"})
	for in, want := range map[string]string{
		"abc long-secretx":                    "abc [left out]x", // a short one is not looked for
		"http://u:p@h:1/x and https://h:1":    "http://[left out]@h:1/x and https://h:1",
		"a@b.example":                         "a@b.example",
		"-----BEGIN EC PRIVATE KEY-----\nMHc": "[left out]",
		"token: x":                            "token: x",
	} {
		if got := string(s.clean([]byte(in))); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
	for in, want := range map[string]string{
		"token: x":                "token: [left out]",
		`"nonce":"x","y":1`:       `"nonce":"[left out]","y":1`,
		"the token is used up":    "the token is used up",
		"refused (nonce-stale)":   "refused (nonce-stale)",
		"sent bearer abcdefgh123": "sent bearer [left out]",
	} {
		if got := string(s.cleanText([]byte(in))); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func unzip(t *testing.T, path string) map[string][]byte {
	t.Helper()
	z, err := zip.OpenReader(path)
	must(t, err)
	defer func() { _ = z.Close() }()
	members := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		must(t, r.Close())
		members[filepath.Base(f.Name)] = data
		if filepath.Dir(filepath.Dir(f.Name)) != "." || !strings.HasPrefix(f.Name, "sentinel-diagnostics-") {
			t.Errorf("%s is not in the bundle's folder", f.Name)
		}
	}
	return members
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
