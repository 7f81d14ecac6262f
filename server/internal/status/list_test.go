package status

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

func someList() List {
	return List{Number: 7, ThisUpdate: noon, NextUpdate: noon.Add(time.Hour), Entries: []Revoked{
		{big.NewInt(900), noon.Add(-time.Hour), KeyCompromise}, {big.NewInt(3), noon, Unspecified}, {big.NewInt(127), noon.Add(-time.Minute), Superseded},
	}}
}

func TestAListSaysWhatWasAskedForInTheOrderOfSerials(t *testing.T) {
	t.Parallel()
	for _, issuer := range []certs.CA{newIssuer(), issuerWith(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))), issuerWith(ed())} {
		for _, l := range []List{someList(), {Number: 1, ThisUpdate: noon, NextUpdate: noon.Add(time.Second)}, {Number: 1 << 40, ThisUpdate: noon.AddDate(40, 0, 0), NextUpdate: noon.AddDate(41, 0, 0)}} {
			der, err := SignList(issuer, l)
			if err != nil {
				t.Fatal(err)
			}
			crl, err := x509.ParseRevocationList(der)
			if err != nil || crl.CheckSignatureFrom(issuer.Certificate) != nil || crl.Number.Int64() != l.Number || len(crl.RevokedCertificateEntries) != len(l.Entries) {
				t.Fatalf("%+v, %v", crl, err)
			}
			got, err := ReadList(der, issuer.Certificate)
			if err != nil || got.Number != l.Number || !got.NextUpdate.Equal(l.NextUpdate) || len(got.Entries) != len(l.Entries) {
				t.Fatalf("read again: %+v, %v", got, err)
			}
			for i, e := range got.Entries {
				if e.Serial.Cmp(l.Entries[i].Serial) != 0 || e.Reason != l.Entries[i].Reason || !e.At.Equal(l.Entries[i].At) || i > 0 && e.Serial.Cmp(got.Entries[i-1].Serial) <= 0 {
					t.Errorf("entry %d is %+v", i, e)
				}
			}
		}
	}
}

// Each of these lists is signed by the authority's own key, and is not what was asked
// for.
func TestAListThatSaysAnythingElseDoesNotLeave(t *testing.T) {
	t.Parallel()
	issuer, want := newIssuer(), someList()
	good := must(SignList(issuer, want))
	template := func() *x509.RevocationList {
		r := &x509.RevocationList{Number: big.NewInt(want.Number), ThisUpdate: want.ThisUpdate, NextUpdate: want.NextUpdate}
		for _, e := range want.Entries {
			r.RevokedCertificateEntries = append(r.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: e.Serial, RevocationTime: e.At, ReasonCode: int(e.Reason)})
		}
		return r
	}
	other := newIssuer()
	for name, c := range map[string]struct {
		spoil func(r *x509.RevocationList)
		what  string
	}{
		"another number":       {func(r *x509.RevocationList) { r.Number = big.NewInt(6) }, "number"},
		"a longer life":        {func(r *x509.RevocationList) { r.NextUpdate = r.NextUpdate.Add(time.Second) }, "dates"},
		"another date":         {func(r *x509.RevocationList) { r.ThisUpdate = r.ThisUpdate.Add(-time.Second) }, "dates"},
		"an entry missing":     {func(r *x509.RevocationList) { r.RevokedCertificateEntries = r.RevokedCertificateEntries[1:] }, "serial numbers"},
		"the last one missing": {func(r *x509.RevocationList) { r.RevokedCertificateEntries = r.RevokedCertificateEntries[:2] }, "entries"},
		"an entry too many": {func(r *x509.RevocationList) {
			r.RevokedCertificateEntries = append(r.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(1000), RevocationTime: noon})
		}, "entries, of which there are too many"},
		"another serial number": {func(r *x509.RevocationList) { r.RevokedCertificateEntries[0].SerialNumber = big.NewInt(4) }, "serial numbers"},
		"another reason":        {func(r *x509.RevocationList) { r.RevokedCertificateEntries[2].ReasonCode = 4 }, "reasons"},
		"no reason":             {func(r *x509.RevocationList) { r.RevokedCertificateEntries[2].ReasonCode = 0 }, "reasons"},
		"a reason for none":     {func(r *x509.RevocationList) { r.RevokedCertificateEntries[0].ReasonCode = 1 }, "reasons"},
		"revoked at another time": {func(r *x509.RevocationList) {
			r.RevokedCertificateEntries[0].RevocationTime = noon.Add(-time.Second)
		}, "dates of revocation"},
		"an extension more": {func(r *x509.RevocationList) {
			r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
		}, "extensions, of which there are too many"},
		"an extension of an entry": {func(r *x509.RevocationList) {
			r.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: []byte{0x18, 0}}}
		}, "reasons"},
	} {
		r := template()
		c.spoil(r)
		der := must(x509.CreateRevocationList(rand.Reader, r, issuer.Certificate, issuer.Signer))
		if err := LintList(der, issuer.Certificate, want); !errors.Is(err, ErrLint) || !strings.HasSuffix(err.Error(), c.what) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, der := range map[string][]byte{
		"another authority's": must(SignList(other, want)), "nothing": {}, "something after it": append(append([]byte{}, good...), 0),
		"another signature": append(append([]byte{}, good[:len(good)-1]...), good[len(good)-1]^1),
	} {
		if err := LintList(der, issuer.Certificate, want); !errors.Is(err, ErrLint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadList(must(SignList(other, want)), issuer.Certificate); err == nil {
		t.Error("another authority's list was read")
	}
	// Every octet counts.
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 0x40
		if LintList(bad, issuer.Certificate, want) == nil {
			t.Fatalf("octet %d may be another", i)
		}
	}
}

func TestAListThatMayNotBeSaidIsNotSigned(t *testing.T) {
	t.Parallel()
	issuer := newIssuer()
	for name, spoil := range map[string]func(l *List){
		"no number":            func(l *List) { l.Number = 0 },
		"the same twice":       func(l *List) { l.Entries[0].Serial = l.Entries[1].Serial },
		"a serial below one":   func(l *List) { l.Entries[0].Serial = new(big.Int) },
		"a serial too long":    func(l *List) { l.Entries[0].Serial = new(big.Int).Lsh(big.NewInt(1), 159) },
		"a hold":               func(l *List) { l.Entries[0].Reason = 6 },
		"revoked in future":    func(l *List) { l.Entries[0].At = noon.Add(time.Second) },
		"over before it began": func(l *List) { l.NextUpdate = l.ThisUpdate },
	} {
		l := someList()
		spoil(&l)
		if _, err := SignList(issuer, l); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestReasonsAreReadFromWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Reason{
		"keyCompromise": KeyCompromise, "KEYCOMPROMISE: stolen in the train": KeyCompromise, " keyCompromise : x": KeyCompromise, "superseded": Superseded,
		"cessationOfOperation": CessationOfOperation, "affiliationChanged:": AffiliationChanged, "privilegeWithdrawn: x": PrivilegeWithdrawn, "aACompromise": AACompromise, "cACompromise": CACompromise,
		"unused": CessationOfOperation, "restored": CessationOfOperation,
		"": Unspecified, "lost": Unspecified, "keyCompromised": Unspecified, "key compromise": Unspecified, "certificateHold": Unspecified, "removeFromCRL": Unspecified, "lost: keyCompromise": Unspecified,
	} {
		if got := ReasonOf(text); got != want {
			t.Errorf("%q is %d", text, got)
		}
	}
}
