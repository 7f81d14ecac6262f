package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func certificate(t *testing.T) *x509.Certificate {
	t.Helper()
	return certificateOf(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

func certificateOf(t *testing.T, from, until time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge-1"}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func escaped(c *x509.Certificate) string {
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
}

func sequence(der []byte) string { return ":" + base64.StdEncoding.EncodeToString(der) + ":" }

const secret = "a secret of at least thirty-two bytes"

// gate is the proxy's listener, with what came through it.
func gate(t *testing.T, secrets ...string) (http.Handler, *http.Request, *error) {
	t.Helper()
	var got http.Request
	var refused error
	var list [][]byte
	for _, s := range secrets {
		list = append(list, []byte(s))
	}
	g := Gate{Secrets: list, Now: time.Now, Refuse: func(w http.ResponseWriter, _ *http.Request, err error) {
		refused = err
		w.WriteHeader(http.StatusForbidden)
	}}
	return g.Machines(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = *r })), &got, &refused
}

func word1(verify string, more ...string) http.Header {
	h := http.Header{}
	h.Set(HeaderSecret, secret)
	h.Set(HeaderAddress, "192.0.2.7")
	if verify != "" {
		h[http.CanonicalHeaderKey(HeaderVerify)] = []string{verify}
	}
	for i := 0; i < len(more); i += 2 {
		h.Add(more[i], more[i+1])
	}
	return h
}

// PRX-01, PRX-03: what the proxy says is taken as it says it, and ends here.
func TestTheProxysWordIsTaken(t *testing.T) {
	t.Parallel()
	c := certificate(t)
	for name, h := range map[string]http.Header{
		"escaped PEM":     word1("SUCCESS", HeaderEscaped, escaped(c)),
		"a byte sequence": word1("SUCCESS", HeaderCert, sequence(c.Raw), HeaderChain, sequence(c.Raw)),
		"none":            word1("NONE"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler, got, refused := gate(t, "the one before, of thirty-two bytes", secret)
			r := httptest.NewRequest(http.MethodPost, "/api/device/heartbeat", http.NoBody)
			r.Header = h.Clone()
			handler.ServeHTTP(httptest.NewRecorder(), r)
			if *refused != nil {
				t.Fatal(*refused)
			}
			if got.RemoteAddr != "192.0.2.7:0" || Speaks(got.Header) {
				t.Errorf("it comes through from %s with %v", got.RemoteAddr, got.Header)
			}
			switch shown := got.TLS.PeerCertificates; {
			case name == "none" && len(shown) != 0, name != "none" && (len(shown) != 1 || !shown[0].Equal(c)):
				t.Errorf("%d certificates", len(shown))
			}
		})
	}
}

// PRX-03: what is out of date here, too, is passed on, for its holder to be told.
func TestACertificateThatIsOutOfDateOnBothSidesIsPassedOn(t *testing.T) {
	t.Parallel()
	for verdict, c := range map[string]*x509.Certificate{
		"FAILED:certificate has expired":      certificateOf(t, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)),
		"FAILED:certificate is not yet valid": certificateOf(t, time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)),
	} {
		handler, got, refused := gate(t, secret)
		r := httptest.NewRequest(http.MethodPost, "/api/heartbeat", http.NoBody)
		r.Header = word1(verdict, HeaderEscaped, escaped(c))
		handler.ServeHTTP(httptest.NewRecorder(), r)
		if *refused != nil || got.TLS == nil || len(got.TLS.PeerCertificates) != 1 || !got.TLS.PeerCertificates[0].Equal(c) {
			t.Errorf("%s: %v, %+v", verdict, *refused, got.TLS)
		}
	}
}

// PRX-01, PRX-04: for people there is an address, and no certificate.
func TestOfPeopleTheProxySaysTheAddressAlone(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var refused error
	var ends time.Time
	g := Gate{Secrets: [][]byte{[]byte(secret)}, Now: time.Now, Lists: func(at time.Time) { ends = at },
		Refuse: func(_ http.ResponseWriter, _ *http.Request, err error) { refused = err }}
	h := g.People(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	ask := func(header http.Header) {
		got, refused = nil, nil
		r := httptest.NewRequest(http.MethodPost, "/api/admin/login", http.NoBody)
		r.Header = header
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	ask(word1("", "X-Forwarded-For", "198.51.100.1", HeaderLists, "1764212345"))
	if refused != nil || got.RemoteAddr != "192.0.2.7:0" || got.TLS == nil || len(got.TLS.PeerCertificates) != 0 || Speaks(got.Header) {
		t.Errorf("%v: %+v", refused, got)
	}
	if ends.Unix() != 1764212345 {
		t.Errorf("the lists are heard to end at %v", ends)
	}
	c := certificate(t)
	for name, header := range map[string]http.Header{
		"a verdict": word1("NONE"), "a certificate": word1("", HeaderEscaped, escaped(c)), "another form of it": word1("", HeaderCert, sequence(c.Raw)),
		"a chain": word1("", HeaderChain, sequence(c.Raw)), "two addresses": word1("", HeaderAddress, "192.0.2.8"),
	} {
		if ask(header); !errors.Is(refused, ErrWord) || got != nil {
			t.Errorf("%s: %v", name, refused)
		}
	}
	header := word1("")
	header.Del(HeaderSecret)
	if ask(header); !errors.Is(refused, ErrNotProxy) || got != nil {
		t.Errorf("without the secret: %v", refused)
	}
}

// FuzzRead: whatever a header holds, there is one certificate or none, and an address.
func FuzzRead(f *testing.F) {
	f.Add("SUCCESS", "-----BEGIN%20CERTIFICATE-----%0AMA==%0A-----END%20CERTIFICATE-----%0A", "", "192.0.2.7", "1")
	f.Add("SUCCESS", "", ":MA==:", "::ffff:192.0.2.7", "1764212345")
	f.Add("NONE", "", "", "fe80::1%eth0", "")
	f.Add("FAILED:certificate has expired", "", "", "", "-1")
	f.Fuzz(func(t *testing.T, verdict, pem, seq, address, lists string) {
		h := http.Header{}
		for name, value := range map[string]string{HeaderVerify: verdict, HeaderEscaped: pem, HeaderCert: seq, HeaderAddress: address, HeaderLists: lists} {
			h[http.CanonicalHeaderKey(name)] = []string{value}
		}
		w, err := read(h, time.Unix(0, 0))
		switch {
		case Speaks(h):
			t.Error("a header is left")
		case err != nil && (w.certificate != nil || w.address.IsValid() || !errors.Is(err, ErrWord)):
			t.Errorf("%v, and %+v", err, w)
		case err == nil && (!w.address.IsValid() || w.address.Is4In6() || w.address.Zone() != ""):
			t.Errorf("the address %v", w.address)
		case err == nil && (verdict == verified) != (w.certificate != nil) && verdict != ended && verdict != notBegun:
			t.Errorf("%q, and the certificate %v", verdict, w.certificate)
		}
	})
}

// PRX-03, PRX-06: a word that is not in order is none.
func TestAWordThatIsNotInOrderIsRefused(t *testing.T) {
	t.Parallel()
	c := certificate(t)
	good, text := escaped(c), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	seq := sequence(c.Raw)
	cases := map[string]http.Header{
		"no verdict":                    word1("", HeaderEscaped, good),
		"a verdict of nothing":          word1("SUCCESS"),
		"an empty certificate":          word1("SUCCESS", HeaderEscaped, ""),
		"none, with one":                word1("NONE", HeaderEscaped, good),
		"failed for another reason":     word1("FAILED:unable to get local issuer certificate", HeaderEscaped, good),
		"revoked":                       word1("FAILED:certificate revoked", HeaderEscaped, good),
		"ended there, and not here":     word1("FAILED:certificate has expired", HeaderEscaped, good),
		"not begun there, and yet here": word1("FAILED:certificate is not yet valid", HeaderEscaped, good),
		"failed, bare":                  word1("FAILED", HeaderEscaped, good),
		"success in small letters":      word1("success", HeaderEscaped, good),
		"success and more":              word1("SUCCESS ", HeaderEscaped, good),
		"two verdicts":                  word1("SUCCESS", HeaderVerify, "SUCCESS", HeaderEscaped, good),
		"an OK":                         word1("0", HeaderEscaped, good),
		"two certificates":              word1("SUCCESS", HeaderEscaped, good, HeaderEscaped, good),
		"both forms":                    word1("SUCCESS", HeaderEscaped, good, HeaderCert, seq),
		"two blocks":                    word1("SUCCESS", HeaderEscaped, good+good),
		"junk before":                   word1("SUCCESS", HeaderEscaped, "x"+good),
		"junk behind":                   word1("SUCCESS", HeaderEscaped, good+"x"),
		"a key instead":                 word1("SUCCESS", HeaderEscaped, url.PathEscape(strings.ReplaceAll(text, "CERTIFICATE", "PRIVATE KEY"))),
		"headers in the PEM":            word1("SUCCESS", HeaderEscaped, url.PathEscape(strings.Replace(text, "-----\n", "-----\nA: b\n\n", 1))),
		"a plus for a space":            word1("SUCCESS", HeaderEscaped, strings.ReplaceAll(good, "%20", "+")),
		"cut in the escape":             word1("SUCCESS", HeaderEscaped, good[:len(good)-1]+"%"),
		"cut in the middle":             word1("SUCCESS", HeaderEscaped, good[:len(good)/2]),
		"not escaped, on one line":      word1("SUCCESS", HeaderEscaped, strings.ReplaceAll(text, "\n", " ")),
		"DER and more":                  word1("SUCCESS", HeaderCert, sequence(append(c.Raw[:len(c.Raw):len(c.Raw)], 0))),
		"DER, cut":                      word1("SUCCESS", HeaderCert, sequence(c.Raw[:len(c.Raw)-1])),
		"a sequence without its end":    word1("SUCCESS", HeaderCert, seq[:len(seq)-1]),
		"a sequence without its begin":  word1("SUCCESS", HeaderCert, seq[1:]),
		"base64 of another alphabet":    word1("SUCCESS", HeaderCert, ":"+base64.URLEncoding.EncodeToString([]byte{0xfb, 0xff, 0xfe})+":"),
		"a list of sequences":           word1("SUCCESS", HeaderCert, seq+", "+seq),
		"an empty sequence":             word1("SUCCESS", HeaderCert, "::"),
		"a megabyte":                    word1("SUCCESS", HeaderEscaped, strings.Repeat("A", 1<<20)),
		"a certificate beyond its size": word1("SUCCESS", HeaderCert, sequence(make([]byte, 9000))),
	}
	for name, address := range map[string]string{"no address": "", "a name": "edge-1", "with a port": "192.0.2.7:443", "two in one": "192.0.2.7, 192.0.2.8", "a range": "192.0.2.0/24"} {
		h := word1("NONE")
		h.Set(HeaderAddress, address)
		cases[name] = h
	}
	cases["two addresses"] = word1("NONE", HeaderAddress, "192.0.2.8")
	for name, end := range map[string]string{"": "", "0": "0", "-1": "-1", "soon": "soon", "a date": "Fri, 27 Nov 2026 03:00:00 GMT", "beyond every calendar": "253402300800", "two": "1, 2"} {
		cases["lists that end at "+name] = word1("NONE", HeaderLists, end)
	}
	for name, h := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler, got, refused := gate(t, secret)
			r := httptest.NewRequest(http.MethodPost, "/api/device/heartbeat", http.NoBody)
			r.Header = h
			handler.ServeHTTP(httptest.NewRecorder(), r)
			if !errors.Is(*refused, ErrWord) || got.TLS != nil {
				t.Errorf("refused with %v, passed with %+v", *refused, got.TLS)
			}
		})
	}
}

// PRX-01, PRX-04, PRX-08: who does not prove to be the proxy is nobody, wherever it
// comes from.
func TestOnlyTheProxyItselfIsBelieved(t *testing.T) {
	t.Parallel()
	c := certificate(t)
	for name, change := range map[string]func(http.Header){
		"without the secret":  func(h http.Header) { h.Del(HeaderSecret) },
		"an empty secret":     func(h http.Header) { h.Set(HeaderSecret, "") },
		"another secret":      func(h http.Header) { h.Set(HeaderSecret, secret[:len(secret)-1]+"x") },
		"part of the secret":  func(h http.Header) { h.Set(HeaderSecret, secret[:8]) },
		"the secret and more": func(h http.Header) { h.Set(HeaderSecret, secret+" ") },
		"two secrets":         func(h http.Header) { h.Add(HeaderSecret, secret) },
	} {
		for _, peer := range []string{"127.0.0.1:9", "[::1]:9", "[::ffff:10.0.0.5]:9", "[fe80::1%eth0]:9", "@", ""} {
			handler, got, refused := gate(t, secret)
			r := httptest.NewRequest(http.MethodPost, "/api/device/heartbeat", http.NoBody)
			r.Header, r.RemoteAddr = word1("SUCCESS", HeaderEscaped, escaped(c), "X-Forwarded-For", "127.0.0.1"), peer
			change(r.Header)
			handler.ServeHTTP(httptest.NewRecorder(), r)
			if !errors.Is(*refused, ErrNotProxy) || got.TLS != nil {
				t.Errorf("%s, from %q: refused with %v", name, peer, *refused)
			}
		}
	}
	handler, _, refused := gate(t) // no secret is set: there is none to know
	r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
	r.Header = word1("NONE")
	r.Header.Set(HeaderSecret, "")
	if handler.ServeHTTP(httptest.NewRecorder(), r); !errors.Is(*refused, ErrNotProxy) {
		t.Errorf("without any secret: %v", *refused)
	}
}

// PRX-01: elsewhere the headers are refused, each by itself and in any spelling.
func TestTheHeadersAreRefusedElsewhere(t *testing.T) {
	t.Parallel()
	for _, name := range Headers {
		for _, spelt := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			var refused error
			passed := false
			h := Closed(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true }),
				func(_ http.ResponseWriter, _ *http.Request, err error) { refused = err })
			server := httptest.NewServer(h)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header[spelt] = []string{""}
			if answer, err := http.DefaultClient.Do(r); err != nil {
				t.Fatal(err)
			} else {
				_ = answer.Body.Close()
			}
			server.Close()
			if !errors.Is(refused, ErrForeign) || passed {
				t.Errorf("%s: %v", spelt, refused)
			}
		}
	}
}

// PRX-08: the system says who is at the other end of a socket.
func TestOnlyTheProxysUserGetsThroughItsSocket(t *testing.T) {
	t.Parallel()
	me, err := Users([]string{strconv.Itoa(os.Getuid())})
	if err != nil {
		t.Skip(err)
	}
	if _, err := Users([]string{"no-such-user-here"}); err == nil {
		t.Error("a user who is not there is taken")
	}
	for _, c := range []struct {
		name  string
		users map[uint32]bool
		want  bool
	}{{"the proxy's user", me, true}, {"another user", map[uint32]bool{4_000_000_000: true}, false}, {"nobody", nil, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			l, err := ListenUnix(t.Context(), path, c.users)
			if err != nil {
				t.Fatal(err)
			}
			handler, _, _ := gate(t)
			server := &http.Server{Handler: handler, ConnContext: ConnContext, ReadHeaderTimeout: time.Minute}
			go func() { _ = server.Serve(l) }()
			t.Cleanup(func() { _ = server.Close() })
			client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", path)
			}}}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://socket/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = word1("NONE")
			r.Header.Del(HeaderSecret)
			answer, err := client.Do(r)
			if err == nil {
				_ = answer.Body.Close()
			}
			if got := err == nil && answer.StatusCode == http.StatusOK; got != c.want {
				t.Errorf("passed %t: %v", got, err)
			}
		})
	}
}
