package pki_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

const answerLife = 10 * time.Minute

func (w *office) responder() *pki.Responder {
	w.Helper()
	r, err := w.NewResponder(answerLife)
	w.must(err)
	return r
}

// request asks after a serial number of an authority.
func (w *office) question(ca *x509.Certificate, serial *big.Int, nonce []byte) []byte {
	w.Helper()
	name, key, err := status.Names(crypto.SHA1, ca)
	w.must(err)
	der, err := (&ocsp.Request{HashAlgorithm: crypto.SHA1, IssuerNameHash: name, IssuerKeyHash: key, SerialNumber: serial}).Marshal()
	w.must(err)
	if nonce == nil {
		return der
	}
	var q struct {
		TBS struct {
			List asn1.RawValue
		}
	}
	_, err = asn1.Unmarshal(der, &q)
	w.must(err)
	type extension struct {
		ID    asn1.ObjectIdentifier
		Value []byte
	}
	value, err := asn1.Marshal(nonce)
	w.must(err)
	der, err = asn1.Marshal(struct {
		TBS struct {
			List       asn1.RawValue
			Extensions []extension `asn1:"explicit,tag:2"`
		}
	}{TBS: struct {
		List       asn1.RawValue
		Extensions []extension `asn1:"explicit,tag:2"`
	}{q.TBS.List, []extension{{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, value}}}})
	w.must(err)
	return der
}

func serialOf(c *pki.Issued) *big.Int {
	n, _ := new(big.Int).SetString(c.Serial, 16)
	return n
}

// told asks and reads the answer, verified by the authority.
func (w *office) told(r *pki.Responder, ca *x509.Certificate, serial *big.Int) (*ocsp.Response, pki.Reply) {
	w.Helper()
	reply, err := r.Answer(w.Context(), w.question(ca, serial, nil))
	w.must(err)
	answer, err := ocsp.ParseResponse(reply.DER, ca)
	if err != nil {
		w.Fatalf("answered %x: %v", reply.DER, err)
	}
	return answer, reply
}

// REV-03: good is only what is on record here and not revoked.
func TestOnlyWhatIsOnRecordIsGood(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		r := w.responder()
		ca, err := w.Active(certs.KindDevice)
		w.must(err)
		serverCA, err := w.Active(certs.KindServer)
		w.must(err)
		good, gone := w.issue("edge-1", 24*time.Hour), w.issue("edge-2", 24*time.Hour)
		w.revoke("edge-2", "keyCompromise: stolen")
		unrecorded, err := w.IssueDevice("edge-3", "e", newKey(w.T), w.now, time.Hour)
		w.must(err)
		own, err := w.ServerCertificate([]string{"a.test"}, time.Hour).Get(nil)
		w.must(err)
		for name, c := range map[string]struct {
			ca     *x509.Certificate
			serial *big.Int
			want   int
		}{
			"on record":                           {ca, serialOf(good), ocsp.Good},
			"revoked":                             {ca, serialOf(gone), ocsp.Revoked},
			"signed, and not on record":           {ca, serialOf(unrecorded), ocsp.Unknown},
			"a number nobody drew":                {ca, big.NewInt(77), ocsp.Unknown},
			"of another authority":                {serverCA, serialOf(good), ocsp.Unknown},
			"the server's own":                    {serverCA, own.Leaf.SerialNumber, ocsp.Good},
			"the server's own, as a device's":     {ca, own.Leaf.SerialNumber, ocsp.Unknown},
			"the authority's own number":          {ca, ca.SerialNumber, ocsp.Unknown},
			"on record, with a bit more in front": {ca, new(big.Int).Add(serialOf(good), new(big.Int).Lsh(big.NewInt(1), 130)), ocsp.Unknown},
		} {
			answer, reply := w.told(r, c.ca, c.serial)
			if answer.Status != c.want || answer.SerialNumber.Cmp(c.serial) != 0 || !answer.NextUpdate.Equal(w.now.Add(answerLife)) {
				w.Errorf("%s: %+v", name, answer)
			}
			if c.want == ocsp.Revoked && (answer.RevocationReason != ocsp.KeyCompromise || !answer.RevokedAt.Equal(w.now)) {
				w.Errorf("%s: %+v", name, answer)
			}
			if (c.want == ocsp.Unknown) != reply.NextUpdate.IsZero() {
				w.Errorf("%s: others may keep it until %v", name, reply.NextUpdate)
			}
		}
		foreign := newOffice(w.T, "sqlite:"+w.TempDir()+"/db")
		foreign.founded()
		other, err := foreign.Active(certs.KindDevice)
		w.must(err)
		for name, c := range map[string]struct{ request, want []byte }{
			"another's authority": {w.question(other, serialOf(good), nil), status.Unauthorized},
			"no request":          {[]byte("x"), status.Malformed},
			"nothing":             {nil, status.Malformed},
		} {
			if reply, err := r.Answer(w.Context(), c.request); err != nil || !bytes.Equal(reply.DER, c.want) || !reply.NextUpdate.IsZero() {
				w.Errorf("%s: %x, %v", name, reply.DER, err)
			}
		}
		// The responder is one as RFC 6960 section 4.2.2.2 has it, on record, and no device.
		answer, _ := w.told(r, ca, serialOf(good))
		if c := answer.Certificate; c == nil || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageOCSPSigning || c.NotAfter.Sub(w.now) > 24*time.Hour || c.CheckSignatureFrom(ca) != nil {
			w.Fatalf("the responder is %+v", c)
		}
		if kept, err := pki.Get(w.Context(), w.d.Read(), certs.Fingerprint(answer.Certificate.Raw)); err != nil || kept.Kind != pki.KindResponder {
			w.Errorf("its certificate is not on record: %v", err)
		}
		issuers, _ := w.Issuers(certs.KindDevice)
		if id, err := certs.VerifyDevice([]*x509.Certificate{answer.Certificate}, issuers, "fleet.test", w.now); !errors.Is(err, certs.ErrNotDevice) {
			w.Errorf("the responder counts as the device %+v: %v", id, err)
		}
	})
}

func TestAnAnswerIsSignedOnceUntilSomethingChanges(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		r := w.responder()
		ca, err := w.Active(certs.KindDevice)
		w.must(err)
		c := w.issue("edge-1", 24*time.Hour)
		_, first := w.told(r, ca, serialOf(c))
		for _, after := range []time.Duration{0, time.Second, 3 * time.Second} { // read again, and nothing is new
			w.now = w.now.Add(after)
			if _, again := w.told(r, ca, serialOf(c)); !bytes.Equal(again.DER, first.DER) {
				w.Errorf("%v later it was signed again", after)
			}
		}
		w.now = w.now.Add(answerLife / 2)
		if _, again := w.told(r, ca, serialOf(c)); bytes.Equal(again.DER, first.DER) {
			w.Error("it is told until its very end")
		}
		// Another node revokes: this one reads again after two seconds.
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return pki.Revoke(ctx, tx, "edge-1", "lost") }))
		w.now = w.now.Add(2 * time.Second)
		if answer, _ := w.told(r, ca, serialOf(c)); answer.Status != ocsp.Revoked {
			w.Error("good two seconds after its revocation at another node")
		}
		// This node revokes: at once.
		d := w.issue("edge-2", 24*time.Hour)
		w.told(r, ca, serialOf(d))
		w.revoke("edge-2", "lost")
		if answer, _ := w.told(r, ca, serialOf(d)); answer.Status != ocsp.Revoked {
			w.Error("good after its revocation at this node")
		}
		// The responder's own certificate is made anew in good time.
		before, _ := w.told(r, ca, serialOf(d))
		w.now = w.now.Add(17 * time.Hour)
		after, _ := w.told(r, ca, serialOf(d))
		if bytes.Equal(before.Certificate.Raw, after.Certificate.Raw) || after.NextUpdate.After(after.Certificate.NotAfter) {
			w.Error("the responder answers with a certificate that ends")
		}
	})
}

func TestANonceIsSaidAgainAndItsAnswerIsForNobodyElse(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		r := w.responder()
		ca, err := w.Active(certs.KindDevice)
		w.must(err)
		c := w.issue("edge-1", 24*time.Hour)
		_, plain := w.told(r, ca, serialOf(c))
		for _, n := range []int{1, 16, 32, 128} {
			nonce := bytes.Repeat([]byte{0xa5}, n)
			reply, err := r.Answer(w.Context(), w.question(ca, serialOf(c), nonce))
			w.must(err)
			if answer, err := ocsp.ParseResponse(reply.DER, ca); err != nil || answer.Status != ocsp.Good || !bytes.Contains(reply.DER, nonce) || !reply.NextUpdate.IsZero() {
				w.Errorf("%d octets: %+v, %v", n, answer, err)
			}
		}
		for _, n := range []int{0, 129} {
			if reply, _ := r.Answer(w.Context(), w.question(ca, serialOf(c), bytes.Repeat([]byte{1}, n))); !bytes.Equal(reply.DER, status.Malformed) {
				w.Errorf("%d octets: %x", n, reply.DER)
			}
		}
		if _, again := w.told(r, ca, serialOf(c)); !bytes.Equal(again.DER, plain.DER) {
			w.Error("the answer without a nonce is another one now")
		}
	})
}

// REV-11, REV-05: when the inventory cannot be asked, or has forgotten something,
// nothing is said; what was signed before is not said again.
func TestWithoutTheInventoryNothingIsSaid(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		r := w.responder()
		ca, err := w.Active(certs.KindDevice)
		w.must(err)
		c := w.issue("edge-1", 24*time.Hour)
		w.told(r, ca, serialOf(c))
		w.now = w.now.Add(3 * time.Second)
		request := w.question(ca, serialOf(c), nil)
		gone, cancel := context.WithCancel(w.Context())
		cancel()
		for range 20 { // some end before the read, and some in it
			if reply, _ := r.Answer(gone, request); !bytes.Equal(reply.DER, status.TryLater) {
				w.Errorf("the read failed, and it was said: %x", reply.DER)
			}
		}
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return tx.SetBehind(ctx, "test") }))
		if reply, err := r.Answer(w.Context(), request); err == nil || !bytes.Equal(reply.DER, status.TryLater) {
			w.Errorf("the inventory has forgotten something, and it was said: %x, %v", reply.DER, err)
		}
	})
}

func TestEveryReasonIsTold(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		r := w.responder()
		ca, err := w.Active(certs.KindDevice)
		w.must(err)
		for i, reason := range []string{"lost", "keyCompromise", "cACompromise: x", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn", "aACompromise"} {
			id := fmt.Sprintf("edge-%d", i)
			c := w.issue(id, 24*time.Hour)
			w.revoke(id, reason)
			if answer, _ := w.told(r, ca, serialOf(c)); answer.Status != ocsp.Revoked || answer.RevocationReason != int(status.ReasonOf(reason)) {
				w.Errorf("%s: %+v", reason, answer)
			}
		}
	})
}
