package ceremony_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123, time.UTC)

func request(t *testing.T) ceremony.Request {
	t.Helper()
	command, _, err := signing.GenerateEd25519(signing.PurposeCommand)
	if err != nil {
		t.Fatal(err)
	}
	r := ceremony.Request{
		FleetID: "0195a5c0-0000-7000-8000-000000000001", FleetName: "Test", TrustDomain: "fleet.test",
		CommandKeys: []signing.Key{command.Key()},
	}
	for _, kind := range []certs.Kind{certs.KindDevice, certs.KindServer} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		r.Authorities = append(r.Authorities, ceremony.AuthorityRequest{ID: "a-" + string(kind), Kind: kind, PublicKey: pub})
	}
	return r
}

func owner(t *testing.T, dir string) *ceremony.Owner {
	t.Helper()
	o, err := ceremony.NewOwner(dir)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTheOwnersKeysAreMadeOnceForTheOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ceremony")
	owner(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
	before := map[string][]byte{}
	for _, name := range []string{ceremony.RootKeyFile, ceremony.PolicyKeyFile, ceremony.CertificateKeyFile} {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		before[path], _ = os.ReadFile(path)
	}
	if _, err := ceremony.NewOwner(dir); !errors.Is(err, keyfile.ErrExists) {
		t.Fatalf("a second ceremony in the same place: %v", err)
	}
	for path, data := range before {
		if after, _ := os.ReadFile(path); !bytes.Equal(after, data) || len(data) == 0 {
			t.Errorf("%s was made anew", path)
		}
	}
}

func TestWhatTheCeremonyMakesIsWhatDevicesBelieve(t *testing.T) {
	t.Parallel()
	r := request(t)
	f, err := owner(t, t.TempDir()).Hold(t.Context(), r, noon)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := signing.VerifyRootChain([][]byte{f.FleetRoot}, "")
	if err != nil {
		t.Fatal(err)
	}
	if pinned.Root.FleetID != r.FleetID || pinned.Root.TrustDomain != "fleet.test" || len(pinned.Root.DeviceCAs) != 1 || len(pinned.Root.ServerCAs) != 1 {
		t.Errorf("the root is %+v", pinned.Root)
	}
	env, err := signing.ParseEnvelope(f.PolicyBundle)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := signing.VerifyBundle(env, pinned, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(bundle.CommandKeys) != 1 || bundle.CommandKeys[0].ID != r.CommandKeys[0].ID {
		t.Errorf("the bundle's command keys: %+v", bundle.CommandKeys)
	}
	for _, kind := range signing.AlwaysAllowed {
		if rule, ok := bundle.Rule(kind); !ok || rule.Approvals != 0 {
			t.Errorf("%s: %+v, %v", kind, rule, ok)
		}
	}
	if len(bundle.Kinds) != len(signing.AlwaysAllowed) {
		t.Errorf("the first bundle allows more than what is always allowed: %+v", bundle.Kinds)
	}
	for i, a := range f.Authorities {
		cert, err := x509.ParseCertificate(a.Certificate)
		if err != nil || a.ID != r.Authorities[i].ID || !bytes.Equal(cert.RawSubjectPublicKeyInfo, r.Authorities[i].PublicKey) {
			t.Errorf("%s answers another request: %v", a.ID, err)
		}
	}
}

func TestARequestThatIsNotCompleteIsNotSigned(t *testing.T) {
	t.Parallel()
	o := owner(t, t.TempDir())
	for name, spoil := range map[string]func(r *ceremony.Request){
		"no fleet":             func(r *ceremony.Request) { r.FleetID = "" },
		"a fleet_id of none":   func(r *ceremony.Request) { r.FleetID = "fleet" },
		"no trust domain":      func(r *ceremony.Request) { r.TrustDomain = "" },
		"a domain in capitals": func(r *ceremony.Request) { r.TrustDomain = "Fleet.Test" },
		"no authorities":       func(r *ceremony.Request) { r.Authorities = nil },
		"no device authority":  func(r *ceremony.Request) { r.Authorities = r.Authorities[1:] },
		"no server authority":  func(r *ceremony.Request) { r.Authorities = r.Authorities[:1] },
		"another kind":         func(r *ceremony.Request) { r.Authorities[0].Kind = "workload" },
		"a key that is none":   func(r *ceremony.Request) { r.Authorities[0].PublicKey = []byte("key") },
		"one key for both":     func(r *ceremony.Request) { r.Authorities[0].PublicKey = r.Authorities[1].PublicKey },
		"no command key":       func(r *ceremony.Request) { r.CommandKeys = nil },
		"a key of another purpose": func(r *ceremony.Request) {
			s, _, _ := signing.GenerateEd25519(signing.PurposeFleetRoot)
			r.CommandKeys[0] = s.Key()
		},
	} {
		r := request(t)
		spoil(&r)
		if f, err := o.Hold(context.Background(), r, noon); err == nil {
			t.Errorf("%s: signed %+v", name, f)
		}
	}
}
