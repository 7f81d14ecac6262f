package revocation_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca/extcatest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
)

// oidNoCheck is id-pkix-ocsp-nocheck (RFC 6960 section 4.2.2.2.1).
var oidNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}

// responder is a certificate for answering, as change makes it.
func responder(t testing.TB, ca *extcatest.CA, change func(*x509.Certificate)) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key := extcatest.Key(t)
	return ca.Issue(t, "responder", key.Public(), now, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
		c.ExtraExtensions = []pkix.Extension{{Id: oidNoCheck, Value: []byte{5, 0}}}
		if change != nil {
			change(c)
		}
	}), key
}

// said is an answer about a certificate, as change makes it.
func said(t testing.TB, issuer, by *x509.Certificate, key crypto.Signer, serial *big.Int, change func(*ocsp.Response)) []byte {
	t.Helper()
	r := ocsp.Response{Status: ocsp.Good, SerialNumber: serial, ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(time.Hour), IssuerHash: crypto.SHA1}
	if !by.Equal(issuer) {
		r.Certificate = by
	}
	if change != nil {
		change(&r)
	}
	der, err := ocsp.CreateResponse(issuer, by, r, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// A9, REV-03: forged, stale and misplaced answers.
func TestAnAnswerThatCannotBeReliedOnIsRefused(t *testing.T) {
	t.Parallel()
	ca := extcatest.NewRoot(t, "Other", now, nil)
	twin := extcatest.NewRoot(t, "Other", now, nil)
	leaf := ca.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	q, err := revocation.NewQuestion(leaf, ca.Certificate, nil)
	if err != nil {
		t.Fatal(err)
	}
	by, key := responder(t, ca, nil)
	good := said(t, ca.Certificate, by, key, leaf.SerialNumber, nil)
	if a, err := revocation.ReadAnswer(good, q, false, now); err != nil || a.Standing != status.Good || !a.NoCheck || !a.Responder.Equal(by) {
		t.Fatalf("%+v %v", a, err)
	}
	if a, err := revocation.ReadAnswer(said(t, ca.Certificate, ca.Certificate, ca.Key, leaf.SerialNumber, nil), q, false, now); err != nil || a.Responder != nil {
		t.Errorf("of the issuer itself: %+v %v", a, err)
	}
	gone := said(t, ca.Certificate, by, key, leaf.SerialNumber, func(r *ocsp.Response) {
		r.Status, r.RevokedAt, r.RevocationReason = ocsp.Revoked, now, ocsp.KeyCompromise
	})
	if a, err := revocation.ReadAnswer(gone, q, false, now); err != nil || a.Standing != status.Gone || a.Reason != ocsp.KeyCompromise {
		t.Errorf("revoked: %+v %v", a, err)
	}

	as := func(change func(*x509.Certificate)) []byte {
		by, key := responder(t, ca, change)
		return said(t, ca.Certificate, by, key, leaf.SerialNumber, nil)
	}
	foreign, foreignKey := responder(t, twin, nil)
	sub := ca.Sub(t, "Below", now, nil)
	below, belowKey := responder(t, sub, nil)
	broken := bytes.Clone(good)
	at := bytes.Index(broken, by.Raw) - 20 // within the signature
	broken[at] ^= 1
	for name, data := range map[string][]byte{
		"nothing":                         nil,
		"something else":                  []byte("<html>"),
		"cut off":                         good[:len(good)-1],
		"with something behind":           append(bytes.Clone(good), 0),
		"too long":                        make([]byte, revocation.MaxAnswer+1),
		"that is none (try later)":        {0x30, 3, 0x0a, 1, 3},
		"with a broken signature":         broken,
		"about another serial number":     said(t, ca.Certificate, by, key, big.NewInt(77), nil),
		"about a twin's certificate":      said(t, twin.Certificate, foreign, foreignKey, leaf.SerialNumber, nil),
		"that does not hold any more":     said(t, ca.Certificate, by, key, leaf.SerialNumber, func(r *ocsp.Response) { r.NextUpdate = now }),
		"that begins in the future":       said(t, ca.Certificate, by, key, leaf.SerialNumber, func(r *ocsp.Response) { r.ThisUpdate = now.Add(10 * time.Minute) }),
		"of long ago that has no end":     said(t, ca.Certificate, by, key, leaf.SerialNumber, func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(-time.Hour), time.Time{} }),
		"of a responder for clients":      as(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
		"of a responder for anything":     as(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }),
		"of a responder that has expired": as(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }),
		"of a responder not valid yet":    as(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }),
		"of a responder that is a CA":     as(func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }),
		"of another authority's one":      said(t, ca.Certificate, foreign, foreignKey, leaf.SerialNumber, nil),
		"of an authority's below":         said(t, ca.Certificate, below, belowKey, leaf.SerialNumber, nil),
		"of the device itself":            said(t, ca.Certificate, leaf, key, leaf.SerialNumber, nil),
		"with a critical extension": said(t, ca.Certificate, by, key, leaf.SerialNumber, func(r *ocsp.Response) {
			r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}),
	} {
		if a, err := revocation.ReadAnswer(data, q, false, now); !errors.Is(err, revocation.ErrAnswer) {
			t.Errorf("an answer %s: %+v %v", name, a, err)
		}
	}
	q.Nonce = bytes.Repeat([]byte{7}, 32)
	if _, err := revocation.ReadAnswer(good, q, true, now); !errors.Is(err, revocation.ErrAnswer) {
		t.Errorf("without the nonce: %v", err)
	}
	if a, err := revocation.ReadAnswer(said(t, ca.Certificate, by, key, leaf.SerialNumber, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), q, false, now); err != nil || !a.NextUpdate.Equal(now.Add(9*time.Minute)) {
		t.Errorf("without an end: %+v %v", a, err)
	}
}

// A9: a responder asked in the background, and everything that it may do wrong.
func TestWhatAResponderSaysIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Responder: "http://ocsp.test/"})
	by, key := responder(t, w.ca, nil)
	standing := ocsp.Good
	w.answer = func(revocation.Request) ([]byte, error) {
		return said(t, w.ca.Certificate, by, key, w.leaf.SerialNumber, func(r *ocsp.Response) {
			r.Status, r.ThisUpdate, r.NextUpdate = standing, w.clock(), w.clock().Add(10*time.Minute)
			if standing == ocsp.Revoked {
				r.RevokedAt = w.clock()
			}
		}), nil
	}
	w.stands("before it was asked", revocation.ErrUnknown)
	if err := w.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("good", nil)
	w.ready("good", "")
	if len(w.fetched) != 1 || w.fetched[0].Body == nil || !w.fetched[0].Chosen {
		t.Errorf("asked %+v", w.fetched)
	}
	good := w.answer
	w.answer = nil
	w.later(9 * time.Minute)
	if err := w.Round(t.Context()); err == nil {
		t.Error("no answer is no error")
	}
	w.stands("while what was said holds", nil)
	w.ready("for nine minutes without an answer", "does not answer")
	w.later(time.Minute)
	w.stands("when it does not hold any more", revocation.ErrUnknown)
	w.answer = good
	standing = ocsp.Unknown
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("unknown to the responder", revocation.ErrUnknown)
	standing = ocsp.Revoked
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("revoked", revocation.ErrRevoked)
	standing = ocsp.Good
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("good again, it says", revocation.ErrRevoked)
	if found := w.Found(); len(found) != 1 {
		t.Errorf("found %v", found)
	}
}

// RFC 6960 section 4.2.2.2.1: a responder without that mark is checked itself.
func TestARevokedResponderIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lists, mark, revoked bool
		want                 error
	}{
		"marked":                  {mark: true},
		"not marked and no list":  {want: revocation.ErrUnknown},
		"not marked, on no list":  {lists: true},
		"not marked, and revoked": {lists: true, revoked: true, want: revocation.ErrUnknown},
		"marked, and revoked":     {lists: true, mark: true, revoked: true, want: revocation.ErrUnknown},
	} {
		s := revocation.Settings{Responder: "http://ocsp.test/"}
		if c.lists {
			s.Lists = []string{"list.crl"}
		}
		w := newWorld(t, s)
		by, key := responder(t, w.ca, func(x *x509.Certificate) {
			if !c.mark {
				x.ExtraExtensions = nil
			}
		})
		w.answer = func(revocation.Request) ([]byte, error) {
			return said(t, w.ca.Certificate, by, key, w.leaf.SerialNumber, nil), nil
		}
		if c.revoked {
			w.put(w.ca.CRL(t, 1, now, now.Add(time.Hour), by))
		} else {
			w.put(w.ca.CRL(t, 1, now, now.Add(time.Hour)))
		}
		_ = w.Standing(w.chain)
		_ = w.Round(t.Context())
		w.stands(name, c.want)
	}
}

// Asked for both, both must say that a certificate is good.
func TestListsAndResponderMustAgree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Lists: []string{"list.crl"}, Responder: revocation.FromCertificate})
	w.leaf = w.ca.Issue(t, "edge-1", extcatest.Key(t).Public(), now, func(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.test/own"} })
	w.chain[0] = w.leaf
	by, key := responder(t, w.ca, nil)
	w.put(w.ca.CRL(t, 1, now, now.Add(time.Hour)))
	_ = w.Standing(w.chain)
	_ = w.Round(t.Context())
	w.stands("by the list alone", revocation.ErrUnknown)
	w.answer = func(revocation.Request) ([]byte, error) {
		return said(t, w.ca.Certificate, by, key, w.leaf.SerialNumber, nil), nil
	}
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("by both", nil)
	for _, r := range w.fetched { // what a certificate names, nobody chose
		if r.URL != "http://ocsp.test/own" || r.Chosen {
			t.Errorf("asked %+v", r)
		}
	}
	w.put(w.ca.CRL(t, 2, now, now.Add(time.Hour), w.leaf))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("revoked by the list", revocation.ErrRevoked)
}

func TestRunFetchesAtOnceAndWhenSomethingNewIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Responder: "http://ocsp.test/", Every: time.Hour})
	by, key := responder(t, w.ca, nil)
	w.answer = func(revocation.Request) ([]byte, error) {
		return said(t, w.ca.Certificate, by, key, w.leaf.SerialNumber, nil), nil
	}
	rounds := make(chan error, 10)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, func(_ context.Context, err error) { rounds <- err }) }()
	if err := <-rounds; err != nil {
		t.Fatal(err)
	}
	w.stands("new", revocation.ErrUnknown)
	if err := <-rounds; err != nil {
		t.Fatal(err)
	}
	w.stands("asked about", nil)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func FuzzReadAnswer(f *testing.F) {
	ca := extcatest.NewRoot(f, "Other", now, nil)
	leaf := ca.Issue(f, "edge-1", extcatest.Key(f).Public(), now, nil)
	by, key := responder(f, ca, nil)
	q, err := revocation.NewQuestion(leaf, ca.Certificate, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		f.Fatal(err)
	}
	good := said(f, ca.Certificate, by, key, leaf.SerialNumber, nil)
	f.Add(good)
	f.Add(said(f, ca.Certificate, ca.Certificate, ca.Key, leaf.SerialNumber, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now }))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := revocation.ReadAnswer(data, q, false, now); err == nil && a.Standing == status.Good && a.Responder != nil && !a.Responder.Equal(by) {
			t.Errorf("%+v", a)
		}
	})
}
