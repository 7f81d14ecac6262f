package revocation_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca/extcatest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
)

// openssl is an authority whose lists and answers OpenSSL makes.
type openssl struct {
	t    *testing.T
	ca   *extcatest.CA
	dir  string
	rows []string // of its index, as `openssl ca` keeps it
}

func newOpenSSL(t *testing.T) *openssl {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is not installed; run: test/postgres/ensure judges")
	}
	at := time.Now()
	o := &openssl{t: t, ca: extcatest.NewRoot(t, "Other", at, nil), dir: t.TempDir()}
	key, ok := o.ca.Key.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatal("not an ECDSA key")
	}
	o.write("ca.pem", extcatest.PEM(o.ca.Certificate))
	o.write("ca.key", extcatest.KeyPEM(t, key))
	responder := extcatest.Key(t)
	o.write("responder.key", extcatest.KeyPEM(t, responder))
	o.write("responder.pem", extcatest.PEM(o.ca.Issue(t, "responder", responder.Public(), at, func(c *x509.Certificate) {
		c.ExtKeyUsage, c.SerialNumber = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, big.NewInt(9)
	})))
	o.write("crlnumber", []byte("01\n"))
	o.write("ca.cnf", []byte(`[ca]
default_ca = own
[own]
dir = `+o.dir+`
database = $dir/index.txt
crlnumber = $dir/crlnumber
certificate = $dir/ca.pem
private_key = $dir/ca.key
default_md = sha256
default_crl_days = 1
crl_extensions = list
[list]
authorityKeyIdentifier = keyid
`))
	return o
}

func (o *openssl) write(name string, data []byte) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), data, 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *openssl) run(args ...string) error {
	cmd := exec.CommandContext(o.t.Context(), "openssl", args...)
	cmd.Dir = o.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("openssl %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// issue puts a certificate into the index; revoked "" leaves it valid.
func (o *openssl) issue(leaf *x509.Certificate, revoked string) {
	o.t.Helper()
	state := "V"
	if revoked != "" {
		state = "R"
		revoked = time.Now().UTC().Add(-time.Second).Format("060102150405Z") + "," + revoked
	}
	serial := fmt.Sprintf("%X", leaf.SerialNumber)
	if len(serial)%2 == 1 {
		serial = "0" + serial
	}
	row := strings.Join([]string{state, leaf.NotAfter.UTC().Format("060102150405Z"), revoked, serial, "unknown", "/O=Other/CN=" + leaf.Subject.CommonName}, "\t")
	for i, r := range o.rows {
		if strings.Split(r, "\t")[3] == serial {
			o.rows = append(o.rows[:i], o.rows[i+1:]...)
			break
		}
	}
	o.rows = append(o.rows, row)
	o.write("index.txt", []byte(strings.Join(o.rows, "\n")+"\n"))
}

// answer is what `openssl ocsp` answers, as a responder of its own process.
func (o *openssl) answer(_ context.Context, r revocation.Request) ([]byte, error) {
	dir, err := os.MkdirTemp(o.dir, "ask")
	if err != nil {
		return nil, err
	}
	in, out := filepath.Join(dir, "req.der"), filepath.Join(dir, "resp.der")
	if err := os.WriteFile(in, r.Body, 0o600); err != nil {
		return nil, err
	}
	if err := o.run("ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "responder.pem", "-rkey", "responder.key", "-reqin", in, "-respout", out, "-nmin", "5"); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// A9: OpenSSL's lists and its responder, with certificates in every state.
func TestOpenSSLsListsAndAnswersAreUnderstood(t *testing.T) {
	t.Parallel()
	o := newOpenSSL(t)
	at := time.Now()
	issue := func(id, revoked string) []*x509.Certificate {
		leaf := o.ca.Issue(t, id, extcatest.Key(t).Public(), at, nil)
		o.issue(leaf, revoked)
		return []*x509.Certificate{leaf, o.ca.Certificate}
	}
	good, gone, held := issue("edge-1", ""), issue("edge-2", "keyCompromise"), issue("edge-3", "certificateHold")
	stranger := []*x509.Certificate{o.ca.Issue(t, "edge-4", extcatest.Key(t).Public(), at, nil), o.ca.Certificate} // not in the index
	gencrl := func() {
		t.Helper()
		if err := o.run("ca", "-config", "ca.cnf", "-gencrl", "-out", "list.crl"); err != nil {
			t.Fatal(err)
		}
	}
	gencrl()
	lists := []string{filepath.Join(o.dir, "list.crl")}
	for name, s := range map[string]revocation.Settings{
		"lists":   {Lists: lists},
		"answers": {Responder: "http://ocsp.test", NeedNonce: true, Lists: lists}, // the responder has no mark, so it is checked by the list
		"no list": {Responder: "http://ocsp.test", NeedNonce: true},
	} {
		s.Every = time.Minute
		c := revocation.New(s, []*x509.Certificate{o.ca.Certificate}, nil, o.answer, time.Now)
		all := [][]*x509.Certificate{good, gone, held, stranger}
		for _, chain := range all {
			_ = c.Standing(chain)
		}
		err := c.Round(t.Context())
		want := map[string][]error{
			"lists":   {nil, revocation.ErrRevoked, revocation.ErrRevoked, nil}, // a list names what is revoked only
			"answers": {nil, revocation.ErrRevoked, revocation.ErrRevoked, revocation.ErrUnknown},
			"no list": {revocation.ErrUnknown, revocation.ErrUnknown, revocation.ErrUnknown, revocation.ErrUnknown}, // nobody vouches for the responder
		}[name]
		if (err == nil) != (name != "no list") {
			t.Errorf("%s: %v", name, err)
		}
		for i, chain := range all {
			if err := c.Standing(chain); !errors.Is(err, want[i]) || want[i] == nil && err != nil {
				t.Errorf("%s: certificate %d: %v, want %v", name, i+1, err, want[i])
			}
		}
	}

	// Revoked since: refused after one round.
	c := revocation.New(revocation.Settings{Lists: lists, Every: time.Minute}, []*x509.Certificate{o.ca.Certificate}, nil, nil, time.Now)
	if err := c.Round(t.Context()); err != nil || c.Standing(good) != nil {
		t.Fatal(err, c.Standing(good))
	}
	o.issue(good[0], "cessationOfOperation")
	gencrl()
	if err := c.Round(t.Context()); err != nil || !errors.Is(c.Standing(good), revocation.ErrRevoked) {
		t.Error(err, c.Standing(good))
	}
}

// REV-03: an answer to a question of before, which OpenSSL signed for its nonce.
func TestAnAnswerOfOpenSSLIsNotReplayed(t *testing.T) {
	t.Parallel()
	o := newOpenSSL(t)
	leaf := o.ca.Issue(t, "edge-1", extcatest.Key(t).Public(), time.Now(), nil)
	o.issue(leaf, "")
	first, err := revocation.NewQuestion(leaf, o.ca.Certificate, []byte("the first nonce, thirty-two octets")[:32])
	if err != nil {
		t.Fatal(err)
	}
	body, err := first.DER()
	if err != nil {
		t.Fatal(err)
	}
	der, err := o.answer(t.Context(), revocation.Request{Body: body})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := revocation.ReadAnswer(der, first, true, time.Now()); err != nil {
		t.Fatal(err)
	}
	second := *first
	second.Nonce = []byte("the second nonce, thirty-two octets")[:32]
	for _, needed := range []bool{true, false} {
		if _, err := revocation.ReadAnswer(der, &second, needed, time.Now()); !errors.Is(err, revocation.ErrAnswer) {
			t.Errorf("an answer of before, nonce needed %v: %v", needed, err)
		}
	}
}
