//go:build boundary

package boundary

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// REV-01, REV-02, REV-03, PKI-11: three judges, 200 certificates in every state, lists
// and answers, before and after the authorities were changed.
func TestOthersJudgeCertificatesAsTheServerDoes(t *testing.T) {
	w := newWorld(t)
	first := w.authority()
	subjects := w.population(first, 170)
	w.judged("by the first authority", first, subjects)

	w.must(w.Publish(nil, certs.KindDevice, certs.KindServer))
	w.must(w.Activate(certs.KindDevice, false))
	w.must(w.Activate(certs.KindServer, true))
	second := w.authority()
	if second.name == first.name {
		t.Fatal("the authority was not changed")
	}
	younger := w.population(second, 30)
	w.judged("by the second authority", second, younger)
	w.judged("by the retired authority", first, subjects)

	// What happens to its certificates afterwards is told in its name.
	w.revoked(subjects)
	w.judged("by the retired authority, after another revocation", first, subjects)
	w.judged("by the second authority, after that", second, younger)
	for _, of := range [][]*subject{subjects, younger} {
		for _, s := range states {
			if n := count(of, func(is *subject) bool { return is.name == s.name }); n < 2 {
				t.Errorf("%d certificates are %s", n, s.name)
			}
		}
	}
	if n := len(subjects) + len(younger); n < 200 {
		t.Errorf("%d certificates", n)
	}
}

// population makes so many certificates, in every state; some of them come the whole
// way.
func (w *world) population(ca *authority, n int) []*subject {
	w.Helper()
	var list []*subject
	for i := range n {
		s := states[i%len(states)]
		if i < 2*len(states) && !s.expired && !s.unknown && s.name != "unused" {
			list = append(list, w.enrolled(ca, s))
		} else {
			list = append(list, w.recorded(ca, s))
		}
	}
	last := w.enrolled(ca, states[2]) // a revocation by a person: a new list is made at once
	return append(list, last)
}

// revoked has a person revoke the first device whose certificate is good.
func (w *world) revoked(list []*subject) {
	w.Helper()
	for _, s := range list {
		if s.name == "good" && s.device != "" {
			s.state = states[2]
			w.operator.Must("POST", "/api/devices/"+s.device+"/certificate/revoke", map[string]string{"reason": s.word}, nil)
			return
		}
	}
	w.Fatal("no device is left whose certificate is good")
}

func (w *world) judged(what string, ca *authority, list []*subject) {
	w.Helper()
	begin := time.Now()
	revoked := 0
	for _, s := range list {
		if s.revoked() {
			revoked++
		}
	}
	crl, der, pem := w.list(ca.name, revoked)
	w.byGo(ca, crl, list)
	w.byOpenSSL(ca, pem, list)
	w.byNSS(ca, der, list)
	w.Logf("%s: %d certificates, %d of them revoked, list number %v, judged by Go, OpenSSL and NSS in %v", what, len(list), revoked, crl.Number, time.Since(begin).Round(time.Millisecond))
}

func (w *world) byGo(ca *authority, crl *x509.RevocationList, list []*subject) {
	w.Helper()
	w.must(crl.CheckSignatureFrom(ca.cert))
	entries := map[string]x509.RevocationListEntry{}
	for _, e := range crl.RevokedCertificateEntries {
		entries[e.SerialNumber.String()] = e
	}
	each(list, func(s *subject) {
		e, on := entries[s.leaf.SerialNumber.String()]
		if on != s.revoked() || on && e.ReasonCode != s.code {
			w.Errorf("Go, list: %s is on it: %t, %+v", s.name, on, e)
		}
		want := ocsp.Good
		switch {
		case s.unknown:
			want = ocsp.Unknown
		case s.revoked():
			want = ocsp.Revoked
		}
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			request, err := ocsp.CreateRequest(s.leaf, ca.cert, &ocsp.RequestOptions{Hash: hash})
			if err != nil {
				w.Error(err)
				return
			}
			status, der := w.get("/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(request)))
			r, err := ocsp.ParseResponseForCert(der, s.leaf, ca.cert)
			if err != nil || status != http.StatusOK || r.Status != want || r.Status == ocsp.Revoked && (r.RevocationReason != s.code || on && !r.RevokedAt.Equal(e.RevocationTime)) {
				w.Errorf("Go, OCSP: %s: %d %+v %v", s.name, status, r, err)
			}
		}
	})
}

var revokedBy = regexp.MustCompile(`Revocation Time: .*`)

func (w *world) byOpenSSL(ca *authority, crl string, list []*subject) {
	w.Helper()
	_, _, rootCRL := w.list("root", 0)
	chain := filepath.Join(w.dir, "chain.pem")
	lists := filepath.Join(w.dir, "lists.pem")
	for path, of := range map[string][]string{chain: {w.root, ca.file}, lists: {rootCRL, crl}} {
		text, err := concat(of...)
		w.must(err)
		w.must(os.WriteFile(path, []byte(text), 0o600))
	}
	files := make([]string, len(list))
	for i, s := range list {
		files[i] = s.file
	}
	// Once trusting the authority itself, as devices do, and once the whole chain with
	// a list of each in it, as NGINX does.
	for name, args := range map[string][]string{
		"list":  {"verify", "-purpose", "sslclient", "-crl_check", "-partial_chain", "-trusted", ca.file, "-CRLfile", crl},
		"lists": {"verify", "-purpose", "sslclient", "-crl_check_all", "-CAfile", chain, "-CRLfile", lists},
	} {
		said := w.run("openssl", append(args, files...)...)
		for _, s := range list {
			ok := strings.Contains(said, s.file+": OK")
			if want := !s.revoked() && !s.expired; ok != want {
				w.Errorf("OpenSSL, %s: %s is good: %t", name, s.name, ok)
			}
		}
		for _, c := range []struct {
			code string
			want int
		}{{"error 23 at", count(list, func(s *subject) bool { return s.revoked() })}, {"error 10 at", count(list, func(s *subject) bool { return s.expired })}} {
			// A certificate that is both may be told of for either.
			if got := strings.Count(said, c.code); got > c.want || got < c.want-count(list, func(s *subject) bool { return s.revoked() && s.expired }) {
				w.Errorf("OpenSSL, %s: %s told %d times of %d\n%s", name, c.code, got, c.want, said)
			}
		}
	}
	each(list, func(s *subject) {
		said := w.run("openssl", "ocsp", "-issuer", ca.file, "-cert", s.file, "-CAfile", chain, "-url", w.PeopleURL+"/ocsp", "-timeout", "10")
		want := ": good"
		switch {
		case s.unknown:
			want = ": unknown"
		case s.revoked():
			want = ": revoked"
		}
		if !strings.Contains(said, "Response verify OK") || !strings.Contains(said, s.file+want) || strings.Contains(said, "WARNING") {
			w.Errorf("OpenSSL, OCSP: %s: %s", s.name, said)
		}
		if s.revoked() != revokedBy.MatchString(said) {
			w.Errorf("OpenSSL, OCSP: %s has a time of revocation: %s", s.name, said)
		}
	})
}

func count(list []*subject, which func(*subject) bool) (n int) {
	for _, s := range list {
		if which(s) {
			n++
		}
	}
	return n
}

func (w *world) byNSS(ca *authority, crl string, list []*subject) {
	w.Helper()
	dir := filepath.Join(w.dir, "nss-"+ca.name[:8]+"-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	w.must(os.Mkdir(dir, 0o700))
	db := "sql:" + dir
	w.run("certutil", "-N", "-d", db, "--empty-password")
	if said := w.run("certutil", "-A", "-d", db, "-n", "root", "-t", "CT,C,C", "-a", "-i", w.root); said != "" {
		w.Fatalf("certutil takes the root: %s", said)
	}
	if said := w.run("certutil", "-A", "-d", db, "-n", "authority", "-t", "CT,C,C", "-a", "-i", ca.file); said != "" {
		w.Fatalf("certutil takes the authority: %s", said)
	}
	if said := w.run("crlutil", "-I", "-d", db, "-i", crl); strings.Contains(said, "unable") || strings.Contains(said, "error") {
		w.Fatalf("crlutil takes the list: %s", said)
	}
	if said := w.run("crlutil", "-L", "-d", db, "-n", "authority"); strings.Count(said, "Serial Number:") != count(list, func(s *subject) bool { return s.revoked() }) {
		w.Errorf("crlutil reads %d entries", strings.Count(said, "Serial Number:"))
	}
	var batch bytes.Buffer
	nickname := map[*subject]string{}
	for i, s := range list {
		nickname[s] = fmt.Sprintf("leaf-%d", i)
		fmt.Fprintf(&batch, "-A -d %s -n leaf-%d -t ,, -a -i %s\n", db, i, s.file)
	}
	path := filepath.Join(dir, "batch")
	w.must(os.WriteFile(path, batch.Bytes(), 0o600))
	if said := w.run("certutil", "-B", "-d", db, "-i", path); said != "" {
		w.Fatalf("certutil takes the certificates: %s", said)
	}
	each(list, func(s *subject) {
		want := "certificate is valid"
		switch {
		case s.expired:
			want = "expired"
		case s.revoked():
			want = "revoked"
		}
		if said := w.run("certutil", "-V", "-d", db, "-n", nickname[s], "-u", "C", "-e"); !strings.Contains(said, want) {
			w.Errorf("NSS, list: %s: %s", s.name, said)
		}
	})
}
