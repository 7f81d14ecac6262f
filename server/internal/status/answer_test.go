package status

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// question asks after a serial number of an issuer.
func question(t testing.TB, issuer *x509.Certificate, hash crypto.Hash, serial *big.Int) []byte {
	t.Helper()
	name, key, err := Names(hash, issuer)
	if err != nil {
		t.Fatal(err)
	}
	der, err := (&ocsp.Request{HashAlgorithm: hash, IssuerNameHash: name, IssuerKeyHash: key, SerialNumber: serial}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// withExtensions puts request extensions behind a request's list.
func withExtensions(request []byte, extensions ...[]byte) []byte {
	inner := must(inside(must(inside(request))))
	return tlv(0x30, tlv(0x30, inner, tlv(0xa2, tlv(0x30, extensions...))))
}

func inside(der []byte) ([]byte, error) {
	switch {
	case der[1] < 0x80:
		return der[2:], nil
	case der[1] == 0x81:
		return der[3:], nil
	}
	return der[4:], nil
}

func tlv(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	switch n := len(body); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, body...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, body...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
}

var nonceID = []byte{0x06, 0x09, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2}

func nonceOf(n int) []byte {
	return tlv(0x30, nonceID, tlv(0x04, tlv(0x04, bytes.Repeat([]byte{7}, n))))
}

// REV-03
func TestAQuestionIsForOneCertificateWithANonceOfItsSize(t *testing.T) {
	t.Parallel()
	issuer := newIssuer().Certificate
	serial := new(big.Int).Lsh(big.NewInt(3), 120)
	for _, hash := range Hashes() {
		q, err := ReadQuestion(question(t, issuer, hash, serial))
		if err != nil || q.Hash != hash || q.Serial.Cmp(serial) != 0 || q.Nonce != nil {
			t.Errorf("%v: %+v, %v", hash, q, err)
		}
	}
	plain := question(t, issuer, crypto.SHA1, serial)
	critical := func(id []byte) []byte { return tlv(0x30, id, []byte{1, 1, 0xff}, tlv(0x04, tlv(0x04, []byte{1}))) }
	unknown := []byte{0x06, 0x03, 0x55, 0x1d, 0x63}
	one := must(inside(must(inside(must(inside(plain))))))
	for name, c := range map[string]struct {
		der []byte
		ok  bool
	}{
		"a nonce of one octet":          {withExtensions(plain, nonceOf(1)), true},
		"a nonce of 128":                {withExtensions(plain, nonceOf(128)), true},
		"a nonce that is critical":      {withExtensions(plain, critical(nonceID)), true},
		"another extension":             {withExtensions(plain, tlv(0x30, unknown, tlv(0x04, []byte{5, 0})), nonceOf(16)), true},
		"a nonce of none":               {withExtensions(plain, nonceOf(0)), false},
		"a nonce of 129":                {withExtensions(plain, nonceOf(129)), false},
		"two nonces":                    {withExtensions(plain, nonceOf(16), nonceOf(16)), false},
		"another one, critical":         {withExtensions(plain, critical(unknown)), false},
		"a nonce that is no octets":     {withExtensions(plain, tlv(0x30, nonceID, tlv(0x04, []byte{5, 0}))), false},
		"a nonce and more":              {withExtensions(plain, tlv(0x30, nonceID, tlv(0x04, tlv(0x04, []byte{1}), []byte{0}))), false},
		"no extensions where some go":   {withExtensions(plain), false},
		"the version written out":       {tlv(0x30, tlv(0x30, tlv(0xa0, []byte{2, 1, 0}), tlv(0x30, tlv(0x30, must(inside(one)))))), true},
		"another version":               {tlv(0x30, tlv(0x30, tlv(0xa0, []byte{2, 1, 1}), tlv(0x30, tlv(0x30, must(inside(one)))))), false},
		"a signature":                   {tlv(0x30, must(inside(plain)), tlv(0xa0, tlv(0x30))), true},
		"two certificates":              {tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30, must(inside(one))), tlv(0x30, must(inside(one)))))), false},
		"none":                          {tlv(0x30, tlv(0x30, tlv(0x30))), false},
		"something after it":            {append(bytes.Clone(plain), 0), false},
		"nothing":                       {nil, false},
		"too long":                      {withExtensions(plain, tlv(0x30, unknown, tlv(0x04, make([]byte, MaxQuestion)))), false},
		"a serial of zero":              {question(t, issuer, crypto.SHA1, new(big.Int)), false},
		"a serial below it":             {question(t, issuer, crypto.SHA1, big.NewInt(-1)), false},
		"a serial of more than 20":      {question(t, issuer, crypto.SHA1, new(big.Int).Lsh(big.NewInt(1), 159)), false},
		"a serial of 20 octets exactly": {question(t, issuer, crypto.SHA1, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 159), big.NewInt(1))), true},
	} {
		q, err := ReadQuestion(c.der)
		if (err == nil) != c.ok {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	for i := range plain { // cut anywhere it is none
		if _, err := ReadQuestion(plain[:i]); !errors.Is(err, ErrQuestion) {
			t.Fatalf("the first %d octets: %v", i, err)
		}
	}
}

func someAnswer(t *testing.T, issuer *x509.Certificate, serial int64) Answer {
	t.Helper()
	q := must(ReadQuestion(question(t, issuer, crypto.SHA256, big.NewInt(serial))))
	return Answer{CertID: q.CertID, Serial: q.Serial, Standing: Gone, RevokedAt: noon.Add(-time.Hour), Reason: KeyCompromise, ThisUpdate: noon, NextUpdate: noon.Add(time.Hour)}
}

func TestAnAnswerSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	for _, issuer := range []certs.CA{newIssuer(), issuerWith(ed())} {
		responder := responderOf(t, issuer)
		for _, c := range []struct {
			standing Standing
			reason   Reason
			nonce    []byte
		}{{Good, 0, nil}, {Unknown, 0, nil}, {Gone, 0, nil}, {Gone, AACompromise, nil}, {Good, 0, tlv(0x04, []byte("nonce"))}, {Gone, Superseded, tlv(0x04, make([]byte, 128))}} {
			a := someAnswer(t, issuer.Certificate, 77)
			a.Standing, a.Reason, a.Nonce = c.standing, c.reason, c.nonce
			if a.Standing != Gone {
				a.RevokedAt = time.Time{}
			}
			der, err := SignAnswer(responder, issuer.Certificate, a)
			if err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			r, err := ocsp.ParseResponse(der, nil)
			if err != nil || r.Status != int(c.standing) || r.RevocationReason != int(c.reason) || !r.RevokedAt.Equal(a.RevokedAt) {
				t.Errorf("%+v: %+v, %v", c, r, err)
			}
			if c.nonce != nil && !bytes.Contains(der, c.nonce) {
				t.Error("the nonce is not there")
			}
		}
	}
}

// REV-03: what differs from what was asked for does not leave.
func TestAnAnswerThatSaysAnythingElseDoesNotLeave(t *testing.T) {
	t.Parallel()
	issuer := newIssuer()
	responder, want := responderOf(t, issuer), someAnswer(t, issuer.Certificate, 77)
	good := must(SignAnswer(responder, issuer.Certificate, want))
	for name, spoil := range map[string]func(a *Answer){
		"good instead of revoked":    func(a *Answer) { a.Standing, a.Reason, a.RevokedAt = Good, 0, time.Time{} },
		"unknown instead of revoked": func(a *Answer) { a.Standing, a.Reason, a.RevokedAt = Unknown, 0, time.Time{} },
		"another certificate":        func(a *Answer) { o := someAnswer(t, issuer.Certificate, 78); a.CertID, a.Serial = o.CertID, o.Serial },
		"another issuer":             func(a *Answer) { a.CertID = someAnswer(t, newIssuer().Certificate, 77).CertID },
		"revoked later":              func(a *Answer) { a.RevokedAt = noon.Add(-time.Minute) },
		"another reason":             func(a *Answer) { a.Reason = Superseded },
		"another date":               func(a *Answer) { a.ThisUpdate = noon.Add(time.Second) },
		"for longer":                 func(a *Answer) { a.NextUpdate = noon.Add(2 * time.Hour) },
		"a nonce":                    func(a *Answer) { a.Nonce = tlv(0x04, []byte{1}) },
	} {
		a := want
		spoil(&a)
		der, err := SignAnswer(responder, issuer.Certificate, a)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := LintAnswer(der, responder.Certificate, issuer.Certificate, want); !errors.Is(err, ErrLint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unknown := want
	unknown.Standing, unknown.Reason, unknown.RevokedAt = Unknown, 0, time.Time{}
	known := unknown
	known.Standing = Good
	der := must(SignAnswer(responder, issuer.Certificate, known))
	if err := LintAnswer(der, responder.Certificate, issuer.Certificate, unknown); !errors.Is(err, ErrLint) {
		t.Errorf("good instead of unknown: %v", err)
	}
	asked := want
	asked.Nonce = tlv(0x04, []byte{2})
	if err := LintAnswer(good, responder.Certificate, issuer.Certificate, asked); !errors.Is(err, ErrLint) {
		t.Errorf("without the nonce: %v", err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if LintAnswer(bad, responder.Certificate, issuer.Certificate, want) == nil {
			t.Fatalf("octet %d may be another", i)
		}
	}
	// Certificates that may not answer: of a device, of the authority itself, of
	// another authority's responder, and one that ends before the answer does.
	key := p256()
	device := certs.DeviceTemplate{DeviceID: "edge-1", TrustDomain: "fleet.test", PublicKey: key.Public()}
	device.NotBefore, device.NotAfter = certs.Validity(noon.Add(-time.Hour), 24*time.Hour)
	late := want
	late.NextUpdate = noon.Add(24 * time.Hour)
	for name, c := range map[string]struct {
		by certs.CA
		a  Answer
	}{
		"a device":              {certs.CA{Certificate: parsed(must(certs.IssueDevice(issuer, device))), Signer: key}, want},
		"the authority itself":  {issuer, want},
		"another's responder":   {responderOf(t, newIssuer()), want},
		"one that ends earlier": {responder, late},
	} {
		if _, err := SignAnswer(c.by, issuer.Certificate, c.a); !errors.Is(err, ErrLint) {
			t.Errorf("%s answers: %v", name, err)
		}
	}
}

// FuzzReadQuestion: what is read is what another reader reads, and is said again in
// the answer as it came.
func FuzzReadQuestion(f *testing.F) {
	issuer := newIssuer().Certificate
	for _, hash := range Hashes() {
		plain := question(f, issuer, hash, big.NewInt(77))
		f.Add(plain)
		f.Add(withExtensions(plain, nonceOf(32)))
		f.Add(tlv(0x30, must(inside(plain)), tlv(0xa0, tlv(0x30))))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		q, err := ReadQuestion(der)
		if err != nil {
			return
		}
		if len(q.Nonce) > 2+1+128 || q.Serial.Sign() <= 0 || len(q.Serial.Bytes()) > 20 || !bytes.Contains(der, q.CertID) {
			t.Fatalf("%+v", q)
		}
		other, err := ocsp.ParseRequest(der)
		if err != nil {
			return // it takes no signed ones
		}
		if other.SerialNumber.Cmp(q.Serial) != 0 || other.HashAlgorithm != q.Hash || !bytes.Equal(other.IssuerKeyHash, q.KeyHash) || !bytes.Equal(other.IssuerNameHash, q.NameHash) {
			t.Fatalf("%+v is read as %+v", q, other)
		}
	})
}
