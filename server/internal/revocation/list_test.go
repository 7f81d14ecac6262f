package revocation_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca/extcatest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var (
	oidScope = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDelta = asn1.ObjectIdentifier{2, 5, 29, 27}
)

func scope(value ...byte) pkix.Extension {
	return pkix.Extension{Id: oidScope, Critical: true, Value: append([]byte{0x30, byte(len(value))}, value...)}
}

// REV-02: each way in which a list cannot be relied on.
func TestAListThatCannotBeReliedOnIsRefused(t *testing.T) {
	t.Parallel()
	ca := extcatest.NewRoot(t, "Other", now, nil)
	stranger := extcatest.NewRoot(t, "Other", now, nil)
	mute := extcatest.NewRoot(t, "Other", now, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign })
	leaf := ca.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	with := func(change func(*x509.RevocationList)) []byte {
		return ca.CRLWith(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = now.Add(-time.Minute), now.Add(time.Hour)
			change(l)
		})
	}
	extra := func(e pkix.Extension) []byte {
		return with(func(l *x509.RevocationList) { l.ExtraExtensions = append(l.ExtraExtensions, e) })
	}
	entry := func(e pkix.Extension) []byte {
		return with(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(1), RevocationTime: now, ExtraExtensions: []pkix.Extension{e}}}
		})
	}
	good := with(func(*x509.RevocationList) {})
	broken := bytes.Clone(good)
	broken[len(broken)-5] ^= 1
	for name, data := range map[string][]byte{
		"nothing":                             nil,
		"something else":                      []byte("<html>"),
		"a certificate":                       leaf.Raw,
		"cut off":                             good[:len(good)-1],
		"with something behind it":            append(bytes.Clone(good), 0),
		"with a broken signature":             broken,
		"of a stranger by the same name":      stranger.CRL(t, 1, now, now.Add(time.Hour)),
		"that begins in the future":           ca.CRL(t, 1, now.Add(time.Hour), now.Add(2*time.Hour)),
		"that is a delta":                     extra(pkix.Extension{Id: oidDelta, Critical: true, Value: []byte{2, 1, 1}}),
		"that is a delta and does not insist": extra(pkix.Extension{Id: oidDelta, Value: []byte{2, 1, 1}}),
		"that is indirect":                    extra(scope(0x84, 1, 0xff)),
		"of some reasons":                     extra(scope(0x83, 2, 1, 0x40)),
		"of attribute certificates":           extra(scope(0x85, 1, 0xff)),
		"of users only and CAs only":          extra(scope(0x81, 1, 0xff, 0x82, 1, 0xff)),
		"of a scope that cannot be read":      extra(scope(0x81, 2, 0xff, 0)),
		"of a scope with something behind":    extra(scope(0x81, 1, 0xff, 5, 0)),
		"of a relative distribution point":    extra(scope(0xa0, 2, 0xa1, 0)),
		"with a critical extension":           extra(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}),
		"an entry with a critical extension":  entry(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}),
		"an entry of another issuer":          entry(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}),
		"in PEM of another kind":              pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: good}),
		"twice in PEM":                        bytes.Repeat(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: good}), 2),
	} {
		if _, err := revocation.ReadList(data, []*x509.Certificate{ca.Certificate}, now); !errors.Is(err, revocation.ErrList) {
			t.Errorf("a list %s: %v", name, err)
		}
	}
	for name, data := range map[string][]byte{
		"as it is": good, "in PEM": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: good}),
		"with an extension that does not insist": extra(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: []byte{5, 0}}),
		"of users only":                          extra(scope(0x81, 1, 0xff)),
	} {
		if _, err := revocation.ReadList(data, []*x509.Certificate{stranger.Certificate, ca.Certificate}, now); err != nil {
			t.Errorf("a list %s: %v", name, err)
		}
	}
	// The right to sign lists is the authority's own.
	list := mute.CRL(t, 1, now, now.Add(time.Hour))
	for _, usage := range []x509.KeyUsage{x509.KeyUsageCertSign, 0} {
		mute.Certificate.KeyUsage = usage
		if _, err := revocation.ReadList(list, []*x509.Certificate{mute.Certificate}, now); err == nil {
			t.Errorf("an authority that may not sign lists is believed, of key usage %d", usage)
		}
	}
	ends := extcatest.NewRoot(t, "Other", now, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) })
	if _, err := revocation.ReadList(ends.CRL(t, 1, now.Add(-time.Hour), now.Add(time.Hour)), []*x509.Certificate{ends.Certificate}, now); err == nil {
		t.Error("an authority that has expired is believed")
	}
}

func FuzzReadList(f *testing.F) {
	ca := extcatest.NewRoot(f, "Other", now, nil)
	leaf := ca.Issue(f, "edge-1", extcatest.Key(f).Public(), now, nil)
	f.Add(ca.CRL(f, 1, now, now.Add(time.Hour), leaf))
	f.Add(ca.CRLWith(f, func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = now, now.Add(time.Hour)
		l.ExtraExtensions = []pkix.Extension{scope(0xa0, 12, 0xa0, 10, 0x86, 8, 'h', 't', 't', 'p', ':', '/', '/', 'x')}
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := revocation.ReadList(data, []*x509.Certificate{ca.Certificate}, now)
		if err == nil && (l.Issuer == nil || l.NextUpdate.IsZero()) {
			t.Errorf("%+v", l)
		}
	})
}
