package ceremony_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

func TestTheRootsListNamesTheAuthoritiesThatWereDropped(t *testing.T) {
	t.Parallel()
	dir, r := t.TempDir(), request(t)
	o := owner(t, dir)
	f, err := o.Hold(t.Context(), r, noon)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(f.RootCertificate)
	if err != nil {
		t.Fatal(err)
	}
	read := func(der []byte) *x509.RevocationList {
		t.Helper()
		crl, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := crl.CheckSignatureFrom(root); err != nil {
			t.Fatal(err)
		}
		return crl
	}
	first := read(f.RootList)
	old, err := x509.ParseCertificate(f.Authorities[0].Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.RevokedCertificateEntries) != 0 || first.NextUpdate.Before(old.NotAfter) {
		t.Errorf("the founding's list: %+v", first)
	}
	rotate := func(o *ceremony.Owner, chain [][]byte, drop []string, now time.Time) (*ceremony.Rotation, error) {
		next := request(t)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		next.Authorities = []ceremony.AuthorityRequest{{ID: "next", Kind: certs.KindDevice, PublicKey: pub}}
		return o.Rotate(t.Context(), next, chain, drop, now)
	}
	// In the same second, so that the clock does not help; and with a clock that went back.
	chain := [][]byte{f.FleetRoot}
	var last *ceremony.Rotation
	number := first.Number
	if _, err := rotate(o, chain, []string{certs.Fingerprint(old.Raw)}, noon); err != nil { // signed, and never installed
		t.Fatal(err)
	}
	for i, c := range []struct {
		now  time.Time
		drop []string
		want int
	}{{noon, nil, 0}, {noon, []string{certs.Fingerprint(old.Raw)}, 1}, {noon.Add(-24 * time.Hour), nil, 1}, {noon.Add(time.Hour), nil, 1}} {
		if last, err = rotate(o, chain, c.drop, c.now); err != nil {
			t.Fatal(err)
		}
		chain = append(chain, last.FleetRoot)
		crl := read(last.RootList)
		if crl.Number.Cmp(number) <= 0 || len(crl.RevokedCertificateEntries) != c.want || c.want == 1 && crl.RevokedCertificateEntries[0].SerialNumber.Cmp(old.SerialNumber) != 0 {
			t.Errorf("ceremony %d: %v after %v, %+v", i+2, crl.Number, number, crl.RevokedCertificateEntries)
		}
		number = crl.Number
	}
	kept, err := os.ReadFile(filepath.Join(dir, ceremony.ListFile))
	if err != nil || !bytes.Equal(kept, last.RootList) {
		t.Errorf("what lies beside the keys is another one: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ceremony.ListFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := rotate(o, chain, nil, noon.Add(2*time.Hour)); err == nil {
		t.Error("a list that cannot be read is passed over")
	}
}
