package pki_test

import (
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// A9: what other people's rules for RFC 5280 find in every kind of certificate that is
// issued, and in a list. (zlint's rules for the public web are not ours.)
func TestOthersFindNothingInWhatIsIssued(t *testing.T) {
	t.Parallel()
	w := newOffice(t, "sqlite:"+dbtest.SQLitePath(t))
	founding := w.sign(w.request())
	w.must(w.install(founding))
	w.must(w.Load(t.Context()))
	issued := map[string][]byte{"the root": founding.RootCertificate}
	for _, a := range founding.Authorities {
		issued["the authority "+a.ID] = a.Certificate
	}
	device, err := w.IssueDevice("edge-1", "e", newKey(t), w.now, 24*time.Hour)
	w.must(err)
	issued["a device's"] = device.DER
	server, err := w.ServerCertificate([]string{"devices.example.com", "192.0.2.7"}, 24*time.Hour).Get(nil)
	w.must(err)
	issued["the server's"] = server.Certificate[0]

	rules, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lint.SourceList{lint.RFC5280, lint.RFC5480}})
	w.must(err)
	judge := func(what string, found *zlint.ResultSet) {
		t.Helper()
		for name, r := range found.Results {
			if r.Status >= lint.Warn && !expected[name] {
				t.Errorf("%s: %s: %s %s", what, name, r.Status, r.Details)
			}
		}
		if len(found.Results) < 5 {
			t.Errorf("%s: %d rules", what, len(found.Results))
		}
	}
	for what, der := range issued {
		c, err := zx509.ParseCertificate(der)
		w.must(err)
		judge(what, zlint.LintCertificateEx(c, rules))
	}
	ca, err := w.SigningCA(certs.KindDevice)
	w.must(err)
	list, err := status.SignList(ca, status.List{Number: 1, ThisUpdate: w.now, NextUpdate: w.now.Add(time.Hour),
		Entries: []status.Revoked{{Serial: big.NewInt(7), At: w.now.Add(-time.Minute), Reason: status.KeyCompromise}}})
	w.must(err)
	if _, err := x509.ParseRevocationList(list); err != nil {
		t.Error(err)
	}
	l, err := zx509.ParseRevocationList(list)
	w.must(err)
	judge("a list", zlint.LintRevocationListEx(l, rules))
}

// expected is what they find and we want.
var expected = map[string]bool{
	"e_name_constraint_not_fqdn": true, // the server authority's: URIs of every host are excluded, which is the empty name
}
