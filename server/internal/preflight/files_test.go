package preflight

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
)

// place makes a file with its directories, closed to other users.
func place(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// host is a data directory, a settings file and a directory of secrets in one folder.
func host(t *testing.T) (dir string, look func() Files) {
	t.Helper()
	dir = t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	settings := place(t, filepath.Join(dir, "etc", "server.env"), []byte("SENTINEL_PROFILE=production\n"))
	secret := place(t, filepath.Join(dir, "etc", "secrets", "metrics"), []byte("Hq8wZ3nR7bV1kX5tM9cJ2yL6gP0sD4fAoQuEiTmWxNvBzCrKjYhGlSdF\n"))
	in := inspect(map[string]string{"SENTINEL_DATA_DIR": data, "SENTINEL_METRICS_TOKEN": "", "SENTINEL_METRICS_TOKEN_FILE": secret})
	if len(in.Problems) > 0 {
		t.Fatal(in.Problems)
	}
	return dir, func() Files { return gatherFiles(in.Config, settings) }
}

func TestNothingIsFoundWhereNothingIsWrong(t *testing.T) {
	t.Parallel()
	_, look := host(t)
	f := look()
	if !f.DataDir.Found || len(f.Open) != 0 || len(f.Foreign) != 0 || len(f.Keys) != 0 || f.Repository != "" || f.Cut {
		t.Errorf("%+v", f)
	}
}

func TestLookingMakesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := inspect(map[string]string{"SENTINEL_DATA_DIR": filepath.Join(dir, "not", "there")})
	f := Gather(t.Context(), Ask{Inspection: in, Now: noon})
	if f.Files.DataDir.Found {
		t.Error("a directory that is not there was found")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it made %v, %v", left, err)
	}
}

// A25: whoever may change a directory may replace what stands in it.
func TestWhatOthersMayChangeIsFoundUpToTheRoot(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no mode bits")
	}
	for _, name := range []string{"etc", "etc/secrets", "etc/server.env", "etc/secrets/metrics", "data", "."} {
		for _, mode := range []os.FileMode{0o020, 0o002} {
			dir, look := host(t)
			path := filepath.Join(dir, name)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, info.Mode().Perm()|mode); err != nil {
				t.Fatal(err)
			}
			if f := look(); len(f.Open) != 1 || f.Open[0].Path != path {
				t.Errorf("%s with %o: %+v", name, mode, f.Open)
			}
		}
	}
}

func TestAStickyDirectoryIsNobodysToChange(t *testing.T) {
	t.Parallel()
	dir, look := host(t)
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if f := look(); len(f.Open) != 0 {
		t.Errorf("%+v", f.Open)
	}
}

func TestARepositoryAboveASecretIsFound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{".git", "etc/.git", "etc/secrets/.git", "data/.git"} {
		dir, look := host(t)
		place(t, filepath.Join(dir, name), []byte("gitdir: elsewhere"))
		if f := look(); f.Repository != filepath.Dir(filepath.Join(dir, name)) {
			t.Errorf("%s: %q", name, f.Repository)
		}
	}
}

// Trust model: no name, form or folder hides a key of the fleet's owner.
func TestAPrivateKeyIsFoundUnderAnyNameAndInAnyForm(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	of := func(public any) string {
		t.Helper()
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return digestOf(der)
	}
	dir, look := host(t)
	want := map[string]string{
		place(t, filepath.Join(dir, "data", "keys", "policy.key"), pkcs8):                                                                    of(public),
		place(t, filepath.Join(dir, "data", "old", "notes.txt"), append([]byte("remember\n"), pkcs8...)):                                     of(public),
		place(t, filepath.Join(dir, "etc", "secrets", ".hidden"), der):                                                                       of(public),
		place(t, filepath.Join(dir, "etc", "ec.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})):                   of(&curve.PublicKey),
		place(t, filepath.Join(dir, "etc", "both"), append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), pkcs8...)): of(public),
	}
	place(t, filepath.Join(dir, "etc", "public.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1, 2}}))
	elsewhere := place(t, filepath.Join(t.TempDir(), "key"), pkcs8)
	link := filepath.Join(dir, "data", "link")
	if err := os.Symlink(elsewhere, link); err == nil {
		want[link] = of(public)
	}
	got := map[string]string{}
	for _, k := range look().Keys {
		got[k.Path] = k.Public
	}
	if !maps.Equal(got, want) {
		t.Errorf("found %v\nwant  %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func TestAnOwnersKeyIsKnownByItsPublicHalf(t *testing.T) {
	t.Parallel()
	dir, look := host(t)
	key, err := keyfile.NewP256(filepath.Join(dir, "data", "harmless"))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	f := good(t, nil)
	f.Files.Keys = look().Keys
	if v := outOfReach(f); v.Status != Pass {
		t.Errorf("somebody's key: %+v", v)
	}
	f.Fleet.Owner[digestOf(der)] = "policy"
	if v := outOfReach(f); v.Status != Fail {
		t.Errorf("the policy key: %+v", v)
	}
}
