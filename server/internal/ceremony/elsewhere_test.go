package ceremony_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
)

// A6, ATT-04: the owner's keys may all be behind others, and each purpose has its own.
func TestTheOwnersKeysMayBeElsewhere(t *testing.T) {
	t.Parallel()
	vault, dir := t.TempDir(), filepath.Join(t.TempDir(), "ceremony")
	root, err := keyfile.NewEd25519(filepath.Join(vault, "root"))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := keyfile.NewEd25519(filepath.Join(vault, "policy"))
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := keyfile.NewP256(filepath.Join(vault, "certificates"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := ceremony.Keys{Root: root, Policy: policy, Certificates: certificates}
	o, err := ceremony.NewOwnerWith(dir, elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	r := request(t)
	founding, err := o.Hold(t.Context(), r, noon)
	if err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil || len(left) != 0 {
		t.Errorf("key files were made: %v %v", left, err)
	}
	if _, err := ceremony.LoadOwner(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without them: %v", err)
	}
	if o, err = ceremony.LoadOwnerWith(dir, elsewhere); err != nil {
		t.Fatal(err)
	}
	r.Authorities = nil
	if _, err := o.Rotate(t.Context(), r, [][]byte{founding.FleetRoot}, nil, noon); err != nil {
		t.Errorf("the next fleet root: %v", err)
	}
	if _, err := ceremony.NewOwnerWith(filepath.Join(t.TempDir(), "x"), ceremony.Keys{Root: root, Policy: root}); !errors.Is(err, ceremony.ErrOneKey) {
		t.Errorf("one key for two purposes: %v", err)
	}
	one, err := ceremony.NewOwnerWith(filepath.Join(t.TempDir(), "x"), ceremony.Keys{Policy: policy})
	if err != nil || one == nil {
		t.Errorf("one key elsewhere: %v", err)
	}
	if _, err := ceremony.LoadOwnerWith(filepath.Join(t.TempDir(), "nowhere"), ceremony.Keys{}); err == nil || !strings.Contains(err.Error(), "owner's keys") {
		t.Errorf("a directory that is not there: %v", err)
	}
}
